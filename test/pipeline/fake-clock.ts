import type { Clock, Timer } from '../../src/core/clock.ts'

/** Lets everything happen that needs no time to pass: all promises that can settle have settled afterwards. */
export function settle(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

interface Alarm {
  readonly at: number
  readonly ring: () => void
}

/** Time that only moves when a test says so. */
export class FakeClock implements Clock {
  #now = 0
  #alarms: Alarm[] = []

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return 1_000_000 + this.#now
  }

  after(delayMs: number, callback: () => void): Timer {
    const alarm: Alarm = { at: this.#now + delayMs, ring: callback }
    this.#alarms.push(alarm)
    return { cancel: () => this.#remove(alarm) }
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      if (signal?.aborted) return resolve()
      const timer = this.after(delayMs, resolve)
      const stop = () => {
        timer.cancel()
        resolve()
      }
      signal?.addEventListener('abort', stop, { once: true })
    })
  }

  /** How many timers and sleeps wait. */
  get waiting(): number {
    return this.#alarms.length
  }

  /** Lets `ms` pass, one alarm after another; what an alarm sets off happens before the next one rings. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await settle()
    for (;;) {
      const next = this.#alarms.filter(alarm => alarm.at <= end).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#now = Math.max(this.#now, next.at)
      this.#remove(next)
      next.ring()
      await settle()
    }
    this.#now = end
    await settle()
  }

  #remove(alarm: Alarm): void {
    this.#alarms = this.#alarms.filter(other => other !== alarm)
  }
}
