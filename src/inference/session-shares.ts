import type { Clock, Timer } from '../core/clock.ts'
import type { HungThreads, Reservation, RunTimings, SessionChoice, SessionPool } from '../core/inference.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { LendablePool } from './pool-server.ts'
import { afterGuestRun, afterTaskRun, guestGoesFirst } from './session-share.ts'
import type { SharedSlot } from './slots.ts'

/** Tasks on other threads, which have been told of an idle session, have this long to take it. */
const GRACE_MS = 2

interface SessionSharesOptions {
  readonly pool: LendablePool
  readonly clock: Clock
  /** Of the time of the sessions that both sides want, what guests get: from 0 to below 1. */
  readonly share: number
  /** Slots of the pool that guests have for themselves: one for each session, and one while results are read from another. */
  readonly guestSlots: number
  /** Whether guests have rows to run now. */
  readonly guestsWait: () => boolean
}

/**
 * Divides the sessions of a pool between the tasks of the stream, who go first, and the guests, who are the requests of the
 * API: two views of the pool, with a batcher behind each. Who gets a session is `session-share.ts`'s to say.
 *
 *   a session is idle ─▶ tasks look (one idle session is hidden from them if a guest goes first) ─▶ guests look ─▶ tasks again
 *
 * Guests get a slot only when there is a session for it, so that their rows are packed right before they run: until then a
 * request can still be refused, and the batch grows. Their slots are their own; the tasks' cannot run out for them.
 */
export class SessionShares {
  readonly tasks: LendablePool
  readonly guests: SessionPool
  readonly #options: SessionSharesOptions
  readonly #slots: TensorSlot[] = []
  #credit = 0
  /** Guests go first in this round. */
  #hidden = false
  /** Tasks have looked for an idle session and found none. */
  #tasksWanting = false
  #tasksWait = () => this.#tasksWanting
  #tasksListener = () => {}
  #guestsListener = () => {}
  /** Slots that guests have, and no run yet. */
  readonly #granted = new Set<TensorSlot>()
  readonly #guestRuns = new Set<GuestRun>()
  /** What the last run of guests took. */
  #guestMs = 1
  #retry: Timer | undefined

  constructor(options: SessionSharesOptions) {
    const { pool, guestSlots } = options
    this.#options = options
    for (let i = 0; i < guestSlots; i++) this.#refill()
    this.tasks = new View(pool, {
      idle: () => this.#idleForTasks(),
      acquire: () => pool.acquire(),
      release: slot => pool.release(slot),
      run: (slot, first, rows, choice) => this.#runTask(slot, first, rows, choice),
      listen: listener => {
        this.#tasksListener = listener
      },
    })
    this.guests = new View(pool, {
      idle: () => this.#idleForGuests(),
      acquire: () => this.#grant(),
      release: slot => this.#takeBack(slot),
      run: (slot, first, rows, choice) => this.#runGuest(slot, first, rows, choice),
      listen: listener => {
        this.#guestsListener = listener
      },
    })
    pool.onAvailable(() => this.#onAvailable())
  }

  /** Where the tasks are on other threads: how to know that they wait for a session. */
  tasksWaitWhen(wait: (graceMs: number) => boolean): void {
    this.#tasksWait = () => wait(GRACE_MS)
  }

  close(): void {
    this.#retry?.cancel()
    this.#guestsListener = () => {}
  }

  /** Each side decides in a microtask of its own, in the order of these calls. */
  #onAvailable(): void {
    if (this.#tasksWait()) for (const run of this.#guestRuns) this.#contest(run)
    this.#hidden = this.#guestFirst
    this.#tasksListener()
    this.#guestsListener()
    queueMicrotask(() => this.#afterRound())
  }

  /** Whoever had a session to himself and did not take it does not keep the other from it. */
  #afterRound(): void {
    if (this.#hidden) {
      this.#hidden = false
      this.#tasksListener()
    } else if (this.#tasksWanting && this.#options.pool.idle > 0) {
      this.#tasksWanting = false
      this.#guestsListener()
    }
  }

  get #guestFirst(): boolean {
    const { share, guestsWait } = this.#options
    return this.#slots.length > 0 && guestGoesFirst(this.#credit, share) && guestsWait()
  }

  #idleForTasks(): number {
    const idle = Math.max(0, this.#options.pool.idle - Number(this.#hidden) - this.#granted.size)
    this.#tasksWanting = idle === 0
    return idle
  }

