import type { Clock, Timer } from '../core/clock.ts'

const SECOND_MS = 1_000
/** What was not used in this time is lost: a replay that waited does not make up for it in one go. */
const BURST_MS = 100

/**
 * So many records a second and no more, over all partitions of a replica. What was taken beyond it, a fetch is taken whole, is
 * paid back before the next: a token bucket that may go into debt.
 */
export class RateLimit {
  readonly #recordsPerSecond: number
  readonly #clock: Clock
  /** Told when records may be fetched again. */
  readonly #onOpen: () => void
  #tokens = 0
  #filledAt: number
  #alarm: Timer | undefined

  constructor(recordsPerSecond: number, clock: Clock, onOpen: () => void) {
    this.#recordsPerSecond = recordsPerSecond
    this.#clock = clock
    this.#onOpen = onOpen
    this.#filledAt = clock.now()
  }

  /** Whether records may be fetched now; where not, `onOpen` is called when they may. */
  get open(): boolean {
    this.#fill()
    if (this.#tokens >= 0) return true
    const wait = (-this.#tokens / this.#recordsPerSecond) * SECOND_MS
    this.#alarm ??= this.#clock.after(Math.max(1, Math.ceil(wait)), () => {
      this.#alarm = undefined
      this.#onOpen()
    })
    return false
  }

  take(records: number): void {
    this.#fill()
    this.#tokens -= records
  }

  close(): void {
    this.#alarm?.cancel()
  }

  #fill(): void {
    const now = this.#clock.now()
    const most = (this.#recordsPerSecond * BURST_MS) / SECOND_MS
    this.#tokens = Math.min(most, this.#tokens + ((now - this.#filledAt) * this.#recordsPerSecond) / SECOND_MS)
    this.#filledAt = now
  }
}
