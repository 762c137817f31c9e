import type { BatchTrigger } from '../core/telemetry.ts'

/** The micro-batch that is being filled, as the policy sees it. */
export interface OpenBatch {
  readonly rows: number
  readonly capacity: number
  /** When its first row was packed, in the clock's milliseconds. */
  readonly openedAt: number
}

/** Close the batch for this reason, or look again after `waitMs`, or when something changes. */
export type Decision = { readonly close: BatchTrigger } | { readonly waitMs: number } | 'gather'

/**
 * When a micro-batch closes: a pure function of the batch, the sessions that nobody waits for, and now.
 *
 * A full batch closes at once. A free session takes whatever waits, unless `maxQueueDelayMs` asks it to let more rows
 * gather first. While all sessions are busy, rows gather: load makes batches larger by itself.
 */
export function decide(batch: OpenBatch, freeSessions: number, now: number, maxQueueDelayMs: number): Decision {
  if (batch.rows === 0) return 'gather'
  if (batch.rows >= batch.capacity) return { close: 'full' }
  if (freeSessions === 0) return 'gather'
  if (maxQueueDelayMs === 0) return { close: 'session-free' }
  const left = batch.openedAt + maxQueueDelayMs - now
  return left <= 0 ? { close: 'delay' } : { waitMs: left }
}
