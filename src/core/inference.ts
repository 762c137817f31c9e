import { SluiceError } from './errors.ts'
import type { TensorSlot } from './tensor.ts'

/** How long the parts of a run took, in milliseconds, and where it ran. */
export interface RunTimings {
  /** In the runtime. */
  readonly computeMs: number
  /** From hand-over to the thread taking it: waiting behind another run, and the thread hop. */
  readonly waitMs: number
  /** `cpu`, `cuda:0`: where it ran. */
  readonly provider: string
  /** Which session took it: its place in SESSIONS, from 0. */
  readonly session: number
}

/** How a session failed a run: the runtime refused the rows, the thread died, or it did not return in time. */
export type RunFailure = 'inference-failed' | 'session-crashed' | 'session-hung'

/** A run that a session took and failed. Whether the rows or the session are at fault is for the caller to find out. */
export class RunError extends SluiceError {
  declare readonly code: RunFailure
  /** The session that failed: its place in SESSIONS, from 0. */
  readonly session: number

  constructor(code: RunFailure, message: string, session: number, options?: { cause?: unknown }) {
    super(code, message, options)
    this.name = 'RunError'
    this.session = session
  }
}

/** Threads that hang in the runtime, which cannot be ended, and how many of them a process should bear. */
export interface HungThreads {
  readonly count: number
  readonly most: number
}

/** The error, with response `exit`, that ends the worker when `count` has reached `most`. */
export function tooManyHang({ count, most }: HungThreads): SluiceError {
  const message =
    `${count} session threads hang in the runtime, and a thread that is in there cannot be ended; ` +
    `a process bears at most ${most}, so the worker ends`
  return new SluiceError('sessions-hung', message)
}

/** Which session is to take a run: this very one, or any but this one where there is another. Left out: any. */
export type SessionChoice = { readonly only: number; readonly by?: Reservation | undefined } | { readonly not: number }

/** A session that takes only the runs which say that they are `by` this reservation, until it is released. */
export interface Reservation {
  readonly session: number
  release(): void
}

/**
 * Sessions of one model version, each on its own thread, and the slots that they share. A session runs one batch at a
 * time; which session is the pool's business unless the caller says so.
 */
export interface SessionPool {
  /** How many sessions could take a batch now without waiting. */
  readonly idle: number
  /** How many cannot. For numbers that people see: who asks for `idle` wants a session. */
  readonly busy: number
  readonly size: number
  /** Counted, not enforced: the pool goes on, and whoever runs rows that hang has to stop in time. */
  readonly hung: HungThreads
  /** A free slot, or undefined when all are in use. The caller owns it until it releases it. */
  acquire(): TensorSlot | undefined
  /** Gives a slot back; its tensors must no longer be touched. */
  release(slot: TensorSlot): void
  /**
   * Runs rows [first, first + rows) of `slot`; the outputs lie in the same rows of `slot.outputs`. Waits for a session
   * that may take them; nothing is written to the slot after the promise has settled.
   *
   * How long it waits: for the runs and reservations before it, and then for its own run, each of these at most
   * RUN_TIMEOUT_MS (which may be 0: for ever). With `only`, also for that session to open the model again, until that takes
   * longer than is usual: half a minute, or twice as long as it took at first.
   * @throws RunError when a session took the rows and failed; the pool replaces its thread where it has to.
   * @throws SluiceError `session-crashed` when no session can be expected to take them, or the pool was closed.
   */
  run(slot: TensorSlot, first: number, rows: number, choice?: SessionChoice): Promise<RunTimings>
  /**
   * Keeps a session for the caller alone: one that is free, else one that serves, else one that is expected to open the model
   * soon, else any. Waits only while another caller has reserved it, not for the session: a run that it is in still ends,
   * and the first run of the reservation waits for that, as `run` with `only` does.
   */
  reserve(choice?: SessionChoice): Promise<Reservation>
  /** Gives a session a new thread, because it fails on rows that are good; `reason` is for the log. */
  distrust(session: number, reason: string): void
  /** Registers the callback for "a session became idle or a slot was released". One listener: the batcher. */
  onAvailable(listener: () => void): void
  /** Stops the threads, waiting a few seconds for those that are in the runtime. Runs in flight are rejected. */
  close(): Promise<void>
}
