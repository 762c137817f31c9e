import { isUtf8 } from 'node:buffer'
import type { ErrorCode, RecordFault } from '../core/errors.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { type ColumnViews, viewsOf } from './column-views.ts'

const TWO_32 = 2 ** 32
const NO_BUFFER = Buffer.alloc(0)

/** Nested values of a recursive schema beyond which a record is refused, so that no record can exhaust the stack. */
const MAX_DEPTH = 500

/**
 * Reads one Avro value within its bounds (Avro 1.12, "Binary encoding"). Every reader returns false when it cannot go
 * on, after it has noted why: here (`code`, `problem`), or as a finished fault of a feature. Nothing throws and nothing
 * is allocated for a good record, so one cursor serves all records of a decoder.
 */
export class Cursor {
  bytes: Buffer = NO_BUFFER
  view: DataView = new DataView(NO_BUFFER.buffer, 0, 0)
  start = 0
  pos = 0
  end = 0

  /** The last integer read, as two's complement words. */
  lo = 0
  hi = 0
  /** The last number read; rounded where a double cannot hold an int64. */
  value = 0
  /** Items in the block that {@link readBlock} entered; 0 after the last. */
  count = 0
  /** Where that block says that it ends, or -1. */
  blockEnd = -1
  /** Index within the array feature that is being read, or undefined. */
  element: number | undefined = undefined

  columns: readonly TensorColumn[] = []
  views: readonly ColumnViews[] = []

  /** The field where reading stopped; the innermost step writes it first. */
  path = ''
  #depth = 0
  #code: ErrorCode = 'invalid-avro'
  #problem = ''
  #fault: RecordFault | undefined

  /** Points at one value and at the columns to fill. */
  open(bytes: Buffer, start: number, end: number, columns: readonly TensorColumn[]): void {
    if (bytes !== this.bytes) {
      this.bytes = bytes
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    if (columns !== this.columns) {
      this.columns = columns
      this.views = viewsOf(columns)
    }
    this.start = start
    this.pos = start
    this.end = end
  }

  /** Why the last reader returned false. Makes the cursor ready for the next value. */
  fault(): RecordFault {
    const fault = this.#fault ?? { code: this.#code, message: this.#describe() }
    this.#fault = undefined
    this.#depth = 0
    this.element = undefined
    this.path = ''
    return fault
  }

  /** Stops with the fault of a feature. */
  reject(fault: RecordFault | undefined): boolean {
    this.#fault = fault
    return fault === undefined
  }

  /** Stops because the bytes are no valid Avro. */
  invalid(problem: string): false {
    return this.#stop('invalid-avro', problem)
  }

  /** Stops because the value ends too early. */
  truncated(expected: string): false {
    return this.#stop('truncated-message', `the value ends where ${expected} should follow`)
  }

  /** Steps over `size` bytes. */
  skip(size: number, what: string): boolean {
    if (size > this.end - this.pos) return this.truncated(what)
    this.pos += size
    return true
  }

  /** Enters a nested record; see {@link MAX_DEPTH}. */
  enter(): boolean {
    this.#depth++
    return this.#depth <= MAX_DEPTH || this.invalid(`records are nested more than ${MAX_DEPTH} deep`)
  }

  leave(): void {
    this.#depth--
  }

  /** A zigzag varint of up to 64 bits, into `lo` and `hi`. */
  readVarint(): boolean {
    if (this.pos < this.end) {
      const byte = this.bytes[this.pos]!
      if (byte < 0x80) {
        this.pos++
        this.lo = (byte >>> 1) ^ -(byte & 1)
        this.hi = this.lo >> 31
        return true
      }
    }
    return this.#readLongVarint()
  }

  #readLongVarint(): boolean {
    let low = 0
    let high = 0
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.pos >= this.end) return this.truncated('an integer')
      const byte = this.bytes[this.pos++]!
      const bits = byte & 0x7f
      if (shift <= 28) low |= bits << shift
      if (shift === 28) high = bits >>> 4
      else if (shift > 28) high |= bits << (shift - 32)
      if (shift === 63 && byte > 1) break
      if (byte >= 0x80) continue
      const sign = -(low & 1)
      this.lo = ((low >>> 1) | (high << 31)) ^ sign
      this.hi = (high >>> 1) ^ sign
      return true
    }
    return this.invalid('an integer has more than 64 bits')
  }

  readInt(): boolean {
    if (!this.readVarint()) return false
    this.value = this.lo
    return this.hi === this.lo >> 31 || this.invalid('an int has more than 32 bits')
  }

  readLong(): boolean {
    if (!this.readVarint()) return false
    this.value = this.hi * TWO_32 + (this.lo >>> 0)
    return true
  }

  readFloat(): boolean {
    const pos = this.pos
    if (!this.skip(4, 'a float')) return false
    this.value = this.view.getFloat32(pos, true)
    return true
  }

  readDouble(): boolean {
    const pos = this.pos
    if (!this.skip(8, 'a double')) return false
    this.value = this.view.getFloat64(pos, true)
    return true
  }

  readBoolean(): boolean {
    const pos = this.pos
    if (!this.skip(1, 'a boolean')) return false
    this.value = this.bytes[pos]!
    return this.value <= 1 || this.invalid(`a boolean has the value ${this.value}; expected 0 or 1`)
  }

  /** The length of a string or of bytes, into `value`; checked against what is left. */
  readLength(what: string): boolean {
    if (!this.readLong()) return false
    if (this.value < 0) return this.invalid(`${what} has the negative length ${this.value}`)
    return this.value <= this.end - this.pos || this.truncated(`${what} of ${this.value} bytes`)
  }

  /** A string, or undefined when it stops. */
  readString(): string | undefined {
    if (!this.readLength('a string')) return undefined
    const from = this.pos
    this.pos += this.value
    const text = this.bytes.toString('utf8', from, this.pos)
    // The decoder puts U+FFFD for bytes that are no UTF-8, but a producer may also have sent that character.
    if (text.includes('\uFFFD') && !isUtf8(this.bytes.subarray(from, this.pos))) {
      this.invalid('a string is not UTF-8')
      return undefined
    }
    return text
  }

  /** An index of a union or an enum with `size` choices, into `value`. */
  readIndex(size: number, what: string): boolean {
    if (!this.readLong()) return false
    if (this.value >= 0 && this.value < size) return true
    return this.invalid(`${what} has the index ${this.value}; expected 0 to ${size - 1}`)
  }

  /**
   * Enters the next block of an array or a map: `count` items of at least `minimum` bytes each follow, none after the
   * last block. Checking the count against the bytes that are left bounds the time that a false count can cost.
   */
  readBlock(minimum: number): boolean {
    if (!this.readLong()) return false
    this.count = Math.abs(this.value)
    this.blockEnd = -1
    if (this.value < 0) {
      if (!this.readLength('a block')) return false
      this.blockEnd = this.pos + this.value
    }
    return this.count * minimum <= this.end - this.pos || this.truncated(`a block of ${this.count} items`)
  }

  /** Checks that a block of a known size ended where it said. `blockEnd` as it was when the block was entered. */
  endBlock(blockEnd: number): boolean {
    return blockEnd < 0 || blockEnd === this.pos || this.invalid('a block has another size than it says')
  }

  #stop(code: ErrorCode, problem: string): false {
    this.#code = code
    this.#problem = problem
    return false
  }

  #describe(): string {
    const where = this.path === '' ? '' : `, in field "${this.path}"`
    return `${this.#problem} (byte ${this.pos - this.start} of ${this.end - this.start}${where})`
  }
}
