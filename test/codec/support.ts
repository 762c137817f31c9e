import avro from 'avsc'
import type { DecoderOptions } from '../../src/codec/decoder-options.ts'
import { createFeatureDecoder } from '../../src/codec/feature-decoder.ts'
import type { SchemaSource } from '../../src/codec/schema-source.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { FeatureDecoder, SchemaNeeded } from '../../src/core/codec.ts'
import type { RecordFault } from '../../src/core/errors.ts'
import type { FeatureSpec, InputSpec } from '../../src/core/model.ts'
import { COLUMNS, Column, type RecordBatch } from '../../src/core/record-batch.ts'
import { byteLength, type ElementType, type RowSpec, type TensorColumn, viewOf } from '../../src/core/tensor.ts'

/** A scalar feature, or an array feature where `length` is given. */
export function feature(
  name: string,
  rest: { length?: number; default?: number | string | boolean } = {},
): FeatureSpec {
  return { name, length: 1, array: rest.length !== undefined, ...rest }
}

/** An input tensor that its features fill. */
export function input(type: ElementType, ...features: FeatureSpec[]): InputSpec {
  const width = features.reduce((sum, { length }) => sum + length, 0)
  return { tensor: `${type}_input`, type, rowShape: [width], width, features }
}

/** Columns in shared memory, as the slots have them. */
export function columnsFor(specs: readonly RowSpec[], capacity = 2): TensorColumn[] {
  return specs.map(spec => {
    const elements = capacity * spec.width
    return { spec, data: viewOf(spec.type, new SharedArrayBuffer(byteLength(spec.type, elements)), elements) }
  })
}

/** The elements of one row, by input. */
export function rowsOf(columns: readonly TensorColumn[], row: number): unknown[][] {
  return columns.map(({ spec, data }) => [...data.slice(row * spec.width, (row + 1) * spec.width)])
}

/** A batch of these values, between bytes that would change any number that is read across a border. */
export function batchOf(...values: readonly (Uint8Array | null)[]): RecordBatch {
  const columns = new Int32Array(values.length * COLUMNS)
  const parts: Uint8Array[] = [Buffer.alloc(3, 0x7f)]
  let at = 3
  for (const [i, value] of values.entries()) {
    columns[i * COLUMNS + Column.valueStart] = at
    columns[i * COLUMNS + Column.valueLength] = value?.length ?? -1
    parts.push(value ?? Buffer.alloc(0), Buffer.alloc(16, 0x01))
    at += (value?.length ?? 0) + 16
  }
  const timestamps = new Float64Array(values.length)
  return {
    topic: 't',
    partition: 0,
    count: values.length,
    bytes: Buffer.concat(parts),
    columns,
    baseOffset: 0,
    timestamps,
  }
}

export const LIMITS = { allowNonFinite: false, maxRecordBytes: 1_000_000 }

/** A decoder of bare Avro that was written with `schema`. */
export function rawDecoder(schema: unknown, inputs: readonly InputSpec[], limits: Partial<DecoderOptions> = {}) {
  const writerSchema = JSON.stringify(schema)
  return createFeatureDecoder({ ...LIMITS, inputs, ...limits, format: 'avro-raw', writerSchema })
}

/** A decoder of framed Avro whose schemas come from `find`. */
export function framedDecoder(inputs: readonly InputSpec[], find: SchemaSource['find'], clock = systemClock) {
  const schemas = { find, register: () => Promise.reject(new Error('nothing registers here')) }
  return createFeatureDecoder({ ...LIMITS, inputs, format: 'avro', schemas, clock })
}

/** Decodes one value into row 1 of fresh columns. */
export function decodeOne(decoder: FeatureDecoder, inputs: readonly InputSpec[], value: Uint8Array | null) {
  const columns = columnsFor(inputs)
  const result: RecordFault | SchemaNeeded | undefined = decoder.decode(batchOf(value), 0, 1, columns)
  return { result, rows: rowsOf(columns, 1) }
}

/** What avsc, the reference, writes. Unions are wrapped: `{ float: 1 }`. */
export function encode(schema: unknown, value: unknown): Buffer {
  return avro.Type.forSchema(schema as avro.Schema, { wrapUnions: 'always' }).toBuffer(value)
}

/** Runs of random tests are repeatable: the seed is printed, and FC_SEED sets it. */
export function seeded(numRuns: number): { seed: number; numRuns: number } {
  const seed = Number(process.env.FC_SEED ?? Math.floor(Math.random() * 2 ** 31))
  console.log(`FC_SEED=${seed}`)
  return { seed, numRuns }
}
