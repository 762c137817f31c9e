/**
 * The longest wait for brokers that are away, in milliseconds: once they are back, everybody is at work again within
 * little more. One attempt a second is nothing to a broker that answers.
 */
export const LONGEST_BROKER_WAIT_MS = 1_000

/** Exponential growth from `firstMs` to `maxMs`, with up to a fifth of jitter so that replicas do not move in step. */
export class Backoff {
  readonly #firstMs: number
  readonly #maxMs: number
  #nextMs: number

  constructor(firstMs: number, maxMs: number) {
    this.#firstMs = firstMs
    this.#maxMs = maxMs
    this.#nextMs = firstMs
  }

  /** The next delay in milliseconds. */
  next(): number {
    const delay = this.#nextMs * (1 + Math.random() / 5)
    this.#nextMs = Math.min(this.#nextMs * 2, this.#maxMs)
    return delay
  }

  /** Things went well: begin anew. */
  reset(): void {
    this.#nextMs = this.#firstMs
  }
}
