import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import type { FeatureDecoder } from '../core/codec.ts'
import { SluiceError } from '../core/errors.ts'
import type { SessionPool } from '../core/inference.ts'
import type { Log } from '../core/log.ts'
import { identityOf, type ModelSpec } from '../core/model.ts'
import { answers, type RolloutPlan } from '../core/rollout.ts'
import type { TimelineRange } from '../core/timeline-ranges.ts'
import type { Metrics } from '../ops/metrics.ts'
import { Batcher } from '../pipeline/batcher.ts'
import { type ServedVersion, type Serving, servingOf } from '../pipeline/serving.ts'
import { createDecoder, createEncoder, type openSchemas } from './formats.ts'
import type { Probe } from './probe.ts'

/** A model version that is open somewhere, and what tells bad sessions from bad rows. */
export interface ReplicaModel {
  readonly spec: ModelSpec
  readonly pool: SessionPool
  readonly probe: Probe
}

/** A plan that is in effect, and its number: see `RolloutState.revision`. */
export interface LivePlan {
  readonly plan: RolloutPlan
  /** 0 where the worker chose the version itself. */
  readonly revision: number
}

type VersionSettings = Pick<
  Settings,
  | 'groupId'
  | 'inputFormat'
  | 'inputSchema'
  | 'allowNonFinite'
  | 'maxRecordBytes'
  | 'outputFormat'
  | 'maxQueueDelayMs'
  | 'targetLatencyMs'
> & { readonly outputTopic: string }

interface ServedVersionsOptions {
  readonly settings: VersionSettings
  readonly schemas: Awaited<ReturnType<typeof openSchemas>>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** Why rows of a version that answers wait for its sessions; undefined when they do not any more. */
  readonly onCondition: (version: string, error: SluiceError | undefined) => void
}

interface Prepared {
  readonly model: ReplicaModel
  readonly served: ServedVersion
}

/** The model versions with which one thread can answer, and the plan by which it does. */
export class ServedVersions {
  readonly #options: ServedVersionsOptions
  readonly #prepared = new Map<string, Prepared>()
  readonly #retired = new Set<ServedVersion>()
  #serving: Serving | undefined
  #live: LivePlan | undefined
  /** By partition, of a replay of the timeline. */
  #past: ReadonlyMap<number, readonly { readonly from: number; readonly serving: Serving }[]> | undefined

  constructor(options: ServedVersionsOptions) {
    this.#options = options
  }

  /** What answers now. Throws before the first `adopt`. */
  get serving(): Serving {
    if (this.#serving === undefined) throw new Error('No plan was adopted.')
    return this.#serving
  }

  /** Versions that are to be closed once no record waits for them. */
  get retired(): Iterable<ServedVersion> {
    return this.#retired
  }

  /** The version is of no plan any more. Returns whether it was ever prepared here. */
  retire(version: string): boolean {
    const prepared = this.#prepared.get(version)
    if (prepared !== undefined) this.#retired.add(prepared.served)
    return prepared !== undefined
  }

  /**
   * Makes a version ready to answer, once.
   * @param known its decoder, where there is one already
   * @throws SluiceError where its features or its predictions do not fit the schemas; `registry-unreachable` where trying
   *   again may help
   */
  async prepare(model: ReplicaModel, known?: FeatureDecoder): Promise<void> {
    const { settings, schemas, clock } = this.#options
    const { spec } = model
    const decoder = known ?? (await createDecoder(settings, spec, schemas, clock))
    const encoder = await createEncoder(settings.outputFormat, spec, settings.outputTopic, schemas)
    const batcher = this.#createBatcher(model)
    const served = { name: spec.version, sha256: spec.sha256, decoder, encoder, batcher }
    this.#prepared.set(spec.version, { model, served })
  }

  /** From now on records that are decoded are answered by this plan, whose versions are prepared. */
  adopt(live: LivePlan): void {
    const { plan, revision } = live
    const { groupId: group } = this.#options.settings
    const { name: model } = this.#get(plan.stable).model.spec
    this.#live = live
    this.#serving = servingOf(plan, { group, model, revision }, version => this.#get(version).served)
  }

  /** From now on each record is answered as these ranges of the timeline have it, without shadows; their versions are prepared. */
  adoptTimeline(ranges: readonly TimelineRange[]): void {
    const { groupId: group } = this.#options.settings
    const known = ranges.map(({ partition, from, to, plan, model, revision }) => {
      const get = (version: string) => this.#get(version).served
      return { partition, from, serving: servingOf({ ...plan, shadows: [] }, { group, model, revision }, get, to) }
    })
    this.#past = Map.groupBy(known, ({ partition }) => partition)
    this.#serving = known.at(-1)?.serving
  }

  /** What answers a record. */
  servingAt(partition: number, offset: number): Serving {
    const past = this.#past?.get(partition)
    return past?.findLast(({ from }) => from <= offset)?.serving ?? this.serving
  }

  /** Lets go of a version that nobody uses any more. */
  close(version: string): void {
    const prepared = this.#prepared.get(version)
    if (prepared === undefined) return
    prepared.served.batcher.close()
    this.#retired.delete(prepared.served)
    this.#prepared.delete(version)
    this.#options.onCondition(version, undefined)
  }

  closeAll(): void {
    for (const version of [...this.#prepared.keys()]) this.close(version)
  }

  #get(version: string): Prepared {
    const prepared = this.#prepared.get(version)
    if (prepared === undefined) throw new SluiceError('internal', `Version ${version} was not prepared.`)
    return prepared
  }

  #createBatcher({ spec, pool, probe }: ReplicaModel): Batcher {
    const { settings, metrics, clock } = this.#options
    const { name, version } = spec
    return new Batcher({
      pool,
      model: identityOf(spec),
      maxQueueDelayMs: settings.maxQueueDelayMs,
      targetLatencyMs: settings.targetLatencyMs,
      telemetry: metrics.batcher({ model: name, version }),
      clock,
      probe: (session, by) => probe.run(session, by),
      onGood: slot => probe.learn(slot),
      onCondition: error => this.#onSessions(version, error),
    })
  }

  /** What troubles a version that answers nobody is for the log: the others go on. */
  #onSessions(version: string, error: SluiceError | undefined): void {
    const { onCondition, log } = this.#options
    const plan = this.#live?.plan
    if (plan === undefined || answers(plan, version)) onCondition(version, error)
    else if (error !== undefined)
      log.warn({ version, code: error.code, reason: error.message }, 'a shadow is in trouble')
  }
}
