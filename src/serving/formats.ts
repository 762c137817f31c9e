import { createFeatureDecoder, readWriterSchema } from '../codec/feature-decoder.ts'
import { createPredictionEncoder } from '../codec/prediction-encoder.ts'
import { predictionSchema } from '../codec/prediction-schema.ts'
import { SchemaRegistry } from '../codec/registry.ts'
import { SchemaDir } from '../codec/schema-dir.ts'
import type { SchemaSource } from '../codec/schema-source.ts'
import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import type { FeatureDecoder, PredictionEncoder } from '../core/codec.ts'
import type { Log } from '../core/log.ts'
import type { InputSpec, ModelSpec, OutputSpec } from '../core/model.ts'
import { isScalar } from '../core/rows.ts'

type SchemaSettings = Pick<
  Settings,
  | 'inputFormat'
  | 'outputFormat'
  | 'schemaRegistryUrl'
  | 'schemaRegistryUsername'
  | 'schemaRegistryPassword'
  | 'schemaDir'
  | 'requestTimeoutMs'
>

/**
 * The registry, or the folder that stands in for it; undefined where neither format names schemas by id.
 * @throws SluiceError `schema-dir-invalid`
 */
export async function openSchemas(settings: SchemaSettings, clock: Clock, log: Log): Promise<SchemaSource | undefined> {
  if (settings.inputFormat !== 'avro' && settings.outputFormat !== 'avro') return undefined
  const { schemaRegistryUrl: url, schemaRegistryUsername: username, schemaRegistryPassword: password } = settings
  if (url === undefined) return SchemaDir.open(settings.schemaDir, clock, log)
  return new SchemaRegistry({ url, username, password, timeoutMs: settings.requestTimeoutMs, clock })
}

type FormatSettings = Pick<Settings, 'inputFormat' | 'inputSchema' | 'allowNonFinite' | 'maxRecordBytes'>

/** A decoder for the records that the settings describe; `schemas` is what `openSchemas` gave for them. */
export async function createDecoder(
  settings: FormatSettings,
  model: ModelSpec,
  schemas: SchemaSource | undefined,
  clock: Clock,
): Promise<FeatureDecoder> {
  const { allowNonFinite, maxRecordBytes } = settings
  const options = { inputs: model.inputs, allowNonFinite, maxRecordBytes }
  switch (settings.inputFormat) {
    case 'avro':
      return createFeatureDecoder({ ...options, format: 'avro', schemas: schemas!, clock })
    case 'avro-raw': {
      const writerSchema = await readWriterSchema(settings.inputSchema ?? '')
      return createFeatureDecoder({ ...options, format: 'avro-raw', writerSchema })
    }
    case 'json':
      return createFeatureDecoder({ ...options, format: 'json' })
  }
}

/**
 * An encoder for predictions to `topic`; registers their schema under `<topic>-value` where the format names schemas.
 * @throws SluiceError `registry-unreachable` when trying again may help
 */
export async function createEncoder(
  format: Settings['outputFormat'],
  model: ModelSpec,
  topic: string,
  schemas: SchemaSource | undefined,
): Promise<PredictionEncoder> {
  const schemaId = format === 'avro' ? await schemas!.register(`${topic}-value`, predictionSchema(model, topic)) : 0
  return createPredictionEncoder(format, model.outputs, schemaId)
}

/** Reads predictions of a model back, as if its outputs were the features of another one. */
export function createPredictionDecoder(
  settings: Pick<Settings, 'outputFormat' | 'maxOutputBytes'>,
  spec: ModelSpec,
  schemas: SchemaSource | undefined,
  clock: Clock,
): FeatureDecoder {
  const options = { inputs: spec.outputs.map(asInput), allowNonFinite: true, maxRecordBytes: settings.maxOutputBytes }
  switch (settings.outputFormat) {
    case 'avro':
      return createFeatureDecoder({ ...options, format: 'avro', schemas: schemas!, clock })
    case 'avro-raw':
      return createFeatureDecoder({
        ...options,
        format: 'avro-raw',
        writerSchema: predictionSchema(spec, 'predictions'),
      })
    case 'json':
      return createFeatureDecoder({ ...options, format: 'json' })
  }
}

/** An output as an input that has its field for a feature. */
function asInput(output: OutputSpec): InputSpec {
  return { ...output, features: [{ name: output.field, length: output.width, array: !isScalar(output) }] }
}
