import type { Clock, Timer } from '../../src/core/clock.ts'

interface Alarm {
  readonly at: number
  /** Alarms of one instant ring in the order in which they were set. */
  readonly order: number
  readonly ring: () => void
  cancelled: boolean
}

/**
 * Lets everything happen that needs no time to pass: Node runs its next-tick queue when no promise is left that could
 * settle. Twenty times as cheap as a turn of the event loop, which a simulation without input and output does not need.
 */
function settle(): Promise<void> {
  return new Promise(resolve => process.nextTick(resolve))
}

/** Time of a simulation: it moves only from alarm to alarm, which wait in a binary heap. */
export class SimClock implements Clock {
  #now = 0
  #set = 0
  readonly #heap: Alarm[] = []

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return 1_700_000_000_000 + this.#now
  }

  after(delayMs: number, callback: () => void): Timer {
    const alarm: Alarm = { at: this.#now + Math.max(0, delayMs), order: this.#set++, ring: callback, cancelled: false }
    this.#push(alarm)
    return {
      cancel: () => {
        alarm.cancelled = true
      },
    }
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal)
  }

  /**
   * Lets `ms` pass, one alarm after another, or less when `look` says so. What an alarm sets off happens before `look`
   * is asked, and before the next one rings.
   * @param look returns whether to stop here
   */
  async advance(ms: number, look: () => boolean): Promise<void> {
    const end = this.#now + ms
    await settle()
    if (look()) return
    for (let next = this.#pop(end); next !== undefined; next = this.#pop(end)) {
      this.#now = next.at
      next.ring()
      await settle()
      if (look()) return
    }
    this.#now = end
  }

  /** The next alarm that is due by `end`, taken out; those that were cancelled are dropped on the way. */
  #pop(end: number): Alarm | undefined {
    for (;;) {
      const first = this.#heap[0]
      if (first === undefined || (first.at > end && !first.cancelled)) return undefined
      const last = this.#heap.pop()!
      if (this.#heap.length > 0) this.#sink(last)
      if (!first.cancelled) return first
    }
  }

  #push(alarm: Alarm): void {
    const heap = this.#heap
    let at = heap.length
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(alarm, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = alarm
  }

  /** Puts an alarm where the first one was. */
  #sink(alarm: Alarm): void {
    const heap = this.#heap
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, alarm)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = alarm
  }
}

function before(a: Alarm, b: Alarm): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** `Clock.sleep` for a clock that can set timers. */
export function sleepOn(clock: Pick<Clock, 'after'>, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal?.aborted) return resolve()
    const done = () => {
      timer.cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(delayMs, done)
    signal?.addEventListener('abort', done, { once: true })
  })
}
