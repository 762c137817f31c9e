import { styleText } from 'node:util'

export type Style = Parameters<typeof styleText>[0]

/** How a progress bar stands. */
export interface Progress {
  readonly done: number
  readonly total: number
  /** A few words behind the numbers. */
  readonly note: string
}

const BAR_CELLS = 26
const REDRAW_MS = 100
const LINE_EVERY_MS = 1_000
const CLEAR_LINE = '\r\x1b[K'

/**
 * Lines for a person, with a progress bar below the last one on a terminal and a line each second elsewhere. Colours only
 * on a terminal that wants them (NO_COLOR, FORCE_COLOR: see `styleText`).
 */
export class Screen {
  readonly #stream: NodeJS.WriteStream
  #progress: (() => Progress) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
  }

  /** Styled text for `line`. */
  style(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#stream })
  }

  /** Writes lines, above the progress bar if there is one. */
  line(...lines: readonly string[]): void {
    this.#clear()
    this.#stream.write(lines.map(line => `${line}\n`).join(''))
    this.#draw()
  }

  /** Shows progress until `endProgress`. */
  beginProgress(progress: () => Progress): void {
    this.#progress = progress
    this.#timer = this.#stream.isTTY
      ? setInterval(() => this.#draw(), REDRAW_MS)
      : setInterval(() => this.line(progressLine(progress())), LINE_EVERY_MS)
    this.#draw()
  }

  /** Leaves the last state of the progress as a line. */
  endProgress(): void {
    if (this.#progress === undefined) return
    clearInterval(this.#timer)
    this.#clear()
    const last = progressLine(this.#progress())
    this.#progress = undefined
    this.line(last)
  }

  #clear(): void {
    if (this.#stream.isTTY && this.#progress !== undefined) this.#stream.write(CLEAR_LINE)
  }

  #draw(): void {
    if (this.#stream.isTTY && this.#progress !== undefined) {
      this.#stream.write(CLEAR_LINE + progressLine(this.#progress()))
    }
  }
}

/** One line of at most 80 columns, `note` being short. */
export function progressLine({ done, total, note }: Progress): string {
  const share = total === 0 ? 1 : Math.min(1, done / total)
  const filled = Math.floor(share * BAR_CELLS)
  const bar = '█'.repeat(filled) + '░'.repeat(BAR_CELLS - filled)
  const percent = `${Math.floor(share * 100)} %`.padStart(5)
  return `  ${bar} ${percent}  ${count(done).padStart(count(total).length)} of ${count(total)} ${note}`.trimEnd()
}

/** 20,000 */
export function count(value: number): string {
  return value.toLocaleString('en-GB')
}
