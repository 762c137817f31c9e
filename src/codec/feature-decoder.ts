import { readFile } from 'node:fs/promises'
import type { Clock } from '../core/clock.ts'
import type { FeatureDecoder } from '../core/codec.ts'
import { messageOf, type RecordFault, SluiceError } from '../core/errors.ts'
import { compileSchema } from './avro-value.ts'
import type { DecoderOptions } from './decoder-options.ts'
import { FramedAvroDecoder } from './framed-avro-decoder.ts'
import { JsonDecoder } from './json-decoder.ts'
import { RawAvroDecoder } from './raw-avro-decoder.ts'
import type { SchemaSource } from './schema-source.ts'
import { isReader } from './union-reader.ts'

/** How the values of input records are written, and what is needed to read them. */
export type InputFormat =
  /** Confluent framing: 0x00, a big-endian 32-bit schema id, Avro. */
  | { readonly format: 'avro'; readonly schemas: SchemaSource; readonly clock: Clock }
  /** Bare Avro, all records written with one schema, given as its text. */
  | { readonly format: 'avro-raw'; readonly writerSchema: string }
  /** One JSON object a record. */
  | { readonly format: 'json' }

/**
 * A decoder for one model version.
 * @throws SluiceError `invalid-config` when the writer schema of `avro-raw` is no Avro record schema.
 */
export function createFeatureDecoder(options: DecoderOptions & InputFormat): FeatureDecoder {
  switch (options.format) {
    case 'avro':
      return new FramedAvroDecoder(options, options.schemas, options.clock)
    case 'avro-raw':
      return new RawAvroDecoder(options, options.writerSchema)
    case 'json':
      return new JsonDecoder(options)
  }
}

/**
 * Why no record of a writer schema can be decoded for a model: a feature that it has no field for, or of a type that the
 * tensor does not take. Undefined when it can. `label` names the schema.
 */
export function schemaFault(schema: string, label: string, options: DecoderOptions): RecordFault | undefined {
  const compiled = compileSchema(schema, label, options)
  return isReader(compiled) ? undefined : compiled
}

/**
 * The text of the writer schema that a setting gives: the schema itself (it begins with a brace), or the path of its file.
 * @throws SluiceError `invalid-config` when the file cannot be read.
 */
export async function readWriterSchema(setting: string): Promise<string> {
  if (setting.trimStart().startsWith('{')) return setting
  try {
    return await readFile(setting, 'utf8')
  } catch (error) {
    throw new SluiceError('invalid-config', `the writer schema ${setting} cannot be read: ${messageOf(error)}`)
  }
}
