import type { FeatureDecoder } from '../core/codec.ts'
import { type RecordFault, SluiceError } from '../core/errors.ts'
import { COLUMNS, Column, type RecordBatch } from '../core/record-batch.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { compileSchema, decodeValue } from './avro-value.ts'
import { Cursor } from './cursor.ts'
import { checkLength, type DecoderOptions } from './decoder-options.ts'
import { isReader, type Reader } from './union-reader.ts'

/** Decodes bare Avro that was written with one schema. */
export class RawAvroDecoder implements FeatureDecoder {
  readonly #maxRecordBytes: number
  readonly #reader: Reader | RecordFault
  readonly #cursor = new Cursor()

  /** @throws SluiceError `invalid-config` when `writerSchema` is no Avro record schema. */
  constructor(options: DecoderOptions, writerSchema: string) {
    this.#maxRecordBytes = options.maxRecordBytes
    this.#reader = compileSchema(writerSchema, 'the writer schema of the input', options)
    if (!isReader(this.#reader) && this.#reader.code === 'unusable-schema') {
      throw new SluiceError('invalid-config', this.#reader.message)
    }
  }

  decode(batch: RecordBatch, index: number, row: number, inputs: readonly TensorColumn[]): RecordFault | undefined {
    const start = batch.columns[index * COLUMNS + Column.valueStart]!
    const length = batch.columns[index * COLUMNS + Column.valueLength]!
    const fault = checkLength(length, this.#maxRecordBytes)
    if (fault !== undefined) return fault
    if (!isReader(this.#reader)) return this.#reader
    return decodeValue(this.#reader, this.#cursor, batch.bytes, start, start + length, row, inputs)
  }

  /** Nothing is ever needed. */
  async load(): Promise<void> {}
}
