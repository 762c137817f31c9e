/** A timer that has been set; `cancel` is harmless after it fired. */
export interface Timer {
  cancel(): void
}

/**
 * Time, as everything but `cli.ts` sees it. Nothing reads the wall clock or sets a timer behind its back, so that the
 * policies are pure functions of (state, now) and the simulation can own time.
 */
export interface Clock {
  /** Milliseconds from an arbitrary origin, never going back, with fractions. For durations. */
  now(): number
  /** Milliseconds since the Unix epoch. For timestamps that leave the process. */
  wallTime(): number
  /** Calls back once, `delayMs` from now. Timers do not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer
  /** Resolves `delayMs` from now, or at once when `signal` is or becomes aborted. Never rejects. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  sleep(delayMs, signal) {
    return new Promise(resolve => {
      if (signal?.aborted) return resolve()
      const done = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, delayMs)
      signal?.addEventListener('abort', done, { once: true })
    })
  },
}
