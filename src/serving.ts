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
import type { PoolTelemetry } from './core/telemetry.ts'
import type { ModelIdentity } from './core/transaction.ts'
import { parseSessions } from './inference/placement.ts'
import { createSessionPool, type OnnxSessionPool, SLOTS_PER_SESSION } from './inference/pool.ts'
import { FolderStore } from './models/store.ts'
import { verify } from './models/verification.ts'
import { Probe } from './probe.ts'

/** A model version that is loaded, verified, and ready to run. */
export interface ServedModel {
  readonly spec: ModelSpec
  readonly pool: OnnxSessionPool
  /** Tells bad sessions from bad rows. */
  readonly probe: Probe
  close(): Promise<void>
}

const PROBE_SLOTS = 1

type ModelSettings = Pick<
  Settings,
  'modelStore' | 'modelVersion' | 'sessions' | 'intraOpThreads' | 'maxBatchSize' | 'runTimeoutMs'
> & {
  readonly modelName: string
}

/** Who hears of the sessions, from their start on. */
interface ModelTools {
  readonly log: Log
  readonly clock: Clock
  readonly telemetry?: (version: { readonly model: string; readonly version: string }) => PoolTelemetry
  /** See `SessionPoolOptions`. */
  readonly onCondition?: (error: SluiceError | undefined) => void
}

/**
 * Finds a model version in the store, opens it in its sessions, and lets it repeat its golden samples there.
 * @throws SluiceError with response `exit`: a version that is missing, damaged or wrong never serves
 */
export async function openModel(settings: ModelSettings, tools: ModelTools): Promise<ServedModel> {
  const { log, clock, onCondition } = tools
  const sessions = parseSessions(settings.sessions)
  const bundle = await new FolderStore(settings.modelStore).find(settings.modelName, settings.modelVersion)
  const { intraOpThreads, maxBatchSize, runTimeoutMs } = settings
  const { modelFile, spec } = bundle
  const version = { model: spec.name, version: spec.version }
  const pool = await createSessionPool({
    modelFile,
    spec,
    sessions,
    slots: SLOTS_PER_SESSION * sessions.length + PROBE_SLOTS,
    intraOpThreads,
    maxBatchSize,
    runTimeoutMs,
    log,
    clock,
    telemetry: tools.telemetry?.(version),
    onCondition,
  })
  try {
    const { samples, providers } = await verify(bundle, pool)
    if (samples > 0) log.info({ ...version, samples, providers }, 'the model repeats its golden samples')
    else
      log.warn(
        version,
        'the bundle has no golden samples: nothing shows that the model predicts here as it did in training',
      )
    const [sample] = await bundle.golden()
    return { spec, pool, probe: new Probe(spec, pool, sample?.input), close: () => pool.close() }
  } catch (error) {
    await pool.close()
    throw error instanceof SluiceError && error.code === 'session-hung' ? tooSlow(error, runTimeoutMs) : error
  }
}

function tooSlow(error: SluiceError, runTimeoutMs: number): SluiceError {
  const message =
    `The golden samples did not return within RUN_TIMEOUT_MS (${runTimeoutMs} ms): ${error.message}. ` +
    'If the first run builds an engine (TensorRT), raise RUN_TIMEOUT_MS above that; otherwise look at the device.'
  return new SluiceError('session-failed', message, { cause: error })
}

/** How headers, metrics and the status page name a version. */
export function identityOf({ name, version, sha256 }: ModelSpec): Omit<ModelIdentity, 'provider'> {
  return { name, version, sha256 }
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
