import { isUtf8 } from 'node:buffer'
import { createReadStream, type ReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { CsvError, type Parser, parse } from 'csv-parse'
import { type RecordFault, SluiceError } from '../core/errors.ts'
import type { FileColumn, FileRow, RowChunk, RowReader } from '../core/files.ts'
import type { InputSpec } from '../core/model.ts'
import { packObject } from '../core/rows.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { invalid, using } from './errors.ts'
import { type FeatureCells, featureColumns, findFeature, parseArray, parseCell } from './text-cells.ts'

/** Of one chunk. */
const MOST_ROWS = 4096
const MOST_BYTES = 1 << 20
/** What a cell takes as a string of its own, beside its characters. */
const CELL_BYTES = 24

interface CsvOptions {
  readonly inputs: readonly InputSpec[]
  readonly allowNonFinite: boolean
  /** A longer row ends the reading: most often a quote that nobody closed. */
  readonly maxRecordBytes: number
}

/** Reads a CSV file with a header row (RFC 4180; empty lines are no rows, unless there is one column: an empty cell is one). */
export class CsvReader implements RowReader {
  readonly columns: readonly FileColumn[]
  readonly size: number
  readonly #path: string
  readonly #file: ReadStream
  readonly #parser: Parser
  readonly #table: Table

  private constructor(path: string, size: number, file: ReadStream, parser: Parser, table: Table) {
    this.#path = path
    this.size = size
    this.#file = file
    this.#parser = parser
    this.#table = table
    this.columns = table.columns
  }

  /** @throws SluiceError `file-unusable`; `file-invalid` without a header; `schema-misfit` when it lacks a feature */
  static async open(path: string, options: CsvOptions): Promise<CsvReader> {
    const { size } = await using(path, 'read', () => stat(path))
    let { file, parser } = start(path, options, true)
    let header = await readRecord(path, parser)
    if (header === undefined) throw invalid(path, 'is empty: a CSV file begins with a row of column names')
    if (header.length === 1) {
      // Of one column, an empty line is an empty cell.
      file.destroy()
      parser.destroy()
      ;({ file, parser } = start(path, options, false))
      // Empty lines before the header are none.
      const [name] = header
      do header = (await readRecord(path, parser))!
      while (header[0] !== name)
    }
    try {
      return new CsvReader(path, size, file, parser, new Table(path, header, options))
    } catch (error) {
      file.destroy()
      throw error
    }
  }

  get position(): number {
    return this.#file.bytesRead
  }

  async next(): Promise<RowChunk | undefined> {
    const first = await readRecord(this.#path, this.#parser)
    if (first === undefined) return undefined
    const rows = [first]
    let memory = memoryOf(first)
    while (rows.length < MOST_ROWS && memory < MOST_BYTES) {
      const cells = this.#parser.read() as string[] | null
      if (cells === null) break
      rows.push(cells)
      memory += memoryOf(cells)
    }
    return new CsvChunk(rows, memory, this.#table)
  }

  async close(): Promise<void> {
    this.#file.destroy()
    this.#parser.destroy()
  }
}

function start(path: string, { maxRecordBytes }: CsvOptions, skipEmptyLines: boolean) {
  const file = createReadStream(path)
  const parser = parse({
    bom: true,
    relax_column_count: true,
    record_delimiter: ['\r\n', '\n'],
    skip_empty_lines: skipEmptyLines,
    max_record_size: maxRecordBytes,
  })
  pipeline(
    file,
    source => checked(path, source),
    parser,
    () => {},
  )
  return { file, parser }
}

/** The bytes as they are; those that are not UTF-8 would become other text without a word. */
async function* checked(path: string, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let left: Buffer = NOTHING
  for await (const chunk of source) {
    const bytes = left.length === 0 ? chunk : Buffer.concat([left, chunk])
    const end = wholeCharacters(bytes)
    const whole = bytes.subarray(0, end)
    if (!isUtf8(whole)) throw notUtf8(path)
    left = bytes.subarray(end)
    if (whole.length > 0) yield whole
  }
  if (left.length > 0) throw notUtf8(path)
}

/** Where a character begins whose end is not there yet; the length otherwise. */
function wholeCharacters(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!
    if (byte < 0x80) break
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
      return length > back ? bytes.length - back : bytes.length
    }
  }
  return bytes.length
}

function notUtf8(path: string): SluiceError {
  return invalid(path, 'is not UTF-8: save it in this encoding')
}

const NOTHING = Buffer.alloc(0)

/** The next record, once it is there; undefined after the last. */
async function readRecord(path: string, parser: Parser): Promise<string[] | undefined> {
  for (;;) {
    if (parser.errored) throw problem(path, parser.errored)
    const cells = parser.read() as string[] | null
    if (cells !== null) return cells
    if (parser.readableEnded) return undefined
    await new Promise<void>(resolve => {
      const done = () => {
        for (const event of EVENTS) parser.off(event, done)
        resolve()
      }
      for (const event of EVENTS) parser.on(event, done)
    })
  }
}

const EVENTS = ['readable', 'end', 'error', 'close'] as const

function problem(path: string, error: Error): SluiceError {
  if (error instanceof SluiceError) return error
  if (error instanceof CsvError) return invalid(path, `is no valid CSV: ${error.message}`)
  return new SluiceError('file-unusable', `${path} cannot be read: ${error.message}`, { cause: error })
}

function memoryOf(cells: readonly string[]): number {
  let bytes = 0
  for (const cell of cells) bytes += CELL_BYTES + cell.length
  return bytes
}

const LONE_CR = /\r(?!\n)/
const CR_IN_HEADER = 'has a carriage return (CR) in its header: save it with lines that end in LF or CRLF'

/** The columns of a file, and where the features are. */
class Table {
  readonly header: readonly string[]
  readonly columns: readonly FileColumn[]
  readonly inputs: readonly InputSpec[]
  readonly allowNonFinite: boolean
  readonly features: readonly FeatureCells[]

  constructor(path: string, header: readonly string[], { inputs, allowNonFinite }: CsvOptions) {
    // One before a line feed may be meant, in quotes. Without any line feed, the whole file would be a header without rows.
    if (header.some(name => LONE_CR.test(name))) throw invalid(path, CR_IN_HEADER)
    const repeated = header.find((name, i) => header.indexOf(name) !== i)
    if (repeated !== undefined) throw invalid(path, `has two columns "${repeated}"`)
    this.header = header
    this.inputs = inputs
    this.allowNonFinite = allowNonFinite
    this.columns = header.map(featureColumns(inputs, 'string'))
    this.features = inputs.flatMap(({ type, features }) =>
      features.flatMap(feature => {
        const found = findFeature(feature, type, header)
        if (typeof found === 'string')
          throw new SluiceError('schema-misfit', `${path} does not fit the model: ${found}`)
        return found ?? []
      }),
    )
  }
}

class CsvChunk implements RowChunk {
  readonly rows: number
  readonly memory: number
  readonly #rows: readonly string[][]
  readonly #table: Table

  constructor(rows: readonly string[][], memory: number, table: Table) {
    this.rows = rows.length
    this.memory = memory
    this.#rows = rows
    this.#table = table
  }

  decode(index: number, row: number, inputs: readonly TensorColumn[]): RecordFault | undefined {
    const cells = this.#rows[index]!
    const { header, features, inputs: specs, allowNonFinite } = this.#table
    if (cells.length !== header.length) {
      return { code: 'invalid-csv', message: `the row has ${cells.length} cells; the header has ${header.length}` }
    }
    const values: Record<string, unknown> = {}
    for (const take of features) take(cells, values)
    return packObject(values, specs, inputs, row, allowNonFinite)
  }

  values(index: number): FileRow {
    const cells = this.#rows[index]!
    const { header } = this.#table
    if (cells.length !== header.length) return cells.join(',')
    return Object.fromEntries(header.map((name, i) => [name, cells[i]!]))
  }

  pick(index: number, names: readonly string[]): readonly unknown[] {
    const { header, columns } = this.#table
    return names.map(name => {
      const at = header.indexOf(name)
      const column = columns[at]!
      const cell = this.#rows[index]![at]!
      return column.array ? parseArray(cell) : parseCell(cell, column.type === 'any' ? 'string' : column.type)
    })
  }

  release(): void {}
}
