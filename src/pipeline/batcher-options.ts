import type { Clock } from '../core/clock.ts'
import type { SluiceError } from '../core/errors.ts'
import type { Reservation, SessionPool } from '../core/inference.ts'
import type { BatcherTelemetry } from '../core/telemetry.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { ModelIdentity } from '../core/transaction.ts'

export interface BatcherOptions {
  readonly pool: SessionPool
  /** Name, version and hash for the headers; the provider is the session's. */
  readonly model: Omit<ModelIdentity, 'provider'>
  readonly maxQueueDelayMs: number
  /** From a record's arrival to the commit that carries its prediction, at the p99; 0 for no target. */
  readonly targetLatencyMs: number
  readonly telemetry: BatcherTelemetry
  readonly clock: Clock
  /**
   * Runs a row that is known to be good on this very session. Asked before a row is called bad: a session that fails on it
   * is at fault itself, and nothing is dead-lettered for it.
   */
  readonly probe: (session: number, by?: Reservation) => Promise<void>
  /** Told of every batch that ran without a fault: its rows are good. */
  readonly onGood?: (slot: TensorSlot) => void
  /**
   * A condition for people: why rows wait for the sessions; undefined when they run again. `sessions-hung`, with response
   * `exit`, at most once: as many threads hang as a process bears, and the batches that were to be found guilty are settled.
   */
  readonly onCondition: (error: SluiceError | undefined) => void
}
