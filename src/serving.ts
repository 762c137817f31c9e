import { createFeatureDecoder, readWriterSchema } from './codec/feature-decoder.ts'
import { createPredictionEncoder } from './codec/prediction-encoder.ts'
import { predictionSchema } from './codec/prediction-schema.ts'
import { SchemaRegistry } from './codec/registry.ts'
import { SchemaDir } from './codec/schema-dir.ts'
import type { SchemaSource } from './codec/schema-source.ts'
import type { Settings } from './config/settings.ts'
import type { Clock } from './core/clock.ts'
import type { FeatureDecoder, PredictionEncoder } from './core/codec.ts'
import { SluiceError } from './core/errors.ts'
import type { Log } from './core/log.ts'
import type { ModelSpec } from './core/model.ts'
import { packObject } from './core/rows.ts'
import type { ModelIdentity } from './core/transaction.ts'
import { parseSessions } from './inference/placement.ts'
import { createSessionPool, type OnnxSessionPool, SLOTS_PER_SESSION } from './inference/pool.ts'
import type { ModelBundle } from './models/bundle.ts'
import { FolderStore } from './models/store.ts'
import { verify } from './models/verification.ts'

/** A model version that is loaded, verified, and ready to run. */
export interface ServedModel {
  readonly spec: ModelSpec
  readonly pool: OnnxSessionPool
  /** Runs a row that is known to be good: resolves while the sessions work. */
  probe(): Promise<void>
  close(): Promise<void>
}

const PROBE_SLOTS = 1

type ModelSettings = Pick<Settings, 'modelStore' | 'modelVersion' | 'sessions' | 'intraOpThreads' | 'maxBatchSize'> & {
  readonly modelName: string
}

/**
 * Finds a model version in the store, opens it in its sessions, and lets it repeat its golden samples there.
 * @throws SluiceError with response `exit`: a version that is missing, damaged or wrong never serves
 */
export async function openModel(settings: ModelSettings, log: Log, clock: Clock): Promise<ServedModel> {
  const sessions = parseSessions(settings.sessions)
  const bundle = await new FolderStore(settings.modelStore).find(settings.modelName, settings.modelVersion)
  const { intraOpThreads, maxBatchSize } = settings
  const { modelFile, spec } = bundle
  const slots = SLOTS_PER_SESSION * sessions.length + PROBE_SLOTS
  const pool = await createSessionPool({ modelFile, spec, sessions, slots, intraOpThreads, maxBatchSize, log, clock })
  try {
    const { samples, providers } = await verify(bundle, pool)
    const version = { model: spec.name, version: spec.version }
    if (samples > 0) log.info({ ...version, samples, providers }, 'the model repeats its golden samples')
    else
      log.warn(
        version,
        'the bundle has no golden samples: nothing shows that the model predicts here as it did in training',
      )
    return { spec, pool, probe: await createProbe(bundle, pool), close: () => pool.close() }
  } catch (error) {
    await pool.close()
    throw error
  }
}

/** How headers, metrics and the status page name a version. */
export function identityOf({ name, version, sha256 }: ModelSpec): Omit<ModelIdentity, 'provider'> {
  return { name, version, sha256 }
}

/**
 * Keeps one slot, with the first golden sample in it, for as long as the pool is open. A bundle without samples has a
 * row of zeros instead, which the model need not like: then it is enough that a session is there to refuse it.
 */
async function createProbe({ spec, golden }: ModelBundle, pool: OnnxSessionPool): Promise<() => Promise<void>> {
  const [sample] = await golden()
  const slot = pool.acquire()
  if (slot === undefined) throw new SluiceError('internal', 'The session pool has no slot for the probe.')
  if (sample !== undefined) packObject(sample.input, spec.inputs, slot.inputs, 0, true)
  return async () => {
    try {
      await pool.run(slot, 0, 1)
    } catch (error) {
      const refused = error instanceof SluiceError && error.code === 'inference-failed'
      if (sample !== undefined || !refused) throw error
    }
  }
}

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
