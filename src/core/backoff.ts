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
