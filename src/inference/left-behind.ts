import { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { PoolTelemetry } from '../core/telemetry.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { TensorSlots } from './slots.ts'
import type { Thread } from './thread.ts'

/** Each keeps the memory of a session and perhaps a core or a GPU: beyond this, only a new process helps. */
export const MOST_LEFT_BEHIND = 8

interface LeftBehindOptions {
  readonly slots: TensorSlots
  readonly log: Log
  readonly telemetry: PoolTelemetry | undefined
  /** Called once, with an error of response `exit`. */
  readonly onTooMany: (failure: SluiceError) => void
}

/** The threads of a pool that serve no session any more and have not ended: most do in a moment, those that hang may never. */
export class LeftBehind {
  readonly threads = new Set<Thread>()
  readonly #options: LeftBehindOptions
  #tooMany = false

  constructor(options: LeftBehindOptions) {
    this.#options = options
  }

  /** @param slot what the thread may still read */
  add(thread: Thread, slot: TensorSlot | undefined): void {
    const { slots, onTooMany } = this.#options
    this.threads.add(thread)
    if (slot !== undefined) slots.readerLeft(slot)
    this.#report()
    void thread.exited.then(() => this.#onEnd(thread, slot))
    if (this.#tooMany || this.threads.size <= MOST_LEFT_BEHIND) return
    this.#tooMany = true
    const message =
      `${this.threads.size} session threads hang in the runtime, and a thread that is in there cannot be ended; ` +
      `at most ${MOST_LEFT_BEHIND} are left behind, so the worker ends`
    onTooMany(new SluiceError('sessions-hung', message))
  }

  #onEnd(thread: Thread, slot: TensorSlot | undefined): void {
    this.threads.delete(thread)
    if (slot !== undefined) this.#options.slots.readerGone(slot)
    this.#report()
    this.#options.log.info({ leftBehind: this.threads.size }, 'A session thread that was left behind has ended')
  }

  #report(): void {
    this.#options.telemetry?.threadsLeftBehind(this.threads.size)
  }
}
