import { createHash } from 'node:crypto'
import { COLUMNS, Column, type RecordBatch } from '../core/record-batch.ts'
import { servingText, type TimelineEntry } from '../core/timeline.ts'

const TAG_DIGITS = 12

/** Stands for what an entry says in the metadata of committed offsets, where there is little room. */
export function servingTag(entry: TimelineEntry): string {
  return createHash('sha256').update(servingText(entry)).digest('hex').slice(0, TAG_DIGITS)
}

/** A batch of one record without a value, which lends its key and its timestamp to what is written. */
export function keyOnly(topic: string, key: string, timestamp: number): RecordBatch {
  const bytes = Buffer.from(key)
  const columns = new Int32Array(COLUMNS)
  columns[Column.keyLength] = bytes.length
  columns[Column.valueLength] = -1
  return { topic, partition: 0, count: 1, bytes, columns, baseOffset: 0, timestamps: Float64Array.of(timestamp) }
}
