import { COLUMNS, Column } from '../core/record-batch.ts'
import { MalformedBytesError, VarintReader } from './varint.ts'

/** A record is at least this long: seven fields of a byte each. */
const MIN_RECORD_BYTES = 7

/** What the batch header says about the records that follow it. */
export interface RecordsContext {
  readonly count: number
  readonly lastOffsetDelta: number
  readonly baseTimestamp: number
  /** The timestamp of every record where the broker stamped them (LogAppendTime), otherwise undefined. */
  readonly appendTime: number | undefined
  /** Records with a smaller offset delta are checked and left out. */
  readonly firstDelta: number
}

/** Columns as in core's RecordBatch, for `count` records. */
export interface ParsedRecords {
  readonly count: number
  readonly columns: Int32Array
  readonly timestamps: Float64Array
}

/**
 * Finds the parts of every record in an uncompressed records section, in one pass and without an object per record.
 * @throws MalformedBytesError where a length, a count or an offset cannot be right; nothing outside `bytes` is read.
 */
export function parseRecords(bytes: Buffer, context: RecordsContext): ParsedRecords {
  const { count, lastOffsetDelta, appendTime, firstDelta } = context
  if (count < 0 || count > bytes.length / MIN_RECORD_BYTES) {
    throw new MalformedBytesError(`the batch announces ${count} records in ${bytes.length} bytes`)
  }
  const baseTimestamp = clampTimestamp(context.baseTimestamp)
  const columns = new Int32Array(count * COLUMNS)
  const timestamps = new Float64Array(count)
  const reader = new VarintReader(bytes, 0, bytes.length)
  let kept = 0
  let previousDelta = -1
  for (let read = 0; read < count; read++) {
    const end = enterRecord(reader, bytes.length)
    const timestamp = clampTimestamp(baseTimestamp + reader.readVarlong())
    const delta = reader.readVarint()
    if (delta <= previousDelta || delta > lastOffsetDelta) {
      throw new MalformedBytesError(`offset delta ${delta} is not between ${previousDelta} and ${lastOffsetDelta + 1}`)
    }
    previousDelta = delta
    const at = kept * COLUMNS
    columns[at + Column.offsetDelta] = delta
    readField(reader, columns, at + Column.keyStart)
    readField(reader, columns, at + Column.valueStart)
    readHeaders(reader, columns, at)
    if (reader.at !== end) throw new MalformedBytesError(`a record is ${end - reader.at} bytes longer than its fields`)
    if (delta < firstDelta) continue
    timestamps[kept++] = appendTime ?? timestamp
  }
  if (reader.at !== bytes.length) throw new MalformedBytesError('the batch goes on after its last record')
  return kept === count
    ? { count, columns, timestamps }
    : { count: kept, columns: columns.subarray(0, kept * COLUMNS), timestamps: timestamps.subarray(0, kept) }
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
function readField(reader: VarintReader, columns: Int32Array, at: number): void {
  const length = reader.readVarint()
  columns[at] = reader.at
  columns[at + 1] = length < 0 ? -1 : length
  if (length > 0) reader.skip(length)
}

function readHeaders(reader: VarintReader, columns: Int32Array, at: number): void {
  const count = reader.readVarint()
  if (count < 0) throw new MalformedBytesError(`a record announces ${count} headers`)
  columns[at + Column.headerCount] = count
  columns[at + Column.headersStart] = reader.at
  for (let read = 0; read < count; read++) {
    const nameLength = reader.readVarint()
    if (nameLength < 0) throw new MalformedBytesError('a header has no name')
    reader.skip(nameLength)
    const valueLength = reader.readVarint()
    if (valueLength > 0) reader.skip(valueLength)
  }
  columns[at + Column.headersEnd] = reader.at
}

/** Numbers hold timestamps up to 2^53; what a client may have written beyond comes out as that. */
function clampTimestamp(timestamp: number): number {
  if (timestamp > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER
  return timestamp < Number.MIN_SAFE_INTEGER ? Number.MIN_SAFE_INTEGER : timestamp
}
