import { COLUMNS, Column, type RecordBatch } from '../../src/core/record-batch.ts'
import { HeaderBuilder } from '../../src/kafka/record-headers.ts'

export const INPUT = 'features'
export const OUTPUT = 'predictions'
export const DEAD_LETTERS = 'features.dlq'

/** A record as the tests write it down. */
export interface Written {
  readonly offset: number
  readonly value?: Buffer | string
  readonly headers?: readonly (readonly [name: string, value: string])[]
}

/** A batch of records, in the order of their offsets; gaps between them are control records. */
export function batchOf(topic: string, partition: number, records: readonly Written[]): RecordBatch {
  const baseOffset = records[0]?.offset ?? 0
  const columns = new Int32Array(records.length * COLUMNS)
  const chunks: Uint8Array[] = []
  let at = 0
  const append = (bytes: Uint8Array) => {
    chunks.push(bytes)
    at += bytes.length
  }
  records.forEach(({ offset, value, headers = [] }, index) => {
    const row = index * COLUMNS
    columns[row + Column.offsetDelta] = offset - baseOffset
    columns[row + Column.keyLength] = -1
    columns[row + Column.valueStart] = at
    columns[row + Column.valueLength] = value === undefined ? -1 : Buffer.byteLength(value)
    if (value !== undefined) append(Buffer.from(value))
    columns[row + Column.headerCount] = headers.length
    columns[row + Column.headersStart] = at
    const builder = new HeaderBuilder()
    for (const [name, text] of headers) builder.add(name, text)
    append(builder.toHeaders().bytes)
    columns[row + Column.headersEnd] = at
  })
  const timestamps = new Float64Array(records.length)
  return { topic, partition, count: records.length, bytes: Buffer.concat(chunks), columns, baseOffset, timestamps }
}

/** Input records at these offsets. */
export function inputs(partition: number, offsets: readonly number[]): RecordBatch {
  const records = offsets.map(offset => ({ offset }))
  return batchOf(INPUT, partition, records)
}

/** The source that an output names, as text; undefined for an output that has none. */
export type Source = string | undefined

/** `features/<partition>/<offset>`. */
export const source = (partition: number, offset: number): string => `${INPUT}/${partition}/${offset}`

/** Outputs from `first` on, one for each source, after a header of that name that the input brought. */
export function outputs(topic: string, partition: number, first: number, sources: readonly Source[]): RecordBatch {
  const records = sources.map((named, i): Written => {
    const headers = [
      ['source', 'brought/by/the input'],
      ['model-name', 'iris'],
      ['source', named ?? ''],
    ] as const
    return { offset: first + i, headers: named === undefined ? [['sourcf', source(0, 0)]] : headers }
  })
  return batchOf(topic, partition, records)
}

/** The numbers in [from, to). */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}
