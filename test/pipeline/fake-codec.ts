import type { FeatureDecoder, PredictionEncoder, SchemaNeeded } from '../../src/core/codec.ts'
import type { RecordFault } from '../../src/core/errors.ts'
import { COLUMNS, Column, type FetchedRecords, type RecordBatch, valueBytes } from '../../src/core/record-batch.ts'
import type { TensorColumn } from '../../src/core/tensor.ts'

/** What a record of these tests holds: its offset as the feature, garbage, or something only schema `needs` can read. */
export type TestValue = 'good' | 'garbage' | { readonly needs: number }

/** A batch with records at `offsets`, a timestamp each of ten times the offset. */
export function batchOf(
  offsets: readonly number[],
  valueAt: (offset: number) => TestValue = () => 'good',
  partition = 0,
): RecordBatch {
  const base = offsets[0]!
  const values = offsets.map(offset => Buffer.from(textOf(offset, valueAt(offset))))
  const columns = new Int32Array(offsets.length * COLUMNS)
  let at = 0
  offsets.forEach((offset, i) => {
    columns[i * COLUMNS + Column.offsetDelta] = offset - base
    columns[i * COLUMNS + Column.keyLength] = -1
    columns[i * COLUMNS + Column.valueStart] = at
    columns[i * COLUMNS + Column.valueLength] = values[i]!.length
    at += values[i]!.length
  })
  return {
    topic: 'features',
    partition,
    count: offsets.length,
    bytes: Buffer.concat(values),
    columns,
    baseOffset: base,
    timestamps: Float64Array.from(offsets, offset => offset * 10),
  }
}

/** A fetch of one batch that ends right behind its last record, or at `nextOffset`. */
export function fetched(batches: readonly RecordBatch[], nextOffset: number): FetchedRecords {
  return { batches, nextOffset, endOffset: nextOffset }
}

/** Offsets [from, to). */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}

function textOf(offset: number, value: TestValue): string {
  if (value === 'good') return String(offset)
  return value === 'garbage' ? 'garbage' : `${offset} needs ${value.needs}`
}

/** Reads what `batchOf` wrote. `load` does what the test says. */
export class FakeDecoder implements FeatureDecoder {
  readonly loaded = new Set<number>()
  /** Answers `load`; the schema is there once it resolves. */
  find: (schemaId: number) => Promise<void> = async () => {}

  decode(
    batch: RecordBatch,
    index: number,
    row: number,
    inputs: readonly TensorColumn[],
  ): RecordFault | SchemaNeeded | undefined {
    const [offset, , schema] = valueBytes(batch, index)!.toString().split(' ')
    if (offset === 'garbage') return { code: 'invalid-avro', message: 'garbage' }
    const schemaId = Number(schema)
    if (schema !== undefined && !this.loaded.has(schemaId)) return { schemaId }
    ;(inputs[0]!.data as Float64Array)[row] = Number(offset)
    return undefined
  }

  async load(schemaId: number): Promise<void> {
    await this.find(schemaId)
    this.loaded.add(schemaId)
  }
}

/** Writes the output as text. */
export const textEncoder: PredictionEncoder = {
  maxBytes: () => 24,
  encode(row, outputs, target, at) {
    return at + target.write(String((outputs[0]!.data as Float64Array)[row]), at)
  },
}
