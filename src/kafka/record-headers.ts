import { COLUMNS, Column, type RecordBatch } from '../core/record-batch.ts'
import { sizeOfVarint, VarintReader, writeVarint } from './varint.ts'

/** Record headers, encoded: what is appended to a record. */
export interface EncodedHeaders {
  readonly bytes: Uint8Array
  /** The headers are bytes [0, length) of `bytes`. */
  readonly length: number
  readonly count: number
}

/** Builds encoded headers of text, in memory that is kept from one use to the next. */
export class HeaderBuilder implements EncodedHeaders {
  #bytes = Buffer.allocUnsafeSlow(512)
  #length = 0
  #count = 0

  get bytes(): Buffer {
    return this.#bytes
  }

  get length(): number {
    return this.#length
  }

  get count(): number {
    return this.#count
  }

  clear(): this {
    this.#length = 0
    this.#count = 0
    return this
  }

  /** Adds one header, in UTF-8. */
  add(name: string, value: string): this {
    this.#text(name)
    this.#text(value)
    this.#count++
    return this
  }

  /**
   * Adds the header `source` with value `topic/partition/offset`, all but the digits of the offset at its end: these are
   * what differs from record to record.
   */
  addSource(topic: string, partition: number, offsetDigits: number): this {
    const prefix = `${topic}/${partition}/`
    this.#text('source')
    this.#text(prefix, offsetDigits)
    this.#count++
    return this
  }

  /** What was built, in memory of its own. */
  toHeaders(): EncodedHeaders {
    return { bytes: Buffer.from(this.#bytes.subarray(0, this.#length)), length: this.#length, count: this.#count }
  }

  /** @param toFollow bytes that belong to the text, and are not written here */
  #text(text: string, toFollow = 0): void {
    const bytes = Buffer.byteLength(text)
    const end = this.#length + sizeOfVarint(bytes + toFollow) + bytes
    if (end > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(end, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, this.#length)
      this.#bytes = grown
    }
    this.#bytes.write(text, writeVarint(this.#bytes, this.#length, bytes + toFollow), 'utf8')
    this.#length = end
  }
}

/** Finds the headers of input records that are passed through: all but those with given names. */
export class HeaderFilter {
  /** By length in bytes, because most names are told apart by that alone. */
  readonly #names: (Buffer[] | undefined)[] = []
  readonly #reader = new VarintReader(Buffer.alloc(0), 0, 0)
  /** Starts and ends of the ranges to keep, in turn; neighbours are one range. */
  readonly #ranges: number[] = []
  #source: Buffer = Buffer.alloc(0)
  #length = 0
  #count = 0

  constructor(replaced: readonly string[]) {
    for (const name of replaced) {
      const bytes = Buffer.from(name)
      this.#names[bytes.length] = [...(this.#names[bytes.length] ?? []), bytes]
    }
  }

  /** Bytes that the headers kept of the last record take. */
  get length(): number {
    return this.#length
  }

  get count(): number {
    return this.#count
  }

  /** Looks at record `index` of `batch`, whose headers were checked when it was read. */
  select(batch: RecordBatch, index: number): void {
    if (this.#ranges.length > 0) this.#ranges.length = 0 // which takes long even where nothing changes
    this.#length = 0
    this.#count = 0
    const at = index * COLUMNS
    if (batch.columns[at + Column.headerCount] === 0) return
    const reader = this.#reader
    reader.bytes = batch.bytes
    reader.at = batch.columns[at + Column.headersStart]!
    reader.end = batch.columns[at + Column.headersEnd]!
    this.#source = batch.bytes
    while (reader.at < reader.end) this.#next(reader)
  }

  /** Hands the ranges kept, in order, to `append`. */
  appendTo(target: { append(bytes: Uint8Array, start: number, end: number): void }): void {
    const ranges = this.#ranges
    for (let at = 0; at < ranges.length; at += 2) target.append(this.#source, ranges[at]!, ranges[at + 1]!)
  }

  #next(reader: VarintReader): void {
    const start = reader.at
    const nameLength = reader.readVarint()
    const nameStart = reader.at
    reader.skip(nameLength)
    const valueLength = reader.readVarint()
    if (valueLength > 0) reader.skip(valueLength)
    if (this.#isReplaced(nameStart, nameLength)) return
    const ranges = this.#ranges
    if (ranges.length > 0 && ranges[ranges.length - 1] === start) ranges[ranges.length - 1] = reader.at
    else ranges.push(start, reader.at)
    this.#length += reader.at - start
    this.#count++
  }

  #isReplaced(start: number, length: number): boolean {
    const candidates = this.#names[length]
    if (candidates === undefined) return false
    for (const name of candidates) {
      let same = 0
      while (same < length && name[same] === this.#source[start + same]) same++
      if (same === length) return true
    }
    return false
  }
}
