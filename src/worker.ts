import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { connectionOptions } from './connection.ts'
import type { SluiceError } from './core/errors.ts'
import { tooManyHang } from './core/inference.ts'
import { identityOf } from './core/model.ts'
import { answers, type RolloutPlan, versionsOf } from './core/rollout.ts'
import { aborted, within } from './core/waiting.ts'
import { type ConnectionOptions, clusterTools } from './kafka/cluster.ts'
import { RolloutFollower } from './kafka/rollout-topic.ts'
import { openStore } from './models/open-store.ts'
import type { IoStatus, WorkerStatus } from './ops/status.ts'
import { IoThreads, type IoThreadsOptions } from './replica/io-threads.ts'
import type { WorkerSettings } from './replica/replica.ts'
import { CLOSE_TIMEOUT_MS, ReplicaRun } from './replica/replica-run.ts'
import { InferenceDesk } from './requests/inference-desk.ts'
import { RolloutAgent } from './rollout/rollout-agent.ts'
import { Probe } from './serving/probe.ts'
import type { LivePlan, ReplicaModel } from './serving/served-versions.ts'
import { openModel, type ServedModel, slotsOfEach, slotsOfGuests, slotsOfOne } from './serving/serving.ts'
import { whenStoreAnswers } from './serving/store-wait.ts'
import { VersionShelf } from './serving/version-shelf.ts'

type WorkerTools = IoThreadsOptions['tools']

/** What reads and writes: one replica on this thread, or several on threads of their own. */
interface Io {
  serve(signal: AbortSignal): Promise<void>
  fail(error: SluiceError): void
  close(): Promise<void>
  status(): IoStatus | Promise<IoStatus>
  prepare(model: ServedModel): Promise<void>
  adopt(live: LivePlan): void
  retire(version: string): void
}

/**
 * One worker: the versions of a model that a rollout names, each in its sessions, and one replica or IO_THREADS of them.
 *
 *   CREATED ─▶ STARTING ─▶ RUNNING ─▶ DRAINING ─▶ CLOSED
 *                 └───────────────────▲   (an error that ends it, or `signal`, at any time)
 *
 * STARTING waits as long as it takes for the model store, brokers, topics and the registry; what waiting cannot mend ends the worker.
 */
export class Worker {
  readonly #settings: WorkerSettings
  readonly #tools: WorkerTools
  readonly #connection: ConnectionOptions
  /** Answers requests over HTTP; undefined where HTTP_API is off. */
  readonly desk: InferenceDesk | undefined
  readonly #shelf: VersionShelf
  readonly #follower: RolloutFollower
  readonly #replica = randomUUID()
  /** Rejects when waiting for the rollout topic cannot help. */
  readonly #refused = Promise.withResolvers<never>()
  /** Resolves when the rollout topic cannot be read for now. */
  readonly #away = Promise.withResolvers<true>()
  #agent: RolloutAgent | undefined
  #io: Io | undefined
  /** What ended the sessions before there was anything to end. */
  #early: SluiceError | undefined

