import type { Clock } from '../core/clock.ts'
import { Watch } from './watch.ts'

/** After this nobody should wait for a session that opens the model; most need less than a second. */
const SLOW_MS = 30_000
/** After this its thread counts as hanging. */
const TOO_LONG_MS = 300_000

interface OpeningWatchOptions {
  readonly clock: Clock
  /** It takes long, `ms` so far, but may come to an end. Once for each opening. */
  readonly onSlow: (ms: number) => void
  /** It has not ended within `ms`. Never at the first opening. */
  readonly onTooLong: (ms: number) => void
}

/**
 * Watches a session open the model. How long that takes is known of no model beforehand (TensorRT builds an engine for
 * minutes), so the first time has no limit, and is the measure of all others: one that takes more than five minutes
 * *and* more than four times as long as the first hangs; a tenth or half of that is slow.
 */
export class OpeningWatch {
  readonly #options: OpeningWatchOptions
  readonly #watch: Watch
  #beganAt = 0
  #slow = false
  #firstMs: number | undefined

  constructor(options: OpeningWatchOptions) {
    this.#options = options
    this.#watch = new Watch(options.clock, () => this.#onTime())
  }

  begin(): void {
    this.#beganAt = this.#options.clock.now()
    this.#slow = false
    this.#watch.begin(this.#slowMs)
  }

  /** The model is open. */
  opened(): void {
    this.#firstMs ??= this.#options.clock.now() - this.#beganAt
    this.#watch.end()
  }

  /** It came to another end, or nobody cares any more. */
  end(): void {
    this.#watch.end()
  }

  /** The answer is on the way. */
  extend(): void {
    this.#watch.begin(SLOW_MS)
  }

  get #slowMs(): number {
    return Math.max(SLOW_MS, 2 * (this.#firstMs ?? 0))
  }

  get #tooLongMs(): number {
    return Math.max(TOO_LONG_MS, 4 * (this.#firstMs ?? 0))
  }

  #onTime(): void {
    const { onSlow, onTooLong } = this.#options
    if (this.#slow) onTooLong(this.#tooLongMs)
    else {
      this.#slow = true
      if (this.#firstMs !== undefined) this.#watch.begin(this.#tooLongMs - this.#slowMs)
      onSlow(this.#slowMs)
    }
  }
}
