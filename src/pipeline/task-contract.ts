import type { Clock } from '../core/clock.ts'
import type { Comparison } from '../core/comparison.ts'
import type { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { PartitionTelemetry } from '../core/telemetry.ts'
import type { Committer } from '../core/transaction.ts'
import type { CommitTurns } from './commit-turns.ts'
import type { InFlightBudget } from './in-flight.ts'
import type { RateLimit } from './rate-limit.ts'
import type { Serving } from './serving.ts'

/**
 *                 ┌──── failure: everything of before is dropped ───┐
 *                 ▼                                                 │
 *   CREATED ─▶ INITIALISING ──────────────▶ RUNNING ────────────────┘
 *                 │  │                        │
 *                 │  └─▶ HALTED               │ drain
 *                 │      data would be        ▼
 *                 │      skipped           DRAINING
 *                 │ drain                     │ all is committed, or a failure
 *                 └───────────────────────────┴──▶ CLOSED
 *
 *   FENCED: from anywhere, when another owner initialised the id
 *   COMPLETE: from RUNNING, when a replay has committed all that it was to read of the partition
 */
export type TaskState =
  | 'CREATED'
  | 'INITIALISING'
  | 'RUNNING'
  | 'DRAINING'
  | 'CLOSED'
  | 'FENCED'
  | 'HALTED'
  | 'COMPLETE'

/** How a task ended. `halted` and `fenced` leave the partition unserved; `failed` is for the whole worker. */
export type TaskEnd =
  | { readonly how: 'closed' | 'fenced' | 'complete' }
  | { readonly how: 'halted' | 'failed'; readonly error: SluiceError }

export const STATE_AT_END: Record<TaskEnd['how'], TaskState> = {
  closed: 'CLOSED',
  fenced: 'FENCED',
  halted: 'HALTED',
  failed: 'CLOSED',
  complete: 'COMPLETE',
}

/** Ended, and not to be begun anew while the partition stays where it is. */
export const AT_REST: ReadonlySet<TaskState> = new Set(['HALTED', 'COMPLETE'])

export interface TaskOptions {
  readonly topic: string
  readonly partition: number
  readonly committer: Committer
  /** What is to answer the record at an offset now; it may be another each time it is asked. */
  readonly serving: (offset: number) => Serving
  readonly telemetry: PartitionTelemetry
  readonly log: Log
  readonly clock: Clock
  /** Where fetching pauses; shared by the tasks of the replica. */
  readonly inFlight: InFlightBudget
  /** Caps the records that are fetched; shared by the tasks of the replica. */
  readonly rate?: RateLimit | undefined
  /** Shared by the tasks of the replica. */
  readonly turns: CommitTurns
  /** Of a replay that compares. The task closes it. */
  readonly comparison?: Comparison | undefined
  readonly maxOutputBytes: number
  readonly commitIntervalMs: number
  /** Runs initialisations, a few at a time. */
  readonly limit: <T>(initialise: () => Promise<T>) => Promise<T>
  /** What keeps this partition from going on; undefined when nothing does any more. */
  readonly onCondition: (error: SluiceError | undefined) => void
  /** The fetcher should look again: the position was set, or there is room. */
  readonly onWanted: () => void
  /** A broker refused a transaction with predictions of shadows: their topic may be why. */
  readonly onShadowsRefused?: () => void
  /** The task may have let go of a serving that is no longer in effect: see `PartitionTask.uses`. */
  readonly onServed?: () => void
}
