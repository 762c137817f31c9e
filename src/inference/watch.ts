import type { Clock, Timer } from '../core/clock.ts'

/** A timer that rings so late says that this process was stopped, and with it the thread, which may be well. */
const LATE_MS = 1_000

/** Tells when what a thread does takes too long. */
export class Watch {
  readonly #clock: Clock
  readonly #onTooLong: () => void
  #timer: Timer | undefined

  constructor(clock: Clock, onTooLong: () => void) {
    this.#clock = clock
    this.#onTooLong = onTooLong
  }

  /** It begins, or is given more time: `timeoutMs` from now, 0 for any time. */
  begin(timeoutMs: number): void {
    if (timeoutMs === 0) return
    const due = this.#clock.now() + timeoutMs
    this.#timer = this.#clock.after(timeoutMs, () => {
      if (this.#clock.now() > due + LATE_MS) this.begin(timeoutMs)
      else this.#onTooLong()
    })
  }

  end(): void {
    this.#timer?.cancel()
  }
}
