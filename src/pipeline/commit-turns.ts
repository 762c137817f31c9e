import type { Clock } from '../core/clock.ts'

/** How long a transaction keeps its turn. One that takes longer goes on without. */
const LONGEST_TURN_MS = 200

/**
 * How many transactions of a replica are under way at once, whatever the number of its partitions: tasks take turns, first
 * come first served, and what settles while a task waits goes into the same transaction.
 *
 * One transaction costs the brokers about ten appends to their logs, be it of one record or of ten thousand. Without turns
 * 64 partitions commit sixteen times as often as 4, each a sixteenth as much, and the brokers have no time left to
 * serve anything else; with turns transactions become larger instead. And while one task has its turn, the markers of the
 * last transaction of another are written, which its next would have to wait for (CONCURRENT_TRANSACTIONS).
 *
 * A turn that lasts too long is passed on, so that partitions of a broker which does not answer hold up those of others
 * for a moment only.
 */
export class CommitTurns {
  readonly #clock: Clock
  readonly #waiting: (() => void)[] = []
  #free: number

  /** @param atOnce transactions under way at once */
  constructor(atOnce: number, clock: Clock) {
    this.#free = atOnce
    this.#clock = clock
  }

  /** Runs a commit when it is the caller's turn. Settles as `commit` does. */
  async run<T>(commit: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>(resolve => this.#waiting.push(resolve))
    let ended = false
    const end = () => {
      if (!ended) this.#pass()
      ended = true
    }
    const timer = this.#clock.after(LONGEST_TURN_MS, end)
    try {
      return await commit()
    } finally {
      timer.cancel()
      end()
    }
  }

  #pass(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}
