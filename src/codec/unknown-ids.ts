const MAX_IDS = 1000

/**
 * Schema ids that turned out to be unknown, for a while and for a number: a schema may be registered later, and a stream
 * of garbage must not fill the memory. The oldest is forgotten first.
 */
export class UnknownIds {
  readonly #rememberMs: number
  /** When each id is to be asked about again. A Map keeps the order of insertion. */
  readonly #until = new Map<number, number>()

  constructor(rememberMs: number) {
    this.#rememberMs = rememberMs
  }

  /** Whether `id` was unknown a short while before `now` (milliseconds of a monotonic clock). */
  has(id: number, now: number): boolean {
    const until = this.#until.get(id)
    if (until === undefined) return false
    if (now < until) return true
    this.#until.delete(id)
    return false
  }

  add(id: number, now: number): void {
    this.#until.delete(id)
    if (this.#until.size >= MAX_IDS) this.#until.delete(this.#until.keys().next().value!)
    this.#until.set(id, now + this.#rememberMs)
  }
}
