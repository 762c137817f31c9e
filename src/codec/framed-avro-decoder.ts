import type { Clock } from '../core/clock.ts'
import type { FeatureDecoder, SchemaNeeded } from '../core/codec.ts'
import { type RecordFault, SluiceError } from '../core/errors.ts'
import { COLUMNS, Column, type RecordBatch } from '../core/record-batch.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { compileSchema, decodeValue } from './avro-value.ts'
import { Cursor } from './cursor.ts'
import { checkLength, type DecoderOptions } from './decoder-options.ts'
import type { SchemaSource } from './schema-source.ts'
import { isReader, type Reader } from './union-reader.ts'
import { UnknownIds } from './unknown-ids.ts'

/** Bytes before the Avro value: 0x00 and the schema id (Confluent, "Wire format"). */
export const FRAME_BYTES = 5

/** How long an unknown id stays unknown before the source is asked again. */
const REMEMBER_UNKNOWN_MS = 30_000

/** Decodes Confluent-framed Avro. Each schema id is compiled once, when `load` first finds it. */
export class FramedAvroDecoder implements FeatureDecoder {
  readonly #options: DecoderOptions
  readonly #schemas: SchemaSource
  readonly #clock: Clock
  readonly #cursor = new Cursor()
  readonly #readers = new Map<number, Reader | RecordFault>()
  readonly #unknown = new UnknownIds(REMEMBER_UNKNOWN_MS)
  /** Neighbouring records mostly have the same schema. */
  #lastId = -1
  #lastReader: Reader | undefined

  constructor(options: DecoderOptions, schemas: SchemaSource, clock: Clock) {
    this.#options = options
    this.#schemas = schemas
    this.#clock = clock
  }

  decode(
    batch: RecordBatch,
    index: number,
    row: number,
    inputs: readonly TensorColumn[],
  ): RecordFault | SchemaNeeded | undefined {
    const start = batch.columns[index * COLUMNS + Column.valueStart]!
    const length = batch.columns[index * COLUMNS + Column.valueLength]!
    const fault = checkLength(length, this.#options.maxRecordBytes) ?? checkFrame(batch.bytes, start, length)
    if (fault !== undefined) return fault
    const id = batch.bytes.readInt32BE(start + 1)
    if (id !== this.#lastId || this.#lastReader === undefined) {
      const reader = this.#readers.get(id)
      if (reader === undefined) return this.#unknownSchema(id)
      if (!isReader(reader)) return reader
      this.#lastId = id
      this.#lastReader = reader
    }
    const from = start + FRAME_BYTES
    return decodeValue(this.#lastReader, this.#cursor, batch.bytes, from, start + length, row, inputs)
  }

  async load(schemaId: number): Promise<void> {
    if (this.#readers.has(schemaId)) return
    try {
      const text = await this.#schemas.find(schemaId)
      if (text === undefined) this.#unknown.add(schemaId, this.#clock.now())
      else this.#readers.set(schemaId, compileSchema(text, `schema ${schemaId}`, this.#options))
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'unusable-schema') throw error
      this.#readers.set(schemaId, { code: error.code, message: error.message })
    }
  }

  /** Ids are positive; what is not is known to be unknown without asking. */
  #unknownSchema(id: number): RecordFault | SchemaNeeded {
    if (id > 0 && !this.#unknown.has(id, this.#clock.now())) return { schemaId: id }
    return { code: 'unknown-schema-id', message: `no schema has the id ${id}` }
  }
}

function checkFrame(bytes: Buffer, start: number, length: number): RecordFault | undefined {
  if (length >= FRAME_BYTES && bytes[start] === 0) return undefined
  if (length > 0 && bytes[start] !== 0) {
    const found = bytes[start]!.toString(16).padStart(2, '0')
    return {
      code: 'wrong-magic-byte',
      message: `the value begins with 0x${found}; expected 0x00 and a schema id (Confluent framing)`,
    }
  }
  return {
    code: 'truncated-message',
    message: `the value has ${length} bytes; expected at least ${FRAME_BYTES}: 0x00 and a schema id (Confluent framing)`,
  }
}
