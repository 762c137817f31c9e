import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import { asSluiceError, type ErrorCode, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { ModelSpec } from '../core/model.ts'
import { parseSessions } from '../inference/placement.ts'
import { createSessionPool, type OnnxSessionPool } from '../inference/pool.ts'
import type { ModelBundle } from '../models/bundle.ts'
import { originOf, verify } from '../models/verification.ts'
import { checkRecordSchema, type SchemaSettings } from './model-schema-check.ts'

/** One thing that must be right before a version may serve. */
export interface ModelCheck {
  readonly check: 'files' | 'graph' | 'record schema' | 'golden samples'
  /** `skipped`: there is nothing to check it with, or what it needs has failed. */
  readonly outcome: 'passed' | 'failed' | 'skipped'
  /** What was checked, or what is wrong. */
  readonly message: string
  /** Of what failed. */
  readonly code?: ErrorCode
}

export interface ModelReport {
  /** Undefined when the bundle could not be read. */
  readonly spec: ModelSpec | undefined
  /** Always the same four, in this order. */
  readonly checks: readonly ModelCheck[]
  /** The first failure. */
  readonly failure: SluiceError | undefined
}

export type CheckSettings = Pick<Settings, 'sessions' | 'intraOpThreads' | 'runTimeoutMs'> & SchemaSettings

export interface CheckTools {
  readonly log: Log
  readonly clock: Clock
  /** Within this the model must be open; 0 for any time. */
  readonly openTimeoutMs: number
  /** See `SessionPoolOptions`. */
  readonly threadUrl?: URL | undefined
}

/** Golden samples are few; larger slots would only be memory. */
const MAX_BATCH_SIZE = 64

/**
 * Checks a bundle as a worker would before it serves, and says of each check how it went instead of ending at the first
 * that fails. Never throws for what a bundle can be.
 * @param read reads the bundle; what it throws fails the first check
 */
export async function checkModel(
  read: () => Promise<ModelBundle>,
  settings: CheckSettings,
  tools: CheckTools,
): Promise<ModelReport> {
  const run = new CheckRun()
  const bundle = await run.check('files', async () => {
    const found = await read()
    return [found, describeFiles(found.spec)]
  })
  const pool = await run.check('graph', bundle && (() => openSessions(bundle, settings, tools)))
  try {
    await run.check('record schema', bundle && (() => checkSchema(bundle.spec, settings, tools.clock)))
    await run.check('golden samples', bundle && pool && (() => checkSamples(bundle, pool)))
  } finally {
    await pool?.close()
  }
  return { spec: bundle?.spec, checks: run.checks, failure: run.failure }
}

/** What a check came to, and its message. Without a value nothing could be checked, and the message says why. */
type Checked<Value> = readonly [value: Value | undefined, message: string]

class CheckRun {
  readonly checks: ModelCheck[] = []
  failure: SluiceError | undefined

  /** Undefined in place of `work`: what it needs has failed. */
  async check<Value>(
    check: ModelCheck['check'],
    work: (() => Promise<Checked<Value>>) | undefined,
  ): Promise<Value | undefined> {
    if (work === undefined) {
      this.checks.push({ check, outcome: 'skipped', message: 'what comes before it failed' })
      return undefined
    }
    try {
      const [value, message] = await work()
      this.checks.push({ check, outcome: value === undefined ? 'skipped' : 'passed', message })
      return value
    } catch (error) {
      const failure = asSluiceError(error, 'internal')
      this.failure ??= failure
      this.checks.push({ check, outcome: 'failed', code: failure.code, message: failure.message })
      return undefined
    }
  }
}

function describeFiles({ sha256, external = [] }: ModelSpec): string {
  const beside = external.length === 0 ? '' : `, and so have ${external.map(({ file }) => file).join(', ')} beside it`
  return `model.onnx has the SHA-256 of model.json, ${sha256}${beside}`
}

async function openSessions(
  { spec, modelFile }: ModelBundle,
  { sessions, intraOpThreads, runTimeoutMs }: CheckSettings,
  tools: CheckTools,
): Promise<Checked<OnnxSessionPool>> {
  const { log, clock, openTimeoutMs, threadUrl } = tools
  const pool = await createSessionPool({
    modelFile,
    spec,
    sessions: parseSessions(sessions),
    intraOpThreads,
    maxBatchSize: MAX_BATCH_SIZE,
    runTimeoutMs,
    openTimeoutMs,
    log,
    clock,
    threadUrl,
  })
  return [pool, `it has the inputs and outputs of model.json; opened on ${[...new Set(pool.providers)].join(', ')}`]
}

async function checkSchema(spec: ModelSpec, settings: SchemaSettings, clock: Clock): Promise<Checked<true>> {
  const { fits, message } = await checkRecordSchema(spec, settings, clock)
  if (fits === false) throw new SluiceError('schema-misfit', message)
  return [fits, message]
}

async function checkSamples(bundle: ModelBundle, pool: OnnxSessionPool): Promise<Checked<true>> {
  const { samples, providers } = await verify(bundle, pool)
  if (samples === 0)
    return [undefined, 'the bundle has none: nothing shows that it predicts here as it did in training']
  return [true, `${samples} came out right on ${providers.join(', ')}; ${originOf(bundle.spec)}`]
}
