import type { Type } from 'avsc'
import { messageOf, type RecordFault, SluiceError } from '../core/errors.ts'
import type { FileColumn, FileRow, RecordDecoder } from '../core/files.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { Cursor } from './cursor.ts'
import type { DecoderOptions } from './decoder-options.ts'
import { compilePlan } from './feature-plan.ts'
import { columnOf, PlainCompiler, type PlainReader } from './plain-reader.ts'
import { type Skip, SkipCompiler } from './skip.ts'
import { isReader, type Reader } from './union-reader.ts'
import { nameOfType, nodeOf, parseSchema } from './writer-schema.ts'

type Fields = readonly { readonly name: string; readonly type: Type }[]

/** Decodes the records of an Avro container file: all of one schema, one behind the other. */
export class FileRecords implements RecordDecoder {
  readonly columns: readonly FileColumn[]
  end = -1
  readonly #fields: Fields
  readonly #read: Reader
  readonly #skip: Skip
  readonly #cursor = new Cursor()
  /** By the array of names that was asked for. */
  readonly #picks = new WeakMap<readonly string[], PlainReader>()
  #plain: PlainReader | undefined

  /**
   * @param label names the schema in messages
   * @throws SluiceError `file-invalid` when the schema is no Avro record; `schema-misfit` when it lacks a feature
   */
  constructor(schema: string, label: string, options: Omit<DecoderOptions, 'maxRecordBytes'>) {
    const type = parse(schema, label)
    const node = nodeOf(type)
    if (node.kind !== 'record') {
      throw new SluiceError('file-invalid', `${label} is ${nameOfType(type)}; expected a record`)
    }
    const reader = compilePlan(node.fields, options.inputs, options.allowNonFinite)
    if (!isReader(reader)) throw new SluiceError('schema-misfit', `${label} does not fit the model: ${reader.message}`)
    this.#fields = node.fields
    this.#read = reader
    this.#skip = new SkipCompiler().compile(type)
    this.columns = node.fields.map(columnOf)
  }

  decode(
    bytes: Buffer,
    from: number,
    to: number,
    row: number,
    inputs: readonly TensorColumn[],
  ): RecordFault | undefined {
    const cursor = this.#cursor
    cursor.open(bytes, from, to, inputs)
    if (this.#read(cursor, row)) {
      this.end = cursor.pos
      return undefined
    }
    const fault = cursor.fault()
    cursor.open(bytes, from, to, inputs)
    const passed = this.#skip(cursor)
    this.end = passed ? cursor.pos : -1
    if (!passed) cursor.fault()
    return fault
  }

  values(bytes: Buffer, from: number, to: number): FileRow {
    this.#plain ??= this.#compile(this.#fields.map(({ name }) => name))
    return this.#readPlain(this.#plain, bytes, from, to) ?? null
  }

  pick(bytes: Buffer, from: number, to: number, names: readonly string[]): readonly unknown[] {
    let reader = this.#picks.get(names)
    if (reader === undefined) {
      reader = this.#compile(names)
      this.#picks.set(names, reader)
    }
    const values = this.#readPlain(reader, bytes, from, to)
    return names.map(name => values?.[name])
  }

  #compile(names: readonly string[]): PlainReader {
    return new PlainCompiler().record(this.#fields, new Set(names))
  }

  #readPlain(reader: PlainReader, bytes: Buffer, from: number, to: number): Record<string, unknown> | undefined {
    const cursor = this.#cursor
    cursor.open(bytes, from, to, cursor.columns)
    const values = reader(cursor)
    if (values === undefined) cursor.fault()
    return values as Record<string, unknown> | undefined
  }
}

function parse(schema: string, label: string): Type {
  try {
    return parseSchema(schema)
  } catch (error) {
    throw new SluiceError('file-invalid', `${label} cannot be used: ${messageOf(error)}`)
  }
}
