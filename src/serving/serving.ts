import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { GoldenSample, ModelSpec } from '../core/model.ts'
import type { PoolTelemetry } from '../core/telemetry.ts'
import { parseSessions } from '../inference/placement.ts'
import { createSessionPool, SLOTS_PER_SESSION } from '../inference/pool.ts'
import type { LendablePool } from '../inference/pool-server.ts'
import { openStore, type StoreSettings } from '../models/open-store.ts'
import { originOf, verify } from '../models/verification.ts'

/** A model version that is loaded, verified, and ready to run. */
export interface ServedModel {
  readonly spec: ModelSpec
  /** Its sessions, or what the stream may have of them. */
  readonly pool: LendablePool
  /** The input of its first golden sample: a row that is known to be good, if there is one. */
  readonly sample: GoldenSample['input'] | undefined
  close(): Promise<void>
  /** Where others share the sessions, and the stream's threads are not this one: how to know that these wait for one. */
  readonly tasksWaitWhen?: ((wait: (graceMs: number) => boolean) => void) | undefined
}

const PROBE_SLOTS = 1

/** Slots of a pool whose only user is the thread that has it: two for each session, and one for its `Probe`. */
export function slotsOfOne(sessions: number): number {
  return SLOTS_PER_SESSION * sessions + PROBE_SLOTS
}

/**
 * Slots of each of several threads that share a pool: all sessions can run batches of one thread while it packs another,
 * and there is one for its `Probe`. Two threads or more have two for each session together.
 */
export function slotsOfEach(sessions: number): number {
  return sessions + 1 + PROBE_SLOTS
}

/** Slots that the inference API has for itself: see `SessionShares`, and one for its `Probe`. */
export function slotsOfGuests(sessions: number): number {
  return sessions + 1 + PROBE_SLOTS
}

type ModelSettings = Pick<Settings, 'modelVersion' | 'sessions' | 'intraOpThreads' | 'maxBatchSize' | 'runTimeoutMs'> &
  StoreSettings & {
    readonly modelName: string
  }

/** Who hears of the sessions, from their start on. */
interface ModelTools {
  readonly log: Log
  readonly clock: Clock
  readonly telemetry?: (version: { readonly model: string; readonly version: string }) => PoolTelemetry
  /** See `SessionPoolOptions`. */
  readonly onCondition?: (error: SluiceError | undefined) => void
  /** See `SessionPoolOptions`. */
  readonly openTimeoutMs?: number | undefined
  /** See `SessionPoolOptions`. */
  readonly threadUrl?: URL | undefined
}

/**
 * Finds a model version in the store, opens it in its sessions, and lets it repeat its golden samples there.
 * @param slotsFor how many slots the pool has, by its sessions
 * @throws SluiceError with response `exit`: a version that is missing, damaged or wrong never serves; `store-unreachable`,
 *   after which another call may succeed
 */
export async function openModel(
  settings: ModelSettings,
  tools: ModelTools,
  slotsFor: (sessions: number) => number = slotsOfOne,
): Promise<ServedModel> {
  const { log, clock, onCondition, openTimeoutMs, threadUrl } = tools
  const sessions = parseSessions(settings.sessions)
  const bundle = await openStore(settings, { log, clock }).find(settings.modelName, settings.modelVersion)
  const { intraOpThreads, maxBatchSize, runTimeoutMs } = settings
  const { modelFile, spec } = bundle
  const version = { model: spec.name, version: spec.version }
  const pool = await createSessionPool({
    modelFile,
    spec,
    sessions,
    slots: slotsFor(sessions.length),
    intraOpThreads,
    maxBatchSize,
    runTimeoutMs,
    log,
    clock,
    openTimeoutMs,
    threadUrl,
    telemetry: tools.telemetry?.(version),
    onCondition,
  })
  try {
    const { samples, providers } = await verify(bundle, pool)
    if (samples > 0)
      log.info({ ...version, samples, providers }, `the model repeats its golden samples; ${originOf(spec)}`)
    else
      log.warn(
        version,
        'the bundle has no golden samples: nothing shows that the model predicts here as it did in training',
      )
    const [sample] = await bundle.golden()
    return { spec, pool, sample: sample?.input, close: () => pool.close() }
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
