/**
 * Whether floats that lie in a buffer are finite, four at a time: in JavaScript this takes three times as long as copying
 * them. WebAssembly sees only memory of its own, so the buffer has to be one that was made for it: that of a tensor's rows,
 * which are looked at right after they were copied there, while the processor's cache has them.
 *
 *   allocateCheckable ─▶ memory, to be sent to other threads ─▶ bufferOf, on each of them ─▶ floatCheckOf, where rows are packed
 */

/** Shared memory as threads send it to each other: its buffer alone would not bring the check along. */
export type SharedMemory = SharedArrayBuffer | WebAssembly.Memory

/** Whether the `count` floats from byte `at` of a buffer on, a multiple of four, are all finite. */
export type FloatCheck = (at: number, count: number) => boolean

const PAGE_BYTES = 65_536
const LANES = 4

/**
 * (module
 *   (import "m" "m" (memory 1 65536 shared))
 *   (func (export "f") (param $at i32) (param $end i32) (result i32) (local $bits v128)
 *     (loop $next
 *       (local.set $bits (v128.or (local.get $bits)
 *         (i32x4.add (v128.and (v128.load (local.get $at)) (i32x4.splat (i32.const 0x7f800000)))
 *                    (i32x4.splat (i32.const 0x00800000)))))
 *       (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $end))))
 *     (i32x4.bitmask (local.get $bits))))
 *
 * NaN and infinities alone have an exponent of all ones, which becomes the sign bit when its lowest bit is added.
 */
const MODULE = Uint8Array.of(
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // \0asm, version 1
  ...[0x01, 0x07, 0x01, 0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7f], // types: (i32, i32) → i32
  ...[0x02, 0x0b, 0x01, 0x01, 0x6d, 0x01, 0x6d, 0x02, 0x03, 0x01, 0x80, 0x80, 0x04], // imports: m.m, a shared memory of any size
  ...[0x03, 0x02, 0x01, 0x00], // functions: one, of type 0
  ...[0x07, 0x05, 0x01, 0x01, 0x66, 0x00, 0x00], // exports: f
  ...[0x0a, 0x3a, 0x01, 0x38], // code: one body of 56 bytes
  ...[0x01, 0x01, 0x7b], // locals: $bits
  ...[0x03, 0x40], // loop $next
  ...[0x20, 0x02], // local.get $bits
  ...[0x20, 0x00, 0xfd, 0x00, 0x00, 0x00], // local.get $at, v128.load offset=0
  ...[0x41, 0x80, 0x80, 0x80, 0xfc, 0x07, 0xfd, 0x11], // i32.const 0x7f800000, i32x4.splat
  ...[0xfd, 0x4e], // v128.and
  ...[0x41, 0x80, 0x80, 0x80, 0x04, 0xfd, 0x11], // i32.const 0x00800000, i32x4.splat
  ...[0xfd, 0xae, 0x01], // i32x4.add
  ...[0xfd, 0x50], // v128.or
  ...[0x21, 0x02], // local.set $bits
  ...[0x20, 0x00, 0x41, 0x10, 0x6a, 0x22, 0x00], // local.get $at, i32.const 16, i32.add, local.tee $at
  ...[0x20, 0x01, 0x49], // local.get $end, i32.lt_u
  ...[0x0d, 0x00], // br_if $next
  ...[0x0b], // end of the loop
  ...[0x20, 0x02, 0xfd, 0xa4, 0x01], // local.get $bits, i32x4.bitmask
  ...[0x0b], // end of the function
)

/** The memories of this thread's buffers. */
const memories = new WeakMap<ArrayBufferLike, WebAssembly.Memory>()
let compiled: WebAssembly.Module | undefined
/** Asking in vain is slow. */
let exhausted = false

/** Memory of `size` bytes or a little more with a fast check, or, where the system has none to give, without. */
export function allocateCheckable(size: number): SharedMemory {
  if (exhausted) return new SharedArrayBuffer(size)
  try {
    compiled ??= new WebAssembly.Module(MODULE)
    const pages = Math.max(1, Math.ceil(size / PAGE_BYTES))
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
  } catch {
    // A processor without vectors, or no room among the addresses: a memory reserves gigabytes of them.
    exhausted = true
    return new SharedArrayBuffer(size)
  }
}

/** The bytes of the memory, on this thread: the same buffer each time. */
export function bufferOf(memory: SharedMemory): SharedArrayBuffer {
  if (memory instanceof SharedArrayBuffer) return memory
  const { buffer } = memory
  memories.set(buffer, memory)
  return buffer
}

/** A fast check of a buffer that this thread has from `bufferOf`, if its memory has one. Keep it: making it takes a while. */
export function floatCheckOf(buffer: ArrayBufferLike): FloatCheck | undefined {
  const memory = memories.get(buffer)
  if (memory === undefined) return undefined
  compiled ??= new WebAssembly.Module(MODULE)
  const { f } = new WebAssembly.Instance(compiled, { m: { m: memory } }).exports
  return checkOf(f as (at: number, end: number) => number, new Float32Array(buffer))
}

function checkOf(bitsOf: (at: number, end: number) => number, floats: Float32Array): FloatCheck {
  return (at, count) => {
    const whole = count - (count % LANES)
    if (whole > 0 && bitsOf(at, at + 4 * whole) !== 0) return false
    const end = at / 4 + count
    for (let i = at / 4 + whole; i < end; i++) if (!Number.isFinite(floats[i])) return false
    return true
  }
}
