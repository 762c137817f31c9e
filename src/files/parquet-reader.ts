import { type FileHandle, open } from 'node:fs/promises'
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetRead,
  parquetSchema,
  type SchemaTree,
} from 'hyparquet'
import { messageOf, type RecordFault, SluiceError } from '../core/errors.ts'
import type { FileColumn, FileRow, RowChunk, RowReader } from '../core/files.ts'
import type { InputSpec } from '../core/model.ts'
import { packObject } from '../core/rows.ts'
import type { ElementType, TensorColumn } from '../core/tensor.ts'
import { invalid, using } from './errors.ts'
import { PARQUET_CODECS } from './parquet-codecs.ts'
import { decimalOf, decimalsOf, itemOf, PARQUET_PARSERS, readingMetadata } from './parquet-values.ts'

/** Rows of one chunk; a row group is cut into such pieces. */
const CHUNK_ROWS = 4096
/** What a decoded value takes in JavaScript, against its bytes in the file. */
const GROWTH = 3

interface ParquetOptions {
  readonly inputs: readonly InputSpec[]
  readonly allowNonFinite: boolean
}

type Columns = ReadonlyMap<string, ArrayLike<unknown>>

/** Reads a Parquet file, a row group at a time: that is what has to fit into memory. */
export class ParquetReader implements RowReader {
  readonly columns: readonly FileColumn[]
  readonly size: number
  position = 0
  readonly #path: string
  readonly #handle: FileHandle
  readonly #file: AsyncBuffer
  readonly #metadata: FileMetaData
  readonly #reading: ReturnType<typeof readingOf>
  readonly #options: ParquetOptions
  readonly #chunks: AsyncGenerator<RowChunk>

  private constructor(
    path: string,
    handle: FileHandle,
    file: AsyncBuffer,
    metadata: FileMetaData,
    options: ParquetOptions,
  ) {
    this.#path = path
    this.#handle = handle
    this.#file = file
    this.#metadata = metadata
    this.#options = options
    this.size = file.byteLength
    this.#reading = readingOf(metadata, options)
    this.columns = this.#reading.columns
    this.#chunks = this.#read()
  }

  /** @throws SluiceError `file-unusable`, `file-invalid`; `schema-misfit` when it lacks a feature */
  static async open(path: string, options: ParquetOptions): Promise<ParquetReader> {
    const handle = await using(path, 'read', () => open(path, 'r'))
    try {
      const { size } = await handle.stat()
      const file = { byteLength: size, slice: (from: number, to = size) => readSlice(handle, from, to) }
      const metadata = await parquetMetadataAsync(file)
      const reader = new ParquetReader(path, handle, file, metadata, options)
      reader.#requireFeatures()
      return reader
    } catch (error) {
      await handle.close()
      throw error instanceof SluiceError ? error : invalid(path, `is no Parquet file: ${messageOf(error)}`)
    }
  }

  async next(): Promise<RowChunk | undefined> {
    try {
      const { done, value } = await this.#chunks.next()
      return done ? undefined : value
    } catch (error) {
      throw invalid(this.#path, `cannot be read as Parquet: ${messageOf(error)}`)
    }
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => {})
  }

  async *#read(): AsyncGenerator<RowChunk> {
    let first = 0
    for (const group of this.#metadata.row_groups) {
      const rows = Number(group.num_rows)
      const columns = await this.#readGroup(first, rows)
      first += rows
      const memory = (GROWTH * Number(group.total_byte_size)) / Math.max(1, rows)
      for (let at = 0; at < rows; at += CHUNK_ROWS) {
        yield new ParquetChunk(columns, at, Math.min(CHUNK_ROWS, rows - at), memory, this.#options)
      }
      this.position += Number(group.total_compressed_size ?? group.total_byte_size)
    }
    this.position = this.size
  }

  async #readGroup(first: number, rows: number): Promise<Columns> {
    const columns = new Map<string, unknown[]>(this.columns.map(({ name }) => [name, []]))
    const { decimals } = this.#reading
    let failure: unknown
    await parquetRead({
      file: this.#file,
      metadata: this.#reading.metadata,
      compressors: PARQUET_CODECS,
      parsers: PARQUET_PARSERS,
      utf8: false,
      rowStart: first,
      rowEnd: first + rows,
      onChunk: ({ columnName, columnData, rowStart }) => {
        const data = columns.get(columnName)!
        const exactly = decimals.get(columnName)
        try {
          for (let i = 0; i < columnData.length; i++) {
            data[rowStart - first + i] = exactly === undefined ? columnData[i] : exactly(columnData[i])
          }
        } catch (error) {
          // The library would leave it to a promise that nobody handles, which ends the process.
          failure ??= new Error(`column "${columnName}": ${messageOf(error)}`)
        }
      },
    })
    if (failure !== undefined) throw failure
    return columns
  }

  #requireFeatures(): void {
    const names = new Set(this.columns.map(({ name }) => name))
    for (const { name, default: standIn } of this.#options.inputs.flatMap(({ features }) => features)) {
      const [top] = name.split('.')
      if (names.has(top!) || standIn !== undefined) continue
      throw new SluiceError('schema-misfit', `${this.#path} does not fit the model: it has no column "${top}"`)
    }
  }
}

