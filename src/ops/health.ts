import type { Clock } from '../core/clock.ts'
import type { ErrorCode, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'

/** The life of a worker: CREATED → STARTING → RUNNING → DRAINING → CLOSED; DRAINING and CLOSED from anywhere. */
export type WorkerState = 'CREATED' | 'STARTING' | 'RUNNING' | 'DRAINING' | 'CLOSED'

/** One thing that is wrong, and what to do. */
interface Reason {
  readonly code: ErrorCode
  readonly message: string
  readonly remedy: string
  /** ISO 8601. */
  readonly since: string
}

export interface HealthReport {
  readonly ok: boolean
  readonly state: WorkerState
  /** What keeps the worker from being ready, in the order in which it began. */
  readonly reasons: readonly Reason[]
  /** What failed while the worker went on as before: a version that was proposed and cannot answer here. */
  readonly notices: readonly Reason[]
}

interface Condition {
  readonly error: SluiceError
  /** By `Clock.now`, for the duration. */
  readonly began: number
  readonly since: string
}

/** The part of `Health` that a replica speaks to, be it on the thread of the worker's health or on another. */
export interface HealthReporter {
  readonly state: WorkerState
  enter(state: WorkerState): void
  set(key: string, error: SluiceError): void
  clear(key: string): void
}

/** Sets or clears a condition; an error that ends the worker is for `onExit`. */
export function tellHealth(
  health: HealthReporter,
  condition: string,
  error: SluiceError | undefined,
  onExit: (error: SluiceError) => void,
): void {
  if (error === undefined) health.clear(condition)
  else if (error.response === 'exit') onExit(error)
  else health.set(condition, error)
}

interface HealthOptions {
  readonly clock: Clock
  readonly log: Log
  /** Called whenever the worker becomes ready or stops being so. */
  readonly onReady?: (ready: boolean) => void
}

/**
 * What is wrong with the worker right now. Whoever meets a fault that may pass sets a condition under a key of its own
 * (`fetch`, `task:iris-features/2`), as often as it retries, and clears it when it succeeds. A condition is logged when
 * it begins and when it ends, never in between, so that a night without a broker costs two lines.
 */
export class Health implements HealthReporter {
  readonly #clock: Clock
  readonly #log: Log
  readonly #onReady: (ready: boolean) => void
  readonly #conditions = new Map<string, Condition>()
  readonly #notices = new Map<string, Reason>()
  #state: WorkerState = 'CREATED'
  #wasReady = false

  constructor({ clock, log, onReady = () => {} }: HealthOptions) {
    this.#clock = clock
    this.#log = log
    this.#onReady = onReady
  }

  get state(): WorkerState {
    return this.#state
  }

  enter(state: WorkerState): void {
    if (state === this.#state) return
    this.#log.info({ state, from: this.#state }, `worker is ${state}`)
    this.#state = state
    this.#report()
  }

  /** The same code under the same key is the same condition, gone on; its newest message is the one that is shown. */
  set(key: string, error: SluiceError): void {
    const known = this.#conditions.get(key)
    if (known?.error.code === error.code) {
      this.#conditions.set(key, { ...known, error })
      return
    }
    this.#conditions.delete(key)
    this.#conditions.set(key, { error, began: this.#clock.now(), since: this.#time() })
    this.#log.warn({ condition: key, error }, error.message)
    this.#report()
  }

  /** Harmless where nothing is set. */
  clear(key: string): void {
    const condition = this.#conditions.get(key)
    if (!condition) return
    this.#conditions.delete(key)
    const seconds = Math.round(this.#clock.now() - condition.began) / 1000
    const { code, message } = condition.error
    this.#log.info({ condition: key, code, seconds }, `over after ${seconds} s: ${message}`)
    this.#report()
  }

  /** Shows what failed without harm, beside the reasons, until it is cleared or another takes its place. The caller logs it. */
  note(key: string, { code, message, remedy }: SluiceError): void {
    this.#notices.set(key, { code, message, remedy, since: this.#time() })
  }

  /** Harmless where nothing was noted. */
  clearNote(key: string): void {
    this.#notices.delete(key)
  }

  /** Whether the process should be left alone. Faults that may pass are no reason to restart it. */
  live(): HealthReport {
    return this.#reportOf(this.#state !== 'CLOSED')
  }

  /** Whether every partition that is ours is being worked on. */
  ready(): HealthReport {
    return this.#reportOf(this.#isReady())
  }

  #isReady(): boolean {
    return this.#state === 'RUNNING' && this.#conditions.size === 0
  }

  #reportOf(ok: boolean): HealthReport {
    const reasons = Array.from(this.#conditions.values(), ({ error, since }) => {
      const { code, message, remedy } = error
      return { code, message, remedy, since }
    })
    return { ok, state: this.#state, reasons, notices: [...this.#notices.values()] }
  }

  #time(): string {
    return new Date(this.#clock.wallTime()).toISOString()
  }

  #report(): void {
    const ready = this.#isReady()
    if (ready === this.#wasReady) return
    this.#wasReady = ready
    this.#onReady(ready)
  }
}
