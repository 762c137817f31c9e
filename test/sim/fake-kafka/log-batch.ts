import { COLUMNS, Column, keyBytes, offsetOf, type RecordBatch, valueBytes } from '../../../src/core/record-batch.ts'
import { Attribute, BatchField, readInt64, writeInt64 } from '../../../src/kafka/batch-layout.ts'
import { readRecordBatches } from '../../../src/kafka/record-batch-reader.ts'
import { VarintReader } from '../../../src/kafka/varint.ts'

/** A batch as it lies in the log: its bytes with the offsets that the broker gave it, and what the broker reads of it. */
export interface LogBatch {
  readonly bytes: Buffer
  readonly baseOffset: number
  readonly lastOffset: number
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly firstSequence: number
  readonly lastSequence: number
  readonly transactional: boolean
  /** Which marker a control batch holds. */
  readonly marker?: 'commit' | 'abort'
}

/** A record as the log holds it. Key, value and header values are copies. */
export interface StoredRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[]
}

const SEQUENCES = 2 ** 31

/** Copies a batch of a producer and gives it its place in the log. */
export function placeBatch(
  sent: Buffer,
  baseOffset: number,
  leaderEpoch: number,
  marker?: 'commit' | 'abort',
): LogBatch {
  const bytes = Buffer.from(sent)
  writeInt64(bytes, BatchField.baseOffset, baseOffset)
  bytes.writeInt32BE(leaderEpoch, BatchField.leaderEpoch)
  const lastOffset = baseOffset + bytes.readInt32BE(BatchField.lastOffsetDelta)
  const firstSequence = bytes.readInt32BE(BatchField.baseSequence)
  return {
    bytes,
    baseOffset,
    lastOffset,
    producerId: bytes.readBigInt64BE(BatchField.producerId),
    producerEpoch: bytes.readInt16BE(BatchField.producerEpoch),
    firstSequence,
    lastSequence: firstSequence < 0 ? -1 : (firstSequence + lastOffset - baseOffset) % SEQUENCES,
    transactional: (bytes.readInt16BE(BatchField.attributes) & Attribute.transactional) !== 0,
    ...(marker === undefined ? {} : { marker }),
  }
}

/** Latest timestamp in a batch. */
export function maxTimestamp(batch: LogBatch): number {
  return readInt64(batch.bytes, BatchField.maxTimestamp)
}

/** Records that were decoded before: oracles look again and again. */
const decoded = new WeakMap<LogBatch, readonly StoredRecord[]>()

/** The records of a data batch from `start` on. */
export function storedRecords(batch: LogBatch, start: number): readonly StoredRecord[] {
  const records = decoded.get(batch) ?? decode(batch)
  decoded.set(batch, records)
  return start <= batch.baseOffset ? records : records.filter(({ offset }) => offset >= start)
}

function decode({ bytes, baseOffset }: LogBatch): StoredRecord[] {
  const { batches } = readRecordBatches({ topic: '', partition: 0, bytes, fetchOffset: baseOffset, aborted: [] })
  return batches.flatMap(read => Array.from({ length: read.count }, (_, index) => storedRecord(read, index)))
}

function storedRecord(batch: RecordBatch, index: number): StoredRecord {
  return {
    offset: offsetOf(batch, index),
    timestamp: batch.timestamps[index]!,
    key: copy(keyBytes(batch, index)),
    value: copy(valueBytes(batch, index)),
    headers: headersOf(batch, index),
  }
}

function headersOf({ bytes, columns }: RecordBatch, index: number): [string, Buffer | null][] {
  const at = index * COLUMNS
  const reader = new VarintReader(bytes, columns[at + Column.headersStart]!, columns[at + Column.headersEnd]!)
  const field = () => {
    const length = reader.readVarint()
    if (length < 0) return null
    reader.skip(length)
    return Buffer.from(bytes.subarray(reader.at - length, reader.at))
  }
  return Array.from({ length: columns[at + Column.headerCount]! }, () => [String(field()), field()])
}

function copy(bytes: Buffer | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes)
}