async function readSlice(handle: FileHandle, from: number, to: number): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(to - from)
  let at = 0
  while (at < bytes.length) {
    const { bytesRead } = await handle.read(bytes, at, bytes.length - at, from + at)
    if (bytesRead === 0) throw new Error('the file ends before its own index says')
    at += bytesRead
  }
  return bytes.buffer
}

/** The columns, what the library reads them with, and what is done to decimals by the column that they are in. */
function readingOf(metadata: FileMetaData, { inputs }: ParquetOptions) {
  const features = new Set(inputs.flatMap(({ features }) => features.map(({ name }) => name.split('.')[0]!)))
  const tree = parquetSchema(metadata)
  const columns: FileColumn[] = []
  const decimals = new Map<string, (value: unknown) => unknown>()
  for (const column of tree.children) {
    const { name } = column.element
    const exactly = decimalsOf(column, features.has(name))
    if (exactly !== undefined) decimals.set(name, exactly)
    columns.push(columnOf(column, features.has(name)))
  }
  return { columns, metadata: readingMetadata(metadata, tree, name => features.has(name)), decimals }
}

/** The column of a top-level field; lists of one level are arrays. Decimals of features are numbers. */
function columnOf(column: SchemaTree, isFeature: boolean): FileColumn {
  const { name, repetition_type: repetition } = column.element
  const item = itemOf(column)
  const { element, children } = item ?? column
  if (children.length > 0) return { name, type: 'any', array: false }
  const type = isFeature && decimalOf(column) !== undefined ? 'float64' : typeOf(element)
  return { name, type, array: item !== undefined || repetition === 'REPEATED' }
}

/** As hyparquet gives the values. Dates, other decimals and the like have no type here. */
function typeOf(element: SchemaTree['element']): ElementType | 'any' {
  const { type, converted_type: converted, logical_type: logical } = element
  if (converted === 'UTF8' || converted === 'ENUM' || logical?.type === 'STRING') return 'string'
  if (logical?.type === 'FLOAT16') return 'float32'
  if (converted !== undefined) return CONVERTED[converted] ?? 'any'
  if (logical !== undefined && logical.type !== 'INTEGER') return 'any'
  return (type && PHYSICAL[type]) ?? 'any'
}

/** Unsigned numbers need the next larger type; of 64 bits there is none. */
const CONVERTED: Partial<Record<string, ElementType>> = {
  INT_8: 'int32',
  INT_16: 'int32',
  INT_32: 'int32',
  INT_64: 'int64',
  UINT_8: 'int32',
  UINT_16: 'int32',
  UINT_32: 'int64',
}

const PHYSICAL: Partial<Record<string, ElementType>> = {
  BOOLEAN: 'bool',
  INT32: 'int32',
  INT64: 'int64',
  FLOAT: 'float32',
  DOUBLE: 'float64',
  BYTE_ARRAY: 'string',
}

class ParquetChunk implements RowChunk {
  readonly rows: number
  readonly memory: number
  readonly #columns: Columns
  readonly #first: number
  readonly #options: ParquetOptions

  constructor(columns: Columns, first: number, rows: number, bytesOfRow: number, options: ParquetOptions) {
    this.#columns = columns
    this.#first = first
    this.rows = rows
    this.memory = Math.ceil(rows * bytesOfRow)
    this.#options = options
  }

  decode(index: number, row: number, inputs: readonly TensorColumn[]): RecordFault | undefined {
    return packObject(this.values(index), this.#options.inputs, inputs, row, this.#options.allowNonFinite)
  }

  values(index: number): Exclude<FileRow, string | null> {
    const values: Record<string, unknown> = {}
    for (const [name, data] of this.#columns) values[name] = data[this.#first + index] ?? null
    return values
  }

  pick(index: number, names: readonly string[]): readonly unknown[] {
    return names.map(name => this.#columns.get(name)?.[this.#first + index])
  }

  release(): void {}
}