  #idleForGuests(): number {
    const { pool, share } = this.#options
    const { idle } = pool
    if (guestGoesFirst(this.#credit, share) || !this.#tasksWait()) return idle
    if (idle > 0) this.#retry ??= this.#options.clock.after(GRACE_MS, () => this.#tryAgain())
    return Math.min(idle, this.#granted.size)
  }

  #tryAgain(): void {
    this.#retry = undefined
    this.#guestsListener()
  }

  #grant(): TensorSlot | undefined {
    if (this.#slots.length === 0 || !this.#options.guestsWait()) return undefined
    if (this.#idleForGuests() <= this.#granted.size) return undefined
    const slot = this.#slots.pop()!
    this.#granted.add(slot)
    return slot
  }

  /** The pool may hold a slot back that a hung thread still reads, and has another one for it. */
  #takeBack(slot: TensorSlot): void {
    this.#granted.delete(slot)
    this.#options.pool.release(slot)
    this.#refill()
    this.#guestsListener()
  }

  #refill(): void {
    const slot = this.#options.pool.acquire()
    if (slot !== undefined) this.#slots.push(slot)
  }

  async #runTask(slot: TensorSlot, first: number, rows: number, choice?: SessionChoice): Promise<RunTimings> {
    const { pool, clock, share, guestsWait } = this.#options
    const startedAt = clock.now()
    this.#tasksWanting = false
    try {
      return await pool.run(slot, first, rows, choice)
    } finally {
      this.#credit = afterTaskRun(this.#credit, clock.now() - startedAt, share, guestsWait())
    }
  }

  async #runGuest(slot: TensorSlot, first: number, rows: number, choice?: SessionChoice): Promise<RunTimings> {
    const { pool, clock } = this.#options
    const startedAt = clock.now()
    const run: GuestRun = { advance: undefined }
    if (this.#tasksWait()) this.#contest(run)
    this.#guestRuns.add(run)
    this.#granted.delete(slot)
    const running = pool.run(slot, first, rows, choice)
    this.#tasksListener()
    try {
      return await running
    } finally {
      this.#guestRuns.delete(run)
      this.#guestMs = Math.max(0.01, clock.now() - startedAt)
      if (run.advance !== undefined) this.#credit = afterGuestRun(this.#credit + run.advance, this.#guestMs)
    }
  }

  /**
   * Tasks would want the session of a run: it is charged with what the last one took until it is known what it takes, so
   * that neither several sessions nor the next one go to guests as if it were free.
   */
  #contest(run: GuestRun): void {
    if (run.advance !== undefined) return
    run.advance = this.#guestMs
    this.#credit -= run.advance
  }
}

/** A run of guests that is under way. */
interface GuestRun {
  /** What was charged for it, if tasks wait. */
  advance: number | undefined
}

interface ViewPort {
  readonly idle: () => number
  readonly acquire: () => TensorSlot | undefined
  readonly release: (slot: TensorSlot) => void
  readonly run: SessionPool['run']
  readonly listen: (listener: () => void) => void
}

/** The pool, as one of the two sides sees it. Closing it closes nothing: the pool belongs to somebody else. */
class View implements LendablePool {
  readonly #pool: LendablePool
  readonly #port: ViewPort

  constructor(pool: LendablePool, port: ViewPort) {
    this.#pool = pool
    this.#port = port
  }

  get idle(): number {
    return this.#port.idle()
  }

  get busy(): number {
    return this.#pool.busy
  }

  get size(): number {
    return this.#pool.size
  }

  get hung(): HungThreads {
    return this.#pool.hung
  }

  get slotCapacity(): number {
    return this.#pool.slotCapacity
  }

  get slotMemory(): readonly SharedSlot[] {
    return this.#pool.slotMemory
  }

  acquire(): TensorSlot | undefined {
    return this.#port.acquire()
  }

  release(slot: TensorSlot): void {
    this.#port.release(slot)
  }

  run(slot: TensorSlot, first: number, rows: number, choice?: SessionChoice): Promise<RunTimings> {
    return this.#port.run(slot, first, rows, choice)
  }

  reserve(choice?: SessionChoice): Promise<Reservation> {
    return this.#pool.reserve(choice)
  }

  distrust(session: number, reason: string): void {
    this.#pool.distrust(session, reason)
  }

  onAvailable(listener: () => void): void {
    this.#port.listen(listener)
  }

  async close(): Promise<void> {}
}
