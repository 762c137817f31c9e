/** Between two sorts of the window. */
const REFRESH = 16

/**
 * An upper quantile of the latest observations, exact but for the last few: the nearest rank (Hyndman and Fan, "Sample
 * quantiles in statistical packages", The American Statistician 50(4), 1996, definition 1) over a window that slides.
 *
 * A window forgets what an estimator without one does not (P², say), and says 0 until there is something in it. In a window of 256
 * the p99 is the third largest value: two pauses of the garbage collector do not move it.
 */
export class RecentQuantile {
  readonly #q: number
  readonly #window: Float64Array
  readonly #sorted: Float64Array
  #count = 0
  #next = 0
  #value = 0

  /**
   * @param q from 0 to 1
   * @param size of the window
   */
  constructor(q: number, size: number) {
    this.#q = q
    this.#window = new Float64Array(size)
    this.#sorted = new Float64Array(size)
  }

  get value(): number {
    return this.#value
  }

  observe(value: number): void {
    const { length } = this.#window
    this.#window[this.#next] = value
    this.#next = (this.#next + 1) % length
    this.#count = Math.min(this.#count + 1, length)
    if (this.#count <= REFRESH || this.#next % REFRESH === 0) this.#value = this.#nearestRank()
  }

  #nearestRank(): number {
    this.#sorted.set(this.#window)
    const seen = this.#sorted.subarray(0, this.#count).sort()
    return seen[Math.max(0, Math.ceil(this.#q * this.#count) - 1)]!
  }
}
