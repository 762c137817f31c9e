import type { Clock, Timer } from '../core/clock.ts'
import {
  type HungThreads,
  type Reservation,
  RunError,
  type RunTimings,
  type SessionChoice,
  type SessionPool,
} from '../core/inference.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { LendablePool } from './pool-server.ts'
import { PoolView } from './pool-view.ts'
import { afterGuestRun, afterTaskRun, guestGoesFirst } from './session-share.ts'

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
  /**
   * Threads that rows of guests may leave hanging before guests get no session any more. Left out, where there are no tasks:
   * as many as the process bears.
   */
  readonly mostHung?: number | undefined
}

/**
 * Divides the sessions of a pool between the tasks of the stream, who go first, and the guests, who are the requests of the
 * API: two views of the pool, with a batcher behind each. Who gets a session is `session-share.ts`'s to say.
 *
 *   a session is idle ─▶ tasks look (one idle session is hidden from them if a guest goes first) ─▶ guests look ─▶ tasks again
 *
 * Guests get a slot only when there is a session for it, so that their rows are packed right before they run: until then a
 * request can still be refused, and the batch grows. Their slots are their own; the tasks' cannot run out for them.
 *
 * Each side sees the threads that hang in its own runs: guests give up early, and never bring the tasks to their end.
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
  readonly #guestUses = new Set<GuestUse>()
  /** What the last run of guests took. */
  #guestMs = 1
  /** Threads that rows of guests have left hanging. */
  #guestHangs = 0
  #retry: Timer | undefined

  constructor(options: SessionSharesOptions) {
    const { pool, guestSlots } = options
    this.#options = options
    for (let i = 0; i < guestSlots; i++) this.#refill()
    this.tasks = new PoolView(pool, {
      idle: () => this.#idleForTasks(),
      hung: () => this.#hungOfTasks(),
      acquire: () => pool.acquire(),
      release: slot => pool.release(slot),
      run: (slot, first, rows, choice) => this.#runTask(slot, first, rows, choice),
      reserve: choice => pool.reserve(choice),
      listen: listener => {
        this.#tasksListener = listener
      },
    })
    this.guests = new PoolView(pool, {
      idle: () => this.#idleForGuests(),
      hung: () => this.#hungOfGuests(),
      acquire: () => this.#grant(),
      release: slot => this.#takeBack(slot),
      run: (slot, first, rows, choice) => this.#runGuest(slot, first, rows, choice),
      reserve: choice => this.#reserveForGuests(choice),
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

  /** Guests get nothing any more; a session that was granted to them and not used is the tasks'. */
  close(): void {
    this.#retry?.cancel()
    this.#guestsListener = () => {}
    this.#granted.clear()
    this.#tasksListener()
  }

  /** Each side decides in a microtask of its own, in the order of these calls. */
  #onAvailable(): void {
    if (this.#tasksWait()) for (const use of this.#guestUses) this.#contest(use)
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
    return this.#slots.length > 0 && guestGoesFirst(this.#credit, share) && !this.#guestsHang && guestsWait()
  }

  /** So many threads hang that guests get no session. */
  get #guestsHang(): boolean {
    const { count, most } = this.#hungOfGuests()
    return count >= most
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
    if (this.#slots.length === 0 || this.#guestsHang || !this.#options.guestsWait()) return undefined
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
    const { pool, share, guestsWait } = this.#options
    this.#tasksWanting = false
    // Guests earn nothing by a run that fails: nobody knows how much of its time was spent on a session.
    let ms = 0
    try {
      const timings = await pool.run(slot, first, rows, choice)
      ms = timings.computeMs
      return timings
    } finally {
      this.#credit = afterTaskRun(this.#credit, ms, share, guestsWait())
    }
  }

  async #runGuest(slot: TensorSlot, first: number, rows: number, choice?: SessionChoice): Promise<RunTimings> {
    const { pool, clock } = this.#options
    const kept = reservationOf(choice)
    const startedAt = clock.now()
    // A session that guests keep is paid for when they release it.
    const use = kept === undefined ? this.#beginUse() : undefined
    this.#granted.delete(slot)
    const running = pool.run(slot, first, rows, kept === undefined ? choice : { only: kept.session, by: kept.held })
    this.#tasksListener()
    let ms: number | undefined
    try {
      const timings = await running
      ms = this.#guestMs = Math.max(0.01, timings.computeMs)
      return timings
    } catch (error) {
      if (error instanceof RunError && error.code === 'session-hung') this.#guestHangs++
      throw error
    } finally {
      // A run that fails does not say how long it computed. All of its time counts then, with what it may have waited for a
      // session, or a row that hangs one for a minute would be free.
      if (use !== undefined) this.#endUse(use, ms ?? clock.now() - startedAt)
    }
  }

  /** Nobody else may use the session meanwhile, so guests pay for as long as they keep it, whatever runs there. */
  async #reserveForGuests(choice?: SessionChoice): Promise<Reservation> {
    const { pool, clock } = this.#options
    const held = await pool.reserve(choice)
    const startedAt = clock.now()
    const use = this.#beginUse()
    return new GuestReservation(held, () => this.#endUse(use, clock.now() - startedAt))
  }

  #beginUse(): GuestUse {
    const use: GuestUse = { advance: undefined }
    this.#guestUses.add(use)
    if (this.#tasksWait()) this.#contest(use)
    return use
  }

  #endUse(use: GuestUse, ms: number): void {
    if (this.#tasksWait()) this.#contest(use)
    this.#guestUses.delete(use)
    if (use.advance !== undefined) this.#credit = afterGuestRun(this.#credit + use.advance, ms)
  }

  /**
   * Tasks would want the session that guests use: they are charged with what their last run took until it is known what this
   * takes, so that neither several sessions nor the next one go to guests as if it were free.
   */
  #contest(use: GuestUse): void {
    if (use.advance !== undefined) return
    use.advance = this.#guestMs
    this.#credit -= use.advance
  }

  #hungOfTasks(): HungThreads {
    const { count, most } = this.#options.pool.hung
    return { count: count - this.#countGuestHangs(), most }
  }

  #hungOfGuests(): HungThreads {
    const { pool, mostHung } = this.#options
    if (mostHung === undefined) return pool.hung
    const { count, most } = pool.hung
    const own = this.#countGuestHangs()
    return { count: own, most: Math.min(mostHung, own + most - count) }
  }

  /** Nobody says whose thread it was that has ended after all: one of the tasks', while they have any. */
  #countGuestHangs(): number {
    this.#guestHangs = Math.min(this.#guestHangs, this.#options.pool.hung.count)
    return this.#guestHangs
  }
}

/** A session that guests use: a run of theirs, or a reservation. */
interface GuestUse {
  /** What was charged for it so far, if tasks wait. */
  advance: number | undefined
}

/** A session that guests keep for themselves. */
class GuestReservation implements Reservation {
  /** As the pool knows it. */
  readonly held: Reservation
  readonly #onRelease: () => void

  constructor(held: Reservation, onRelease: () => void) {
    this.held = held
    this.#onRelease = onRelease
  }

  get session(): number {
    return this.held.session
  }

  /** It is paid for before others look at who goes first. */
  release(): void {
    this.#onRelease()
    this.held.release()
  }
}

function reservationOf(choice: SessionChoice | undefined): GuestReservation | undefined {
  const by = choice !== undefined && 'only' in choice ? choice.by : undefined
  return by instanceof GuestReservation ? by : undefined
}
