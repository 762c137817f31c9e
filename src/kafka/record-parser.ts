import { COLUMN_BYTES, COLUMNS, Column, type RecordBatch } from '../core/record-batch.ts'
import { memoryPool } from './memory-pool.ts'
import { MalformedBytesError, VarintReader } from './varint.ts'

/** A record is at least this long: seven fields of a byte each. */
export const MIN_RECORD_BYTES = 7

/** What the header of a batch says about its records. */
export interface RecordsContext {
  readonly count: number
  readonly lastOffsetDelta: number
  readonly baseTimestamp: number
  /** The timestamp of every record where the broker stamped them (LogAppendTime), otherwise undefined. */
  readonly appendTime: number | undefined
  /** Records with a smaller offset delta are checked and left out. */
  readonly firstDelta: number
}

/** The records section of one batch, uncompressed: `bytes` from `start` to `end`. */
export interface RecordsSection {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

/** Columns as in core's RecordBatch, which grow from one batch of the log to the next, in memory of the pool. */
export class RecordColumns {
  count = 0
  columns: Int32Array
  timestamps: Float64Array
  #capacity: number
  #memory: ArrayBuffer

  /** @param records that are expected; more find room, too */
  constructor(records: number) {
    this.#memory = memoryPool.take(records * COLUMN_BYTES)
    this.#capacity = Math.floor(this.#memory.byteLength / COLUMN_BYTES)
    this.timestamps = new Float64Array(this.#memory, 0, this.#capacity)
    this.columns = new Int32Array(this.#memory, this.timestamps.byteLength, this.#capacity * COLUMNS)
  }

  /** Makes room for so many records besides those that are there. */
  reserve(records: number): void {
    const needed = this.count + records
    if (needed <= this.#capacity) return
    const grown = new RecordColumns(Math.max(needed, 2 * this.#capacity))
    grown.columns.set(this.columns)
    grown.timestamps.set(this.timestamps)
    memoryPool.giveBack(this.#memory)
    this.columns = grown.columns
    this.timestamps = grown.timestamps
    this.#capacity = grown.#capacity
    this.#memory = grown.#memory
  }

  /** The records so far. When all is done that is to be done with them, `giveBack` takes the memory. */
  finish(): Pick<RecordBatch, 'count' | 'columns' | 'timestamps'> {
    const { count, columns, timestamps } = this
    return { count, columns: columns.subarray(0, count * COLUMNS), timestamps: timestamps.subarray(0, count) }
  }

  giveBack(): void {
    memoryPool.giveBack(this.#memory)
  }
}

/**
 * Finds the parts of every record of a batch, in one pass and without an object per record, and adds them to `into`.
 * @param origin the position in `bytes` from which the columns count
 * @param baseDelta is added to the offset deltas
 * @throws MalformedBytesError where a length, a count or an offset cannot be right: nothing outside the section is read,
 *   and `into` has as many records as before
 */
export function parseRecords(
  { bytes, start, end }: RecordsSection,
  { count, lastOffsetDelta, appendTime, firstDelta, ...context }: RecordsContext,
  into: RecordColumns,
  origin: number,
  baseDelta: number,
): void {
  if (count < 0 || count > (end - start) / MIN_RECORD_BYTES) {
    throw new MalformedBytesError(`the batch announces ${count} records in ${end - start} bytes`)
  }
  into.reserve(count)
  const { columns, timestamps } = into
  const baseTimestamp = clampTimestamp(context.baseTimestamp)
  const reader = new VarintReader(bytes, start, end)
  let kept = into.count
  let previousDelta = -1
  for (let read = 0; read < count; read++) {
    const recordEnd = enterRecord(reader, end)
    const timestamp = clampTimestamp(baseTimestamp + reader.readVarlong())
    const delta = reader.readVarint()
    if (delta <= previousDelta || delta > lastOffsetDelta) {
      throw new MalformedBytesError(`offset delta ${delta} is not between ${previousDelta} and ${lastOffsetDelta + 1}`)
    }
    previousDelta = delta
    const at = kept * COLUMNS
    columns[at + Column.offsetDelta] = baseDelta + delta
    readField(reader, columns, at + Column.keyStart, origin)
    readField(reader, columns, at + Column.valueStart, origin)
    readHeaders(reader, columns, at, origin)
    if (reader.at !== recordEnd) {
      throw new MalformedBytesError(`a record is ${recordEnd - reader.at} bytes longer than its fields`)
    }
    if (delta < firstDelta) continue
    timestamps[kept++] = appendTime ?? timestamp
  }
  if (reader.at !== end) throw new MalformedBytesError('the batch goes on after its last record')
  into.count = kept
}

/** Reads the length and attributes of the next record, and confines the reader to it; returns its end. */
function enterRecord(reader: VarintReader, sectionEnd: number): number {
  reader.end = sectionEnd
  const length = reader.readVarint()
  if (length < 0 || length > sectionEnd - reader.at) {
    throw new MalformedBytesError(
      `a record of ${length} bytes does not fit the ${sectionEnd - reader.at} that are left`,
    )
  }
  reader.end = reader.at + length
  reader.readByte()
  return reader.end
}

/** Steps over a key or value; its start goes to `columns[at]`, its length or -1 to the next. */
function readField(reader: VarintReader, columns: Int32Array, at: number, origin: number): void {
  const length = reader.readVarint()
  columns[at] = reader.at - origin
  columns[at + 1] = length < 0 ? -1 : length
  if (length > 0) reader.skip(length)
}

function readHeaders(reader: VarintReader, columns: Int32Array, at: number, origin: number): void {
  const count = reader.readVarint()
  if (count < 0) throw new MalformedBytesError(`a record announces ${count} headers`)
  columns[at + Column.headerCount] = count
  columns[at + Column.headersStart] = reader.at - origin
  for (let read = 0; read < count; read++) {
    const nameLength = reader.readVarint()
    if (nameLength < 0) throw new MalformedBytesError('a header has no name')
    reader.skip(nameLength)
    const valueLength = reader.readVarint()
    if (valueLength > 0) reader.skip(valueLength)
  }
  columns[at + Column.headersEnd] = reader.at - origin
}

/** Numbers hold timestamps up to 2^53; what a client may have written beyond comes out as that. */
function clampTimestamp(timestamp: number): number {
  if (timestamp > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER
  return timestamp < Number.MIN_SAFE_INTEGER ? Number.MIN_SAFE_INTEGER : timestamp
}
