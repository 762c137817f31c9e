import type { Clock, Timer } from '../core/clock.ts'

/**
 * How long threads that have joined wait for the others. A member hears of a rebalance by its next heartbeat, within a second,
 * so this is long; a thread that is kept from joining by then may be kept for ever.
 */
const PATIENCE_MS = 5_000

interface JointStartOptions {
  readonly threads: number
  readonly clock: Clock
  /** Called once: all threads may begin to work on what the group has assigned to them. */
  readonly onBegin: () => void
}

/**
 * Lets the I/O threads of a worker begin together, once all are members of the same generation of the group.
 *
 * They join one after the other. The first is given all partitions, the next takes half of them away, and so on, each time
 * with producers that are initialised and fenced, and rows that are predicted, for nothing. For rows that make sessions
 * hang, "for nothing" would be for ever: the first thread spends the session threads of the process to find such rows, loses the
 * partition to the second one before it can commit, which finds the same rows and nothing left to find them with; the worker
 * ends, and so does the next one.
 */
export class JointStart {
  readonly #options: JointStartOptions
  /** The generation that each thread joined last. */
  readonly #generations = new Map<number, number>()
  #patience: Timer | undefined
  #begun = false

  constructor(options: JointStartOptions) {
    this.#options = options
  }

  joined(thread: number, generation: number): void {
    if (this.#begun) return
    const { threads, clock } = this.#options
    this.#generations.set(thread, generation)
    this.#patience ??= clock.after(PATIENCE_MS, () => this.#begin())
    if (this.#generations.size === threads && new Set(this.#generations.values()).size === 1) this.#begin()
  }

  #begin(): void {
    this.#begun = true
    this.#patience?.cancel()
    this.#options.onBegin()
  }
}
