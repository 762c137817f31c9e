import { COLUMNS, Column, type RecordBatch } from '../core/record-batch.ts'
import { RecordBatchWriter } from './record-batch-writer.ts'

/** A record that is made here, rather than from one that was read. */
export interface KeyedRecord {
  readonly key: string
  /** Null is a tombstone: compaction forgets the key. */
  readonly value: string | null
  /** In ms since the epoch. */
  readonly timestamp: number
}

/** A batch of one record without headers. Whoever asked for it frees it, once nobody reads its bytes any more. */
export function batchOfOne(
  topic: string,
  partition: number,
  { key, value, timestamp }: KeyedRecord,
): RecordBatchWriter {
  const writer = new RecordBatchWriter()
  writer.open(topic, partition, Number.MAX_SAFE_INTEGER)
  const bytes = value === null ? null : Buffer.from(value)
  writer.begin(keySource(key, timestamp), 0, bytes, bytes?.length ?? 0, 0, 0)
  return writer
}

/** A batch of one record without a value, which lends its key and its timestamp to what is written. */
export function keySource(key: string, timestamp: number): RecordBatch {
  const bytes = Buffer.from(key)
  const columns = new Int32Array(COLUMNS)
  columns[Column.keyLength] = bytes.length
  return { topic: '', partition: 0, count: 1, bytes, columns, baseOffset: 0, timestamps: Float64Array.of(timestamp) }
}
