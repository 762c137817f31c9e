import type { RecordFault } from '../core/errors.ts'
import type { FileColumn, FileRow, LineDecoder, RowChunk, RowReader } from '../core/files.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { FileWindows, type Window } from './file-window.ts'

const NEWLINE = 0x0a
/** Space, tab and carriage return. Zeros, say, are what a crash leaves, and no blank line. */
const BLANKS: readonly number[] = [0x20, 0x09, 0x0d]
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf])
/** Of where a row begins and ends. */
const ROW_BYTES = 8

/** Reads a file of one JSON object a line. Lines without anything on them are no rows. */
export class LineReader implements RowReader {
  readonly columns: readonly FileColumn[]
  readonly #windows: FileWindows
  readonly #decoder: LineDecoder
  readonly #maxLineBytes: number
  #first = true
  #over = false
  #ahead: RowChunk | undefined
  /** Bytes so far of a line that is too long, 0 where there is none. */
  #tooLong = 0

  private constructor(windows: FileWindows, decoder: LineDecoder, maxLineBytes: number, columns: FileColumn[]) {
    this.#windows = windows
    this.#decoder = decoder
    this.#maxLineBytes = maxLineBytes
    this.columns = columns
  }

  /**
   * @param maxLineBytes longer lines are bad rows, and are not kept in memory
   * @param columnOf what a column is, by its name; the columns are those of the first row that is an object
   * @throws SluiceError `file-unusable`
   */
  static async open(
    path: string,
    decoder: LineDecoder,
    maxLineBytes: number,
    columnOf: (name: string) => FileColumn,
  ): Promise<LineReader> {
    const windows = await FileWindows.open(path)
    try {
      const columns: FileColumn[] = []
      const reader = new LineReader(windows, decoder, maxLineBytes, columns)
      reader.#ahead = await reader.#read()
      columns.push(...firstNames(reader.#ahead).map(columnOf))
      return reader
    } catch (error) {
      await windows.close()
      throw error
    }
  }

  get size(): number {
    return this.#windows.size
  }

  get position(): number {
    return this.#windows.position
  }

  async next(): Promise<RowChunk | undefined> {
    const ahead = this.#ahead
    this.#ahead = undefined
    return ahead ?? this.#read()
  }

  async close(): Promise<void> {
    await this.#windows.close()
  }

  async #read(): Promise<RowChunk | undefined> {
    while (!this.#over) {
      const window = await this.#windows.next()
      const lines = this.#linesOf(window)
      this.#over = window.last
      if (lines.length > 0) return new LineChunk(lines, window, this.#decoder, this.#maxLineBytes)
      window.release()
    }
    return undefined
  }

  /** Where the lines of a window begin and end, two numbers each; -1 and its length for a line that is too long. */
  #linesOf({ bytes, last }: Window): number[] {
    const lines: number[] = []
    let from = this.#first && bytes.subarray(0, 3).equals(BYTE_ORDER_MARK) ? BYTE_ORDER_MARK.length : 0
    this.#first = false
    for (let to = bytes.indexOf(NEWLINE, from); to >= 0; to = bytes.indexOf(NEWLINE, from)) {
      this.#take(lines, bytes, from, to)
      from = to + 1
    }
    if (last) this.#take(lines, bytes, from, bytes.length)
    else if (this.#tooLong > 0 || bytes.length - from > this.#maxLineBytes) this.#tooLong += bytes.length - from
    else this.#windows.keep(bytes.subarray(from))
    return lines
  }

  #take(lines: number[], bytes: Buffer, from: number, to: number): void {
    const length = this.#tooLong + to - from
    this.#tooLong = 0
    if (length > this.#maxLineBytes) lines.push(-1, length)
    else if (!isBlank(bytes, from, to)) lines.push(from, to)
  }
}

function isBlank(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (!BLANKS.includes(bytes[at]!)) return false
  return true
}

function firstNames(chunk: RowChunk | undefined): string[] {
  for (let index = 0; index < (chunk?.rows ?? 0); index++) {
    const values = chunk!.values(index)
    if (typeof values === 'object' && values !== null) return Object.keys(values)
  }
  return []
}

/** Sixteen digits in a row: there may be an integer that a double cannot hold. */
const MANY_DIGITS = /\d{16}/
const INTEGER = /^-?\d+$/

/** As `JSON.parse`, but for integers beyond 2^53, which are bigints: none loses a digit. */
function parseExactly(text: string): unknown {
  if (!MANY_DIGITS.test(text)) return JSON.parse(text)
  // TypeScript does not know the third argument yet.
  const exact = (_: string, value: unknown, context?: { readonly source: string }) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && INTEGER.test(context!.source)
      ? BigInt(context!.source)
      : value
  return JSON.parse(text, exact)
}

class LineChunk implements RowChunk {
  readonly rows: number
  readonly memory: number
  readonly #lines: Float64Array
  readonly #window: Window
  readonly #decoder: LineDecoder
  readonly #maxLineBytes: number

  constructor(lines: readonly number[], window: Window, decoder: LineDecoder, maxLineBytes: number) {
    this.#lines = Float64Array.from(lines)
    this.#window = window
    this.#decoder = decoder
    this.#maxLineBytes = maxLineBytes
    this.rows = lines.length / 2
    this.memory = window.bytes.length + 2 * ROW_BYTES * this.rows
  }

  decode(index: number, row: number, inputs: readonly TensorColumn[]): RecordFault | undefined {
    const from = this.#lines[2 * index]!
    const to = this.#lines[2 * index + 1]!
    if (from >= 0) return this.#decoder.decodeLine(this.#window.bytes, from, to, row, inputs)
    return { code: 'record-too-large', message: `the line has ${to} bytes; expected at most ${this.#maxLineBytes}` }
  }

  values(index: number): FileRow {
    const from = this.#lines[2 * index]!
    if (from < 0) return null
    const text = this.#window.bytes.toString('utf8', from, this.#lines[2 * index + 1]!).trimEnd()
    try {
      const value = parseExactly(text)
      return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as FileRow) : text
    } catch {
      return text
    }
  }

  pick(index: number, names: readonly string[]): readonly unknown[] {
    const values = this.values(index) as Record<string, unknown>
    // A column may be called "constructor".
    return names.map(name => (Object.hasOwn(values, name) ? values[name] : undefined))
  }

  release(): void {
    this.#window.release()
  }
}
