import { messageOf, SluiceError } from '../core/errors.ts'
import type { FileRowEncoder, OutputColumn } from '../core/files.ts'
import type { ModelSpec } from '../core/model.ts'
import { cellText } from '../core/plain-json.ts'
import type { ElementType, TensorColumn } from '../core/tensor.ts'
import { AvroEncoder } from './avro-encoder.ts'
import { AVRO_TYPES, predictionSchema } from './prediction-schema.ts'
import { MAX_LONG_BYTES, writeInt, writeLong } from './varint.ts'
import { parseSchema } from './writer-schema.ts'

/** UTF-8 bytes that one UTF-16 unit takes at most. */
const MAX_UTF8 = 3

/** Encodes rows of an Avro file: the row's number, what is kept of the input (each null or a value), the prediction. */
export class AvroRowEncoder implements FileRowEncoder {
  readonly #predictions: AvroEncoder
  readonly #numbered: boolean
  readonly #columns: readonly OutputColumn[]

  /** @param kept the columns that are kept, in the order in which their values come */
  constructor(model: ModelSpec, numbered: boolean, kept: readonly OutputColumn[]) {
    this.#predictions = new AvroEncoder(model.outputs, undefined)
    this.#numbered = numbered
    this.#columns = kept
  }

  maxBytes(kept: readonly unknown[], row: number, outputs: readonly TensorColumn[]): number {
    let bytes = MAX_LONG_BYTES + this.#predictions.maxBytes(row, outputs)
    for (const value of kept) bytes += 1 + sizeOf(value)
    return bytes
  }

  encode(
    number: number,
    kept: readonly unknown[],
    row: number,
    outputs: readonly TensorColumn[],
    target: Buffer,
    at: number,
  ): number {
    let pos = this.#numbered ? writeLong(target, at, number | 0, Math.floor(number / 2 ** 32)) : at
    for (let i = 0; i < kept.length; i++) pos = writeNullable(this.#columns[i]!, kept[i], target, pos)
    return this.#predictions.encode(row, outputs, target, pos)
  }
}

/**
 * The Avro schema, as JSON text, of the rows that {@link AvroRowEncoder} writes.
 * @param number the field of the row's number; undefined where it is left out
 * @throws SluiceError `invalid-config` when nobody could read it: the names of the columns are no names of Avro
 */
export function fileSchema(model: ModelSpec, number: string | undefined, kept: readonly OutputColumn[]): string {
  const schema = JSON.parse(predictionSchema(model, 'predictions')) as { doc: string; fields: unknown[] }
  const numbered = number === undefined ? [] : [{ name: number, doc: 'Number of the input row, from 0.', type: 'long' }]
  const fields = [...numbered, ...kept.map(keptField), ...schema.fields]
  const text = JSON.stringify({ ...schema, doc: `Predictions of ${model.name}, version ${model.version}.`, fields })
  try {
    parseSchema(text)
  } catch (error) {
    throw new SluiceError('invalid-config', `no Avro schema has the columns of the output: ${messageOf(error)}`)
  }
  return text
}

function keptField({ name, type, array }: OutputColumn): unknown {
  const element = type === 'any' ? 'string' : AVRO_TYPES[type]
  const value = array ? { type: 'array', items: ['null', element] } : element
  return { name, doc: 'From the input.', type: ['null', value], default: null }
}

/** The most bytes of a kept value. */
function sizeOf(value: unknown): number {
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + 1 + sizeOf(item), MAX_LONG_BYTES + 1)
  // A bigint may be of any length where it becomes text.
  if (typeof value === 'object' || typeof value === 'string' || typeof value === 'bigint')
    return MAX_LONG_BYTES + MAX_UTF8 * cellText(value).length
  return MAX_UTF8 * 2 * MAX_LONG_BYTES
}

function writeNullable(column: OutputColumn, value: unknown, target: Buffer, at: number): number {
  if (value === null || value === undefined) {
    target[at] = 0
    return at + 1
  }
  target[at] = 2 // branch 1, zigzag
  if (column.array) return writeArray(column, value, target, at + 1)
  return writeElement(column.type, value, target, at + 1)
}

function writeArray(column: OutputColumn, value: unknown, target: Buffer, at: number): number {
  const items = Array.isArray(value) ? value : [value]
  let pos = items.length > 0 ? writeInt(target, at, items.length) : at
  for (const item of items) pos = writeNullable({ ...column, array: false }, item, target, pos)
  target[pos] = 0
  return pos + 1
}

/** A row that was decoded has values that fit the type of its columns; others are written as what comes nearest. */
function writeElement(type: ElementType | 'any', value: unknown, target: Buffer, at: number): number {
  switch (type) {
    case 'float16':
    case 'float32':
      return target.writeFloatLE(Number(value), at)
    case 'float64':
      return target.writeDoubleLE(Number(value), at)
    case 'int32':
      return writeInt(target, at, Number(value) | 0)
    case 'int64': {
      const long = BigInt.asIntN(64, BigInt(value as bigint | number))
      return writeLong(target, at, Number(BigInt.asIntN(32, long)), Number(long >> 32n))
    }
    case 'bool':
      target[at] = value ? 1 : 0
      return at + 1
    case 'string':
    case 'any': {
      const text = cellText(value)
      const pos = writeInt(target, at, Buffer.byteLength(text))
      return pos + target.write(text, pos)
    }
  }
}
