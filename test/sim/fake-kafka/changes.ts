import type { Clock } from '../../../src/core/clock.ts'

/** Wakes the fetches that wait until there is something to read. */
export class Changes {
  readonly #clock: Clock
  #waiting: (() => void)[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  notify(): void {
    const woken = this.#waiting
    this.#waiting = []
    for (const wake of woken) wake()
  }

  /** Resolves at the next change, or after `timeoutMs`. */
  async wait(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push(resolve)
    const timer = this.#clock.after(timeoutMs, resolve)
    await promise
    timer.cancel()
    this.#waiting = this.#waiting.filter(other => other !== resolve)
  }
}
