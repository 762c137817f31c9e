import type { Clock } from '../../src/core/clock.ts'
import { type SimClock, sleepOn } from './sim-clock.ts'

/**
 * The process that a replica lives in. Whatever would wake a real process comes through `post` or its clock: so it can
 * be stopped in the middle of anything, and go on later as if nothing had happened, or never.
 *
 *   RUNNING ◀──resume / pause──▶ PAUSED        DEAD: from anywhere, for good; what was addressed to it is dropped
 */
export class SimProcess {
  readonly clock: Clock
  readonly #time: SimClock
  #state: 'RUNNING' | 'PAUSED' | 'DEAD' = 'RUNNING'
  /** What would have happened while it was paused. */
  #timers: (() => void)[] = []
  #events: (() => void)[] = []

  constructor(time: SimClock) {
    this.#time = time
    const after: Clock['after'] = (delayMs, callback) => {
      let cancelled = false
      const timer = time.after(delayMs, () =>
        this.#happen(this.#timers, () => {
          if (!cancelled) callback()
        }),
      )
      return {
        cancel: () => {
          cancelled = true
          timer.cancel()
        },
      }
    }
    this.clock = {
      now: () => time.now(),
      wallTime: () => time.wallTime(),
      after,
      sleep: (delayMs, signal) => sleepOn({ after }, delayMs, signal),
    }
  }

  get dead(): boolean {
    return this.#state === 'DEAD'
  }

  /** Something that arrives at the process, like the answer to a request. */
  post(event: () => void): void {
    this.#happen(this.#events, event)
  }

  /** SIGSTOP. */
  pause(): void {
    if (this.#state === 'RUNNING') this.#state = 'PAUSED'
  }

  /**
   * SIGCONT: what came meanwhile happens now, one after another.
   * @param timersFirst whether timers go before what came from outside; which does depends on where the process stood
   */
  resume(timersFirst: boolean): void {
    if (this.#state !== 'PAUSED') return
    this.#state = 'RUNNING'
    const held = timersFirst ? [...this.#timers, ...this.#events] : [...this.#events, ...this.#timers]
    this.#timers = []
    this.#events = []
    for (const event of held) this.#time.after(0, () => this.post(event))
  }

  /** SIGKILL. */
  kill(): void {
    this.#state = 'DEAD'
    this.#timers = []
    this.#events = []
  }

  #happen(held: (() => void)[], event: () => void): void {
    if (this.#state === 'RUNNING') event()
    else if (this.#state === 'PAUSED') held.push(event)
  }
}
