import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { TestContext } from 'node:test'
import avro from 'avsc'
import { parse } from 'csv-parse/sync'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { parquetWriteFile } from 'hyparquet-writer'
import { loadSettings } from '../../src/config/load.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { formatOf } from '../../src/scoring/score-files.ts'
import { type ScoreProgress, type ScoreSummary, scoreFile } from '../../src/scoring/scoring.ts'
import { MODEL_STORE } from '../support/models.ts'

export type Row = Record<string, unknown>

/** A folder that goes with the test. */
export function temporaryFolder(t: Pick<TestContext, 'after'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-score-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

interface ScoreRequest {
  readonly input: string
  readonly output: string
  /** `<output>.dead-letters.jsonl` if not given. */
  readonly deadLetters?: string
  readonly model: string
  readonly keep?: readonly string[] | 'all'
  readonly rowNumbers?: boolean
  readonly maxDeadLetters?: number
  readonly force?: boolean
  readonly store?: string
  readonly options?: Readonly<Record<string, string>>
  readonly onProgress?: (progress: ScoreProgress) => void
  readonly signal?: AbortSignal
}

/** Scores a file in this process; formats are those of the names. */
export function score(request: ScoreRequest): Promise<ScoreSummary> {
  const { input, output, model, keep = [], store = MODEL_STORE } = request
  const { settings } = loadSettings({
    options: { modelStore: store, modelName: model, ...request.options },
    env: {},
    required: ['modelName'],
  })
  const plan = {
    input,
    output,
    keep,
    deadLetters: request.deadLetters ?? deadLetterFile(output),
    inputFormat: formatOf(input, undefined, ''),
    outputFormat: formatOf(output, undefined, ''),
    rowNumbers: request.rowNumbers ?? true,
    maxDeadLetters: request.maxDeadLetters ?? Number.POSITIVE_INFINITY,
    force: request.force ?? false,
  }
  return scoreFile(plan, settings, {
    log: silentLog,
    clock: systemClock,
    signal: request.signal ?? new AbortController().signal,
    onProgress: request.onProgress ?? (() => {}),
    onCondition: () => {},
  })
}

export function deadLetterFile(output: string): string {
  return `${output}.dead-letters.jsonl`
}

/** The rows of a file, as libraries read them that are not Sluice's own; longs are numbers, CSV is text. */
export async function readRows(file: string): Promise<Row[]> {
  switch (formatOf(file, undefined, '')) {
    case 'avro':
      return readAvro(file)
    case 'jsonl':
      return readLines(file)
    case 'csv':
      return parse(readFileSync(file), { columns: true }) as Row[]
    case 'parquet': {
      const rows = await parquetReadObjects({ file: await asyncBufferFromFile(file) })
      return rows.map(row => withoutBigints(row) as Row)
    }
  }
}

export function readLines(file: string): Row[] {
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.filter(line => line !== '').map(line => JSON.parse(line) as Row)
}

async function readAvro(file: string): Promise<Row[]> {
  const rows: Row[] = []
  for await (const row of avro.createFileDecoder(file)) rows.push({ ...(row as Row) })
  return rows
}

function withoutBigints(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(withoutBigints)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, withoutBigints(part)]))
}

/** How avsc is to write a container file. */
interface AvroOptions {
  readonly codec?: string
  readonly codecs?: Readonly<Record<string, avro.Codec>>
  readonly blockSize?: number
}

/** Writes rows as an Avro container file, with avsc. */
export async function writeAvro(
  file: string,
  schema: object,
  rows: Iterable<Row>,
  options: AvroOptions = {},
): Promise<void> {
  const type = avro.Type.forSchema(schema as avro.Schema)
  const encoder = new avro.streams.BlockEncoder(type, options as never)
  await pipeline(Readable.from(rows), encoder, createWriteStream(file))
}

export function writeLines(file: string, rows: Iterable<Row | string>): void {
  const text = [...rows].map(row => `${typeof row === 'string' ? row : JSON.stringify(row)}\n`)
  writeFileSync(file, text.join(''))
}

/** Writes rows as CSV as pandas would: arrays as JSON text, nothing for null. */
export function writeCsv(file: string, rows: readonly Row[]): void {
  const cell = (value: unknown) => {
    if (value === null || value === undefined) return ''
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  const names = Object.keys(rows[0]!)
  const lines = [names.join(','), ...rows.map(row => names.map(name => cell(row[name])).join(','))]
  writeFileSync(file, `${lines.join('\n')}\n`)
}

type ParquetColumn = Parameters<typeof parquetWriteFile>[0]['columnData'][number]

/** Writes rows as Parquet, in row groups of `rowGroupSize`. */
export function writeParquet(
  file: string,
  rows: readonly Row[],
  types: Readonly<Record<string, ParquetColumn['type']>>,
  rowGroupSize = 50,
): void {
  const columnData = Object.entries(types).map(([name, type]) => {
    const data = rows.map(row => (type === 'INT64' ? BigInt(row[name] as number) : row[name]))
    return { name, data, type } as ParquetColumn
  })
  parquetWriteFile({ filename: file, columnData, rowGroupSize })
}
