/**
 * The variable-length integers of Kafka's record format: zigzag, then seven bits a byte, lowest first
 * (org.apache.kafka.common.utils.ByteUtils). Varints hold 32 bits, varlongs 64; the latter are read and written as
 * JavaScript numbers, exact to 2^53.
 */

const LOW_BITS = 0x7f
const MORE = 0x80

/** Bytes are not what their layout says. Caught in this folder, where topic, partition and offsets are known. */
export class MalformedBytesError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'MalformedBytesError'
  }
}

/** Bytes that `writeVarint` takes for a 32-bit integer: 1 to 5. */
export function sizeOfVarint(value: number): number {
  const bits = ((value << 1) ^ (value >> 31)) >>> 0
  if (bits < 0x80) return 1
  if (bits < 0x4000) return 2
  if (bits < 0x200000) return 3
  return bits < 0x10000000 ? 4 : 5
}

/** Writes a 32-bit integer at `at`, where there must be room; returns the position after it. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let bits = (value << 1) ^ (value >> 31)
  while ((bits & ~LOW_BITS) !== 0) {
    target[at++] = (bits & LOW_BITS) | MORE
    bits >>>= 7
  }
  target[at++] = bits
  return at
}

/** Bytes that `writeVarlong` takes for an integer. Of 32 bits, it is written as a varint. */
export function sizeOfVarlong(value: number): number {
  if ((value | 0) === value) return sizeOfVarint(value)
  let rest = Math.floor(magnitude(value) / 64)
  let size = 1
  for (; rest > 0; size++) rest = Math.floor(rest / 128)
  return size
}

/** Writes an integer at `at`, where there must be room; returns the position after it. */
export function writeVarlong(target: Uint8Array, at: number, value: number): number {
  if ((value | 0) === value) return writeVarint(target, at, value)
  const bits = magnitude(value)
  // The sign takes the lowest bit, so the first byte holds six bits of the magnitude. Doubling instead would lose the
  // sign of numbers near 2^53.
  let byte = (bits % 64) * 2 + (value < 0 ? 1 : 0)
  let rest = Math.floor(bits / 64)
  while (rest > 0) {
    target[at++] = byte | MORE
    byte = rest % 128
    rest = Math.floor(rest / 128)
  }
  target[at++] = byte
  return at
}

function magnitude(value: number): number {
  return value < 0 ? -value - 1 : value
}

/** Reads from `at` up to `end`, never beyond. Fields are open so that one instance serves every record of a batch. */
export class VarintReader {
  bytes: Uint8Array
  at: number
  end: number

  /** `end` must lie within `bytes`. */
  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  /** @throws MalformedBytesError where the bytes end first or hold more than 32 bits. */
  readVarint(): number {
    let byte = this.readByte()
    let bits = byte & LOW_BITS
    for (let shift = 7; byte >= MORE; shift += 7) {
      byte = this.readByte()
      if (shift === 28 && byte > 0x0f) throw new MalformedBytesError('a varint has more than 32 bits')
      bits |= (byte & LOW_BITS) << shift
    }
    return (bits >>> 1) ^ -(bits & 1)
  }

  /** @throws MalformedBytesError where the bytes end first or hold more than 64 bits. */
  readVarlong(): number {
    let byte = this.readByte()
    const negative = (byte & 1) === 1
    let bits = (byte & LOW_BITS) >>> 1
    for (let scale = 64; byte >= MORE; scale *= 128) {
      byte = this.readByte()
      if (scale === 2 ** 62 && byte > 1) throw new MalformedBytesError('a varlong has more than 64 bits')
      bits += (byte & LOW_BITS) * scale
    }
    return negative ? -bits - 1 : bits
  }

  /** @throws MalformedBytesError where the bytes end first. */
  readByte(): number {
    if (this.at >= this.end) throw new MalformedBytesError('a record ends within a field')
    return this.bytes[this.at++]!
  }

  /**
   * Steps over `length` bytes.
   * @throws MalformedBytesError where the bytes end first.
   */
  skip(length: number): void {
    if (length > this.end - this.at) throw new MalformedBytesError('a field is longer than its record')
    this.at += length
  }
}
