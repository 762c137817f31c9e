import type { Clock, Timer } from '../core/clock.ts'
import type { Room } from '../core/transaction.ts'

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

  /**
   * What of `room` a fetch may fill: as much as a burst. A large fetch would go through the pipeline at full speed, and
   * whoever is beside it wait, however long nothing came after it.
   */
  within(room: Room): Room {
    return { records: Math.min(room.records, Math.ceil(this.#burst)), bytes: room.bytes }
  }

  take(records: number): void {
    this.#fill()
    this.#tokens -= records
  }

  close(): void {
    this.#alarm?.cancel()
  }

  get #burst(): number {
    return (this.#recordsPerSecond * BURST_MS) / SECOND_MS
  }

  #fill(): void {
    const now = this.#clock.now()
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) * this.#recordsPerSecond) / SECOND_MS)
    this.#filledAt = now
  }
}
