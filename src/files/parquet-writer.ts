import type { ParquetType, SchemaElement } from 'hyparquet'
import { ByteWriter, ParquetWriter as Library } from 'hyparquet-writer'
import type { ByteSink, OutputColumn, PredictionWriter } from '../core/files.ts'
import type { OutputSpec } from '../core/model.ts'
import { cellText } from '../core/plain-json.ts'
import { unpackRow } from '../core/rows.ts'
import type { ElementType, TensorColumn } from '../core/tensor.ts'

/** A row group ends with so many rows, values, or characters of text: it is in memory until it is whole. */
const GROUP_ROWS = 100_000
const GROUP_VALUES = 2_000_000
const GROUP_TEXT = 64 << 20

interface ParquetLayout {
  /** The row's number first, where it is not left out; what is kept; the fields of the prediction. */
  readonly columns: readonly OutputColumn[]
  readonly numbered: boolean
  readonly outputs: readonly OutputSpec[]
}

/** Writes Parquet, snappy-compressed, in row groups of up to 100,000 rows. Arrays are lists. */
export class ParquetWriter implements PredictionWriter {
  readonly #layout: ParquetLayout
  readonly #sink: ByteSink
  readonly #bytes = new ByteWriter()
  readonly #library: Library
  #data: unknown[][]
  #values = 0
  #text = 0

  constructor(sink: ByteSink, layout: ParquetLayout) {
    this.#layout = layout
    this.#sink = sink
    this.#data = layout.columns.map(() => [])
    const schema = [{ name: 'root', num_children: layout.columns.length }, ...layout.columns.flatMap(elementsOf)]
    this.#library = new Library({ writer: this.#bytes, schema, createdBy: 'sluice' })
  }

  get pending(): number {
    // A row group is no back pressure: it has its own bound.
    return this.#sink.pending
  }

  write(number: number, kept: readonly unknown[], row: number, outputs: readonly TensorColumn[]): void {
    const { columns, numbered, outputs: specs } = this.#layout
    const predicted = Object.values(unpackRow(specs, outputs, row))
    const values = [...(numbered ? [number] : []), ...kept, ...predicted]
    for (let i = 0; i < values.length; i++) {
      const value = stored(columns[i]!, values[i])
      this.#data[i]!.push(value)
      this.#values += Array.isArray(value) ? value.length : 1
      this.#text += textOf(value)
    }
    const rows = this.#data[0]!.length
    if (rows >= GROUP_ROWS || this.#values >= GROUP_VALUES || this.#text >= GROUP_TEXT) this.#group()
  }

  flush(): Promise<void> {
    return this.#sink.flush()
  }

  async finish(): Promise<void> {
    this.#group()
    this.#library.finish()
    this.#give()
    await this.flush()
  }

  #group(): void {
    const rows = this.#data[0]!.length
    if (rows === 0) return
    const columnData = this.#layout.columns.map(({ name }, i) => ({ name, data: this.#data[i]! as number[] }))
    this.#library.write({ columnData, rowGroupSize: rows })
    this.#give()
    this.#data = this.#data.map(() => [])
    this.#values = 0
    this.#text = 0
  }

  #give(): void {
    this.#sink.append(this.#bytes.getBytes().slice())
    this.#bytes.index = 0
  }
}

interface Physical {
  readonly type: ParquetType
  readonly converted_type?: 'UTF8'
}

const TYPES: Record<ElementType | 'any', Physical> = {
  float16: { type: 'FLOAT' },
  float32: { type: 'FLOAT' },
  float64: { type: 'DOUBLE' },
  int64: { type: 'INT64' },
  int32: { type: 'INT32' },
  bool: { type: 'BOOLEAN' },
  string: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
  any: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
}

function elementsOf({ name, type, array, nullable }: OutputColumn): SchemaElement[] {
  const repetition = nullable ? 'OPTIONAL' : 'REQUIRED'
  if (!array) return [{ name, repetition_type: repetition, ...TYPES[type] }]
  return [
    { name, repetition_type: repetition, converted_type: 'LIST', num_children: 1 },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', repetition_type: repetition, ...TYPES[type] },
  ]
}

/** Characters of a value. */
function textOf(value: unknown): number {
  if (typeof value === 'string') return value.length
  return Array.isArray(value) ? value.reduce<number>((sum, item) => sum + textOf(item), 0) : 0
}

/** A value as the library takes it for a column. */
function stored(column: OutputColumn, value: unknown): unknown {
  if (value === null || value === undefined) return null
  if (column.array) {
    const items = Array.isArray(value) ? value : [value]
    return items.map(item => storedElement(column.type, item))
  }
  return storedElement(column.type, value)
}

function storedElement(type: ElementType | 'any', value: unknown): unknown {
  if (value === null || value === undefined) return null
  switch (type) {
    case 'int64':
      return BigInt(value as number | bigint)
    case 'string':
    case 'any':
      return cellText(value)
    case 'bool':
      return Boolean(value)
    default:
      return Number(value)
  }
}
