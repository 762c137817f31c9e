/** Wakes one waiter. A notification that nobody waits for is kept, several count once. */
export class Signal {
  #notified = false
  #wake: (() => void) | undefined

  notify(): void {
    this.#notified = true
    this.#wake?.()
  }

  /** Resolves at the next notification, or at once when one came since the last wait. */
  async wait(): Promise<void> {
    if (!this.#notified) {
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    this.#notified = false
  }
}
