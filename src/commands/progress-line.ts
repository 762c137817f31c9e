import type { Clock } from '../core/clock.ts'
import type { TextOutput } from './command.ts'

const BAR_WIDTH = 24
const LINE_EVERY_MS = 5_000
const SECOND_MS = 1_000

/** How far a long work is: a bar, or what is waited for, that is drawn over and over on a terminal, elsewhere a line every few seconds. */
export class ProgressLine {
  readonly #output: TextOutput
  readonly #clock: Clock
  readonly #startedAt: number
  #linedAt: number
  #drawn = false

  constructor(output: TextOutput, clock: Clock) {
    this.#output = output
    this.#clock = clock
    this.#startedAt = clock.now()
    this.#linedAt = this.#startedAt
  }

  /** `done` of `total` records; `remark` comes after rate and time. */
  show(done: number, total: number, remark: string): void {
    const text = this.#text(done, total, remark)
    this.#draw(`${bar(done, total)} ${text}`, text)
  }

  /** `done` of `what`, of which nobody knows how many there are, when the `share` of the whole (0 to 1) is behind it. */
  share(done: number, what: string, share: number, remark: string): void {
    const whole = Math.min(1, Math.max(0, share))
    const seconds = this.#seconds
    const rate = seconds > 0 ? done / seconds : 0
    const left = whole > 0 && whole < 1 ? `, ${duration((seconds * (1 - whole)) / whole)} left` : ''
    const text = `${Math.floor(100 * whole)} %, ${grouped(done)} ${what}, ${grouped(Math.round(rate))}/s${left}${remark}`
    this.#draw(`${bar(whole, 1)} ${text}`, text)
  }

  /** What is waited for, where nobody knows for how long. */
  wait(text: string): void {
    this.#draw(text, text)
  }

  /** A line of its own, above the bar. */
  note(text: string): void {
    this.clear()
    this.#output.write(`${text}\n`)
  }

  /** Takes the bar away. */
  clear(): void {
    if (this.#drawn) this.#output.write('\r\x1b[K')
    this.#drawn = false
  }

  #draw(onTerminal: string, elsewhere: string): void {
    const now = this.#clock.now()
    if (this.#output.isTTY === true) {
      // A terminal that does not know its size says 0.
      this.#output.write(`\r${onTerminal.slice(0, (this.#output.columns || 80) - 1)}\x1b[K`)
      this.#drawn = true
    } else if (now - this.#linedAt >= LINE_EVERY_MS) {
      this.#linedAt = now
      this.#output.write(`${elsewhere}\n`)
    }
  }

  get #seconds(): number {
    return (this.#clock.now() - this.#startedAt) / SECOND_MS
  }

  #text(done: number, total: number, remark: string): string {
    const seconds = this.#seconds
    const rate = seconds > 0 ? done / seconds : 0
    const percent = total === 0 ? 100 : Math.floor((100 * done) / total)
    const left = rate > 0 && done < total ? `, ${duration((total - done) / rate)} left` : ''
    return `${percent} % of ${grouped(total)} records, ${grouped(Math.round(rate))}/s${left}${remark}`
  }
}

/** `1234567` as `1,234,567`. */
export function grouped(value: number): string {
  return value.toLocaleString('en-US')
}

function bar(done: number, total: number): string {
  const filled = total === 0 ? BAR_WIDTH : Math.round((BAR_WIDTH * done) / total)
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}]`
}

function duration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`
  const minutes = Math.ceil(seconds / 60)
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