  /** @throws SluiceError `invalid-config` */
  constructor(settings: WorkerSettings, tools: WorkerTools) {
    this.#settings = settings
    this.#tools = tools
    this.#connection = connectionOptions(settings)
    if (settings.httpApi) this.desk = this.#createDesk()
    this.#shelf = new VersionShelf({
      open: version => this.#open(version),
      retire: version => this.#io?.retire(version),
    })
    this.#follower = this.#createFollower()
    // Whoever waits for it hears of it: one that comes while nobody does is no defect.
    this.#refused.promise.catch(() => {})
  }

  /**
   * Serves until `signal` is aborted, then drains, commits and leaves the group.
   * @throws SluiceError with response `exit` when going on cannot help; everything is closed by then
   */
  async run(signal: AbortSignal): Promise<void> {
    const { health, clock } = this.#tools
    health.enter('STARTING')
    // Requests are refused while records still drain: whoever balances the load sends them elsewhere.
    signal.addEventListener('abort', () => void this.desk?.stop(), { once: true })
    try {
      const live = await this.#planAtStart(signal)
      if (live !== undefined) await this.#serve(live, signal)
    } finally {
      health.enter('DRAINING')
      this.#agent?.close()
      await within(clock, this.#settings.drainTimeoutMs, Promise.resolve(this.desk?.stop()))
      await within(
        clock,
        CLOSE_TIMEOUT_MS,
        Promise.all([this.#shelf.close(), this.#io?.close(), this.#follower.close()]),
      )
      health.enter('CLOSED')
    }
  }

  /** For the status page. */
  async status(): Promise<WorkerStatus> {
    const { groupId, inputTopic, outputTopic, deadLetterTopic, processingGuarantee, sessions } = this.#settings
    const live = this.#agent?.live
    const model = live && this.#shelf.opened(live.plan.stable)
    const nothing: IoStatus = { totals: this.#tools.metrics.totals, partitions: [] }
    return {
      groupId,
      inputTopic,
      outputTopic,
      deadLetterTopic,
      guarantee: processingGuarantee,
      model: model === undefined ? null : identityOf(model.spec),
      rollout: live === undefined ? null : { revision: live.revision, ...live.plan },
      sessions: model === undefined ? null : { size: model.pool.size, busy: model.pool.busy, spec: sessions },
      ...((await this.#io?.status()) ?? nothing),
    }
  }

  /** MODEL_VERSION pins; otherwise the rollout says, otherwise the highest version answers. Undefined when it is stopped. */
  async #planAtStart(signal: AbortSignal): Promise<LivePlan | undefined> {
    const { modelName, modelVersion } = this.#settings
    const { health, clock } = this.#tools
    const starting = Promise.race([this.#follower.start(), this.#refused.promise])
    starting.catch(() => {})
    if (modelVersion !== undefined) return chosen(modelVersion)
    const store = openStore(this.#settings, this.#tools)
    // What is wrong with the model shows soon, not only when the brokers are back.
    const highest = await whenStoreAnswers(() => store.highest(modelName), this.#tools, signal)
    if (highest === undefined) return undefined
    if (!(await within(clock, ROLLOUT_PATIENCE_MS, starting))) {
      // Another version may be live: whoever only answers slowly is asked, a broker that is away is not waited for.
      const away = await Promise.race([
        starting.then(() => false),
        this.#away.promise,
        aborted(signal).then(() => false),
      ])
      if (away) await whenStoreAnswers(() => this.#shelf.open(highest), this.#tools, signal)
    }
    const state = await Promise.race([starting, aborted(signal)])
    if (signal.aborted) return undefined
    health.clear(ROLLOUT_TOPIC)
    return state?.live === undefined ? chosen(highest) : { plan: state.live, revision: state.revision }
  }

  async #serve(said: LivePlan, signal: AbortSignal): Promise<void> {
    const plan = await this.#openAll(said.plan, signal)
    if (plan === undefined) return
    const live = { ...said, plan }
    const wanted = versionsOf(plan)
    // The highest may have been opened while the brokers did not answer; no thread will be told of it.
    for (const version of this.#shelf.versions) if (!wanted.includes(version)) await this.#shelf.discard(version)
    const models = wanted.map(version => this.#shelf.opened(version)!)
    this.#agent = this.#createAgent(live)
    this.desk?.prefer(this.#settings.modelName, live.plan.stable)
    this.desk?.started()
    const io = this.#createIo(models, live)
    this.#io = io
    if (this.#early !== undefined) io.fail(this.#early)
    if (this.#follower.state !== undefined) this.#agent.heard(this.#follower.state)
    await io.serve(signal)
  }

  /**
   * Opens the versions of a plan, and returns the plan as it can be followed: a shadow that cannot be opened is left out.
   * Versions that answer wait for a store that is away; undefined when the worker is stopped meanwhile.
   * @throws SluiceError of a version that answers
   */
  async #openAll(plan: RolloutPlan, signal: AbortSignal): Promise<RolloutPlan | undefined> {
    const shadows: string[] = []
    for (const version of versionsOf(plan)) {
      const open = () => this.#shelf.open(version)
      if (answers(plan, version)) {
        if ((await whenStoreAnswers(open, this.#tools, signal)) === undefined) return undefined
        continue
      }
      try {
        await open()
        shadows.push(version)
      } catch (error) {
        this.#tools.log.warn({ version, error }, 'a shadow cannot be opened, and is left out')
      }
    }
    return { ...plan, shadows }
  }

  /** Loads and verifies a version, and makes it ready on every thread that there is. */
  async #open(version: string): Promise<ServedModel> {
    const { log, clock, metrics } = this.#tools
    const { ioThreads } = this.#settings
    const slotsFor = (sessions: number) =>
      (ioThreads === 1 ? slotsOfOne(sessions) : ioThreads * slotsOfEach(sessions)) +
      (this.desk === undefined ? 0 : slotsOfGuests(sessions))
    const tools = {
      log,
      clock,
      telemetry: metrics.pool.bind(metrics),
      onCondition: (error: SluiceError | undefined) => this.#onSessions(version, error),
      // Nothing answers yet at the start, and an engine may take minutes to build.
      openTimeoutMs: this.#io === undefined ? undefined : this.#settings.modelOpenTimeoutMs,
    }
    const opened = await openModel({ ...this.#settings, modelVersion: version }, tools, slotsFor)
    const model = this.desk?.add(opened) ?? opened
    try {
      await this.#io?.prepare(model)
    } catch (error) {
      await model.close()
      throw error
    }
    return model
  }

  /** Records must not wait for the sake of requests, so these never let a free session gather. */
  #createDesk(): InferenceDesk {
    return new InferenceDesk({
      settings: this.#settings,
      maxQueueDelayMs: 0,
      mostHung: MOST_HUNG_BY_REQUESTS,
      ...this.#tools,
      onCondition: ({ version }, error) => this.#onRequests(version, error),
    })
  }

  #createFollower(): RolloutFollower {
    const { log, clock, health } = this.#tools
    const { rolloutTopic, modelName, modelVersion, groupId } = this.#settings
    return new RolloutFollower({
      tools: clusterTools(this.#connection, log),
      topic: rolloutTopic,
      model: modelName,
      group: groupId,
      replica: this.#replica,
      clock,
      log,
      onState: state => this.#agent?.heard(state),
      // Later there are others who say that brokers are away, and what serves goes on.
      onTrouble: error => {
        if (error === undefined) return health.clear(ROLLOUT_TOPIC)
        this.#away.resolve(true)
        if (health.state !== 'STARTING' || modelVersion !== undefined) return
        else if (error.response === 'exit') this.#refused.reject(error)
        else health.set(ROLLOUT_TOPIC, error)
      },
    })
  }

  #createAgent(live: LivePlan): RolloutAgent {
    const { groupId, modelName, modelVersion } = this.#settings
    return new RolloutAgent({
      ...this.#tools,
      model: modelName,
      group: groupId,
      replica: this.#replica,
      place: `${hostname()}:${process.pid}`,
      pinned: modelVersion !== undefined,
      live,
      shelf: this.#shelf,
      refuse: version => this.#hungSessions(version),
      adopt: next => {
        this.#io!.adopt(next)
        this.desk?.prefer(modelName, next.plan.stable)
      },
      publish: report => this.#follower.report(report),
    })
  }

  #createIo(models: readonly ServedModel[], live: LivePlan): Io {
    const settings = this.#settings
    const connection = this.#connection
    const tools = this.#tools
    const onLeft = (version: string) => this.#onLeft(version)
    const onJoined = (thread: number, memberId: string) => this.#agent!.joined(thread, memberId)
    if (settings.ioThreads > 1) return new IoThreads({ settings, connection, tools, models, live, onLeft, onJoined })
    const run = new ReplicaRun({
      settings,
      connection,
      tools,
      models: models.map(replicaModel),
      live,
      onLeft,
      onJoined: (_, memberId) => onJoined(1, memberId),
    })
    return {
      serve: signal => run.serve(signal),
      fail: error => run.fail(error),
      close: () => run.close(),
      status: () => run.status(),
      prepare: model => run.prepare(replicaModel(model)),
      adopt: next => run.adopt(next),
      retire: version => run.retire(version),
    }
  }

  /** They hang in runs of a version that was only a shadow, say: nobody was told. */
  #hungSessions(version: string): SluiceError | undefined {
    const hung = this.#shelf.opened(version)?.pool.hung
    return hung !== undefined && hung.count >= hung.most ? tooManyHang(hung) : undefined
  }

  #onLeft(version: string): void {
    void this.#shelf.left(version).then(() => {
      if (this.#shelf.opened(version) === undefined) this.#onSessions(version, undefined)
      this.#tools.log.info({ version }, 'the version was unloaded')
    })
  }

  /** What requests come to ends the answers to requests at most: records go on. */
  #onRequests(version: string, error: SluiceError | undefined): void {
    const { health, log } = this.#tools
    const condition = `requests-${version}`
    if (error === undefined) health.clearNote(condition)
    if (error?.code === 'requests-hung' || error?.response === 'exit') {
      health.clear(condition)
      health.note(condition, error)
      log.error({ version, error }, 'requests for a version are not answered any more; its records are')
    } else this.#onSessions(version, error, 'requests')
  }

  /** What the pool of a version says of its sessions as a whole. Of one that answers nobody it is only worth a line. */
  #onSessions(version: string, error: SluiceError | undefined, whose = 'session-pool'): void {
    const { health, log } = this.#tools
    const condition = `${whose}-${version}`
    const plan = this.#agent?.live.plan
    if (error === undefined) health.clear(condition)
    else if (plan !== undefined && !answers(plan, version))
      log.warn({ version, code: error.code, reason: error.message }, 'sessions of a version are in trouble')
    else if (error.response !== 'exit') health.set(condition, error)
    else if (this.#io === undefined) this.#early = error
    else this.#io.fail(error)
  }
}

const ROLLOUT_TOPIC = 'rollout-topic'

/**
 * Threads that rows of requests may leave hanging, of each version: enough to find one such row in a batch, and to meet the
 * next. Beside them the stream has all that a process bears.
 */
const MOST_HUNG_BY_REQUESTS = 4

/** Brokers that are there say within this what is rolled out. */
const ROLLOUT_PATIENCE_MS = 1_000

function chosen(stable: string): LivePlan {
  return { plan: { stable, shadows: [] }, revision: 0 }
}

function replicaModel({ spec, pool, sample }: ServedModel): ReplicaModel {
  return { spec, pool, probe: new Probe(spec, pool, sample) }
}
