import type { Clock, Timer } from '../core/clock.ts'

/** Aborts `signal` when there was no sign of life for `silenceMs`, or at `end`, by `Clock.now`. */
export class SilenceWatch {
  readonly #clock: Clock
  readonly #silenceMs: number
  readonly #end: number
  readonly #aborter = new AbortController()
  #seen: number
  #timer: Timer

  constructor(clock: Clock, silenceMs: number, end = Number.POSITIVE_INFINITY) {
    this.#clock = clock
    this.#silenceMs = silenceMs
    this.#end = end
    this.#seen = clock.now()
    this.#timer = this.#set()
  }

  get signal(): AbortSignal {
    return this.#aborter.signal
  }

  alive(): void {
    this.#seen = this.#clock.now()
  }

  end(): void {
    this.#timer.cancel()
  }

  // One timer at a time, set again for what is left of the time when it fires: chunks are many.
  #set(): Timer {
    const due = Math.min(this.#seen + this.#silenceMs, this.#end)
    const left = due - this.#clock.now()
    if (left > 0) return this.#clock.after(left, () => (this.#timer = this.#set()))
    this.#aborter.abort(new Error(`nothing for ${this.#silenceMs} ms (MODEL_STORE_TIMEOUT_MS)`))
    return { cancel: () => {} }
  }
}
