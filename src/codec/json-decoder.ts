import { isUtf8 } from 'node:buffer'
import type { FeatureDecoder } from '../core/codec.ts'
import { messageOf, type RecordFault } from '../core/errors.ts'
import type { LineDecoder } from '../core/files.ts'
import { COLUMNS, Column, type RecordBatch } from '../core/record-batch.ts'
import { packObject } from '../core/rows.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { checkLength, type DecoderOptions } from './decoder-options.ts'
import { compileFields } from './json-fields.ts'
import { JsonRowReader } from './json-row-reader.ts'

/**
 * Decodes JSON objects: a field a feature, dotted features in nested objects, arrays for array features. The usual
 * record is read by {@link JsonRowReader}; every other one, and every bad one, by JSON.parse and `packObject`.
 */
export class JsonDecoder implements FeatureDecoder, LineDecoder {
  readonly #options: DecoderOptions
  /** Undefined where the model has features that it does not read. */
  readonly #reader: JsonRowReader | undefined

  constructor(options: DecoderOptions) {
    this.#options = options
    const fields = compileFields(options.inputs)
    if (fields !== undefined) this.#reader = new JsonRowReader(fields)
  }

  decode(batch: RecordBatch, index: number, row: number, inputs: readonly TensorColumn[]): RecordFault | undefined {
    const start = batch.columns[index * COLUMNS + Column.valueStart]!
    const length = batch.columns[index * COLUMNS + Column.valueLength]!
    return checkLength(length, this.#options.maxRecordBytes) ?? this.#read(batch.bytes, start, length, row, inputs)
  }

  /** The same for the bytes [from, to), however many they are. */
  decodeLine(
    bytes: Buffer,
    from: number,
    to: number,
    row: number,
    inputs: readonly TensorColumn[],
  ): RecordFault | undefined {
    return this.#read(bytes, from, to - from, row, inputs)
  }

  #read(
    bytes: Buffer,
    start: number,
    length: number,
    row: number,
    inputs: readonly TensorColumn[],
  ): RecordFault | undefined {
    if (this.#reader?.read(bytes, start, start + length, row, inputs)) return undefined
    const object = parseObject(bytes.subarray(start, start + length))
    if (typeof object === 'string') return { code: 'invalid-json', message: object }
    return packObject(object, this.#options.inputs, inputs, row, this.#options.allowNonFinite)
  }

  /** Nothing is ever needed. */
  async load(): Promise<void> {}
}

/** The object, or what is wrong with the value. */
function parseObject(value: Buffer): Record<string, unknown> | string {
  // Buffer's own decoding would put U+FFFD where the bytes are no UTF-8, and the string feature would go on with it.
  if (!isUtf8(value)) return 'the value is not UTF-8; expected one JSON object'
  let parsed: unknown
  try {
    parsed = JSON.parse(value.toString('utf8'))
  } catch (error) {
    return `the value is not JSON: ${messageOf(error)}; expected one JSON object`
  }
  if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed as Record<string, unknown>
  const found = Array.isArray(parsed) ? 'an array' : parsed === null ? 'null' : `a ${typeof parsed}`
  return `the value is ${found}; expected one JSON object`
}
