import type { Clock, Timer } from '../core/clock.ts'

/** A timer that rings so late says that this process was stopped, and with it the thread, which may be well. */
const LATE_MS = 1_000

/** Tells when a run takes too long. */
export class RunWatch {
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #onTooLong: () => void
  #timer: Timer | undefined

  /** @param timeoutMs 0 for a watch that never tells */
  constructor(clock: Clock, timeoutMs: number, onTooLong: () => void) {
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#onTooLong = onTooLong
  }

  /** A run begins, or is given as much time again. */
  begin(): void {
    if (this.#timeoutMs === 0) return
    const due = this.#clock.now() + this.#timeoutMs
    this.#timer = this.#clock.after(this.#timeoutMs, () => {
      if (this.#clock.now() > due + LATE_MS) this.begin()
      else this.#onTooLong()
    })
  }

  end(): void {
    this.#timer?.cancel()
  }
}
