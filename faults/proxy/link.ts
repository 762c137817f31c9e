import { ActiveFault, isTarget, type Target } from './active-fault.ts'
import type { RequestHeader } from './frames.ts'

/** The two ways through a proxy. */
export type Direction = 'requests' | 'answers'

/** A frame on its way; an answer carries the header of its request. */
export interface Passing {
  readonly direction: Direction
  readonly header: RequestHeader
  readonly bytes: number
  /** By `performance.now()`. */
  readonly arrivedAt: number
}

/** A fault of the line itself, which changes when frames pass and nothing else. */
interface Slowdown {
  readonly fault: ActiveFault
  concerns(frame: Passing): boolean
  /** When the frame may pass, by `performance.now()`; infinite: not before the fault is lifted. Asked once a frame. */
  dueAt(frame: Passing): number
}

/** Node takes a longer one for none at all. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The line that all connections of a proxy share: blocked, slow or narrow. */
export class Link {
  readonly #slowdowns = new Set<Slowdown>()
  readonly #waiting = new Set<() => void>()

  /** Both ends stay connected and nothing passes. */
  block(directions: Direction | 'both', target: Target): ActiveFault {
    return this.#add(({ direction, header }) => {
      return (directions === 'both' || directions === direction) && isTarget(target, header)
    }, neverDue)
  }

  /** Each frame passes `ms` later than it came. */
  delay(ms: number, target: Target): ActiveFault {
    return this.#add(
      ({ header }) => isTarget(target, header),
      ({ arrivedAt }) => arrivedAt + ms,
    )
  }

  /** All connections together pass this many bytes a second, each way. A frame passes whole, when its last byte is due. */
  throttle(bytesPerSecond: number): ActiveFault {
    const freeAt = { requests: 0, answers: 0 }
    const dueAt = ({ direction, bytes }: Passing) => {
      freeAt[direction] = Math.max(freeAt[direction], performance.now()) + (bytes / bytesPerSecond) * 1000
      return freeAt[direction]
    }
    return this.#add(() => true, dueAt)
  }

  /** Resolves when the frame may pass, or when `signal` is aborted. At once where no fault concerns it. */
  async admit(frame: Passing, signal: AbortSignal): Promise<void> {
    const due = new Map<Slowdown, number>()
    for (;;) {
      const waitMs = this.#latest(frame, due) - performance.now()
      if (waitMs <= 0 || signal.aborted) return
      await this.#change(waitMs, signal)
    }
  }

  #latest(frame: Passing, due: Map<Slowdown, number>): number {
    let latest = 0
    for (const slowdown of this.#slowdowns) {
      if (!slowdown.concerns(frame)) continue
      let dueAt = due.get(slowdown)
      if (dueAt === undefined) {
        dueAt = slowdown.dueAt(frame)
        due.set(slowdown, dueAt)
        slowdown.fault.count()
      }
      latest = Math.max(latest, dueAt)
    }
    return latest
  }

  /** Resolves when `ms` are over, the faults have changed, or `signal` is aborted. */
  #change(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const timer = Number.isFinite(ms)
        ? setTimeout(() => over(), Math.min(Math.ceil(ms), LONGEST_TIMER_MS))
        : undefined
      const over = () => {
        clearTimeout(timer)
        this.#waiting.delete(over)
        signal.removeEventListener('abort', over)
        resolve()
      }
      this.#waiting.add(over)
      signal.addEventListener('abort', over)
    })
  }

  #add(concerns: Slowdown['concerns'], dueAt: Slowdown['dueAt']): ActiveFault {
    const fault = new ActiveFault(() => {
      if (this.#slowdowns.delete(slowdown)) this.#wake()
    })
    const slowdown: Slowdown = { fault, concerns, dueAt }
    this.#slowdowns.add(slowdown)
    this.#wake()
    return fault
  }

  #wake(): void {
    for (const over of this.#waiting) over()
  }
}

const neverDue = () => Number.POSITIVE_INFINITY
