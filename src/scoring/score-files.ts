import { extname } from 'node:path'
import { AvroRowEncoder, fileSchema } from '../codec/avro-row-encoder.ts'
import { FileRecords } from '../codec/file-records.ts'
import { JsonDecoder } from '../codec/json-decoder.ts'
import { JsonRowEncoder } from '../codec/json-row-encoder.ts'
import type { Settings } from '../config/settings.ts'
import { SluiceError } from '../core/errors.ts'
import type { ByteSink, FileColumn, OutputColumn, PredictionWriter, RowReader } from '../core/files.ts'
import type { ModelSpec } from '../core/model.ts'
import { isScalar } from '../core/rows.ts'
import { AvroContainerReader } from '../files/avro-container-reader.ts'
import { AvroContainerWriter } from '../files/avro-container-writer.ts'
import { CsvReader } from '../files/csv-reader.ts'
import { CsvWriter } from '../files/csv-writer.ts'
import { LineReader } from '../files/line-reader.ts'
import { LineWriter } from '../files/line-writer.ts'
import { ParquetReader } from '../files/parquet-reader.ts'
import { ParquetWriter } from '../files/parquet-writer.ts'
import { featureColumns } from '../files/text-cells.ts'

export const FILE_FORMATS = ['avro', 'jsonl', 'csv', 'parquet'] as const
export type FileFormat = (typeof FILE_FORMATS)[number]

const ENDINGS: Readonly<Record<string, FileFormat>> = {
  '.avro': 'avro',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.csv': 'csv',
  '.parquet': 'parquet',
}

/**
 * The format that is named, or that the file's name ends with.
 * @throws SluiceError `invalid-config` where neither is known
 */
export function formatOf(path: string, named: string | undefined, option: string): FileFormat {
  if (named === undefined) {
    const format = ENDINGS[extname(path).toLowerCase()]
    if (format !== undefined) return format
    const endings = Object.keys(ENDINGS).join(', ')
    throw new SluiceError('invalid-config', `${path} ends with none of ${endings}: name its format with --${option}`)
  }
  const known = FILE_FORMATS.find(format => format === named)
  if (known !== undefined) return known
  throw new SluiceError('invalid-config', `--${option} is "${named}"; there are ${FILE_FORMATS.join(', ')}`)
}

type ReadingSettings = Pick<Settings, 'allowNonFinite' | 'maxRecordBytes'>

/** @throws SluiceError `file-unusable`, `file-invalid`; `schema-misfit` when the file lacks a feature of the model */
export function openReader(
  format: FileFormat,
  path: string,
  { inputs }: ModelSpec,
  { allowNonFinite, maxRecordBytes }: ReadingSettings,
): Promise<RowReader> {
  const options = { inputs, allowNonFinite, maxRecordBytes }
  switch (format) {
    case 'avro':
      return AvroContainerReader.open(path, schema => new FileRecords(schema, `the schema of ${path}`, options))
    case 'jsonl':
      return LineReader.open(path, new JsonDecoder(options), maxRecordBytes, featureColumns(inputs, 'any'))
    case 'csv':
      return CsvReader.open(path, options)
    case 'parquet':
      return ParquetReader.open(path, options)
  }
}

/** What a row of the output has. */
export interface OutputLayout {
  /** Name of the row's number; undefined where it is left out. */
  readonly number: string | undefined
  /** Input columns that are kept, by the names that they have there; the whole row where its columns are its own affair. */
  readonly sources: readonly string[] | 'whole'
  /** The same columns as they are written. */
  readonly kept: readonly OutputColumn[]
  /** How a column of a row that is kept whole is named, beside columns that are named already. */
  readonly nameOf: (column: string, used: ReadonlySet<string>) => string
}

const ROW = 'row'

/**
 * Which columns the output has.
 * @param keep names of input columns; `all`: every one
 * @throws SluiceError `invalid-config` for a column that the input does not have
 */
export function layoutOf(
  model: ModelSpec,
  formats: { readonly input: FileFormat; readonly output: FileFormat },
  columns: readonly FileColumn[],
  keep: readonly string[] | 'all',
  numbered: boolean,
): OutputLayout {
  const fields = model.outputs.map(({ field }) => field)
  const number = numbered ? unique(ROW, fields) : undefined
  const taken = [...fields, ...(number === undefined ? [] : [number])]
  const nameOf = (column: string, used: ReadonlySet<string>) => unique(column, taken, used)
  if (keep === 'all' && formats.input === 'jsonl' && formats.output === 'jsonl') {
    return { number, sources: 'whole', kept: [], nameOf }
  }
  const sources = keep === 'all' ? columns.map(({ name }) => name) : keep
  const kept: OutputColumn[] = []
  for (const source of sources) {
    const column = columnNamed(source, columns, formats.input, model)
    const name = nameOf(formats.output === 'avro' ? avroName(source) : source, new Set(kept.map(each => each.name)))
    kept.push({ ...column, name, nullable: true })
  }
  return { number, sources, kept, nameOf }
}

/** JSON names its columns row by row: of one that the first row lacks, the type is open. */
function columnNamed(
  name: string,
  columns: readonly FileColumn[],
  format: FileFormat,
  { inputs }: ModelSpec,
): FileColumn {
  const column = columns.find(each => each.name === name)
  if (column !== undefined) return column
  if (format === 'jsonl') return featureColumns(inputs, 'any')(name)
  const names = columns.map(each => each.name).join(', ')
  throw new SluiceError('invalid-config', `--keep names "${name}", which is no column of the input; it has ${names}`)
}

/** pandas leaves the name of an index empty. */
function avroName(column: string): string {
  return column.replaceAll(/[^A-Za-z0-9_]/g, '_').replace(/^(?=\d)/, '_') || '_'
}

function unique(name: string, taken: readonly string[], used?: ReadonlySet<string>): string {
  let free = name
  while (taken.includes(free) || used?.has(free)) free = `input_${free}`
  return free
}

/** Writes the output to `sink`. */
export function createWriter(
  format: FileFormat,
  sink: ByteSink,
  model: ModelSpec,
  layout: OutputLayout,
): PredictionWriter {
  const { number, sources, kept, nameOf } = layout
  const { outputs } = model
  switch (format) {
    case 'avro': {
      const encoder = new AvroRowEncoder(model, number !== undefined, kept)
      return new AvroContainerWriter(sink, fileSchema(model, number, kept), encoder)
    }
    case 'jsonl': {
      const names = sources === 'whole' ? nameOf : kept.map(({ name }) => name)
      return new LineWriter(sink, new JsonRowEncoder(outputs, { number, kept: names }))
    }
    case 'csv':
      return new CsvWriter(sink, { number, kept, outputs })
    case 'parquet':
      return new ParquetWriter(sink, { columns: columnsOf(model, layout), numbered: number !== undefined, outputs })
  }
}

function columnsOf({ outputs }: ModelSpec, { number, kept }: OutputLayout): OutputColumn[] {
  const rowNumber: OutputColumn[] =
    number === undefined ? [] : [{ name: number, type: 'int64', array: false, nullable: false }]
  const predicted = outputs.map(output => {
    return { name: output.field, type: output.type, array: !isScalar(output), nullable: false }
  })
  return [...rowNumber, ...kept, ...predicted]
}
