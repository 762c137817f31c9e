import { createHash } from 'node:crypto'
import { servingText, type TimelineEntry } from '../core/timeline.ts'

const TAG_DIGITS = 12

/** Stands for what an entry says in the metadata of committed offsets, where there is little room. */
export function servingTag(entry: TimelineEntry): string {
  return createHash('sha256').update(servingText(entry)).digest('hex').slice(0, TAG_DIGITS)
}
