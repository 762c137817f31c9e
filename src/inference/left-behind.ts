import type { Clock, Timer } from '../core/clock.ts'
import type { HungThreads } from '../core/inference.ts'
import type { Log } from '../core/log.ts'
import type { PoolTelemetry } from '../core/telemetry.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { TensorSlots } from './slots.ts'
import type { Thread } from './thread.ts'

/**
 * Threads that may hang at a time. Each keeps the memory of a session and perhaps a core or a GPU: beyond this, only a new
 * process helps. Sixteen are enough to find seven hanging rows in a batch of any size, see `runIsolated`.
 */
export const MOST_HUNG = 16

/** A thread that was asked to end while it was idle takes milliseconds to. */
const GRACE_MS = 10_000

interface LeftBehindOptions {
  readonly slots: TensorSlots
  readonly log: Log
  readonly clock: Clock
  readonly telemetry: PoolTelemetry | undefined
  /** So many hang that the process should end, and the last of them did so without a run that anyone could tell of. */
  readonly onTooMany: () => void
}

/**
 * The threads of a pool that serve no session any more and have not ended. Those that hang are counted; those that were
 * asked to end, only once they have not done so for ten seconds.
 */
export class LeftBehind {
  readonly #options: LeftBehindOptions
  readonly #hung = new Set<Thread>()
  readonly #leaving = new Map<Thread, Timer>()

  constructor(options: LeftBehindOptions) {
    this.#options = options
  }

  get hung(): HungThreads {
    return { count: this.#hung.size, most: MOST_HUNG }
  }

  /** @param slot of the run that the thread hangs in and may still read; left out where it hangs outside of a run */
  addHung(thread: Thread, slot?: TensorSlot): void {
    const { slots, onTooMany } = this.#options
    this.#hung.add(thread)
    if (slot !== undefined) slots.readerLeft(slot)
    this.#report()
    void thread.exited.then(() => this.#onEnd(thread, slot))
    if (slot === undefined && this.#hung.size >= MOST_HUNG) onTooMany()
  }

  /** A thread that was idle was asked to end. */
  addDismissed(thread: Thread): void {
    const timer = this.#options.clock.after(GRACE_MS, () => {
      this.#leaving.delete(thread)
      thread.leaveBehind()
      this.addHung(thread)
    })
    this.#leaving.set(thread, timer)
    void thread.exited.then(() => this.#forget(thread))
  }

  /** Waits for no thread any more. */
  close(): void {
    for (const thread of this.#leaving.keys()) this.#forget(thread)
  }

  #forget(thread: Thread): void {
    this.#leaving.get(thread)?.cancel()
    this.#leaving.delete(thread)
  }

  #onEnd(thread: Thread, slot: TensorSlot | undefined): void {
    this.#hung.delete(thread)
    if (slot !== undefined) this.#options.slots.readerGone(slot)
    this.#report()
    this.#options.log.info({ hung: this.#hung.size }, 'A session thread that was left behind has ended')
  }

  #report(): void {
    this.#options.telemetry?.threadsLeftBehind(this.#hung.size)
  }
}
