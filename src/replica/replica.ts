import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import type { Comparison } from '../core/comparison.ts'
import { asSluiceError, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { TimelineRange } from '../core/timeline-ranges.ts'
import { Fetcher } from '../kafka/fetcher.ts'
import type { KafkaLinks } from '../kafka/links.ts'
import { type Assignment, Membership } from '../kafka/membership.ts'
import type { PartitionLog } from '../kafka/partition-log.ts'
import { type HealthReporter, tellHealth } from '../ops/health.ts'
import type { Metrics } from '../ops/metrics.ts'
import { AssignedTasks } from '../pipeline/assignment.ts'
import { CommitTurns } from '../pipeline/commit-turns.ts'
import { InFlightBudget } from '../pipeline/in-flight.ts'
import { PartitionTask } from '../pipeline/partition-task.ts'
import { RateLimit } from '../pipeline/rate-limit.ts'
import type { LivePlan, ServedVersions } from '../serving/served-versions.ts'
import { createCommitter, type ReplayPart, shadowTopicOf } from './committing.ts'

/** Settings of a worker, after `loadSettings` with these required. */
export type WorkerSettings = Settings & {
  readonly inputTopic: string
  readonly outputTopic: string
  readonly deadLetterTopic: string
  readonly modelName: string
}

export interface ReplicaTools {
  readonly log: Log
  readonly clock: Clock
  readonly health: HealthReporter
  readonly metrics: Metrics
}

/** How a replica begins that does not stand alone. */
export interface ReplicaStart {
  /** Told of each generation of the group that this member has joined, and under which id. */
  readonly onJoined?: (generationId: number, memberId: string) => void
  /** No task begins before this has resolved; until then the group may assign other partitions. Left out: at once. */
  readonly mayBegin?: Promise<void>
  /** Nothing of this replica waits for a version any more that its plan does not name. */
  readonly onLeft?: (version: string) => void
  readonly replay?: ReplayJob | undefined
}

/** What a replica does that replays. */
export interface ReplayJob extends ReplayPart {
  /** What answers each record; left out, the plan does. */
  readonly timeline?: readonly TimelineRange[] | undefined
  /** Of this replica; as many as it can unless given. */
  readonly recordsPerSecond?: number | undefined
  /** Of a partition, for one task. */
  readonly comparison?: ((partition: number) => Comparison) | undefined
}

interface ReplicaOptions extends ReplicaStart {
  readonly settings: WorkerSettings
  readonly tools: ReplicaTools
  readonly links: KafkaLinks
  /** A plan is in effect. */
  readonly versions: Pick<
    ServedVersions,
    'serving' | 'servingAt' | 'adopt' | 'retire' | 'retired' | 'close' | 'closeAll'
  >
  /** An error that ends the worker. */
  readonly onFailed: (error: SluiceError) => void
}

/** The journey of a record, assembled: membership assigns, the fetcher feeds the tasks, one batcher a model version serves them all. */
export class Replica {
  readonly #options: ReplicaOptions
  /** What the tasks read, by partition: their committers find it out, the fetcher reads from it. */
  readonly #logs = new Map<number, PartitionLog>()
  readonly #fetcher: Fetcher
  readonly #inFlight: InFlightBudget
  readonly #turns: CommitTurns
  readonly #rate: RateLimit | undefined
  readonly #tasks: AssignedTasks
  readonly #membership: Membership
  #begun: boolean
  /** What the group has assigned last. */
  #assignment: Assignment | undefined
  /** Partitions of the first assignment whose tasks have neither begun to run nor said why they cannot. */
  #unheard: Set<number> | undefined
  readonly #closing = new AbortController()
  /** While the topic of the shadows is looked for. */
  #shadowing: Promise<void> | undefined
  #shadowsRefused = false

  constructor(options: ReplicaOptions) {
    this.#options = options
    this.#begun = options.mayBegin === undefined
    this.#fetcher = this.#createFetcher()
    const { settings, tools } = options
    this.#inFlight = new InFlightBudget(
      { records: settings.maxInFlightRecordsTotal, bytes: settings.maxInFlightBytesTotal },
      { records: settings.maxInFlightRecords, bytes: settings.maxInFlightBytes },
    )
    this.#turns = new CommitTurns(settings.maxConcurrentCommits, tools.clock)
    const rate = options.replay?.recordsPerSecond
    this.#rate = rate === undefined ? undefined : new RateLimit(rate, tools.clock, () => this.#fetcher.wake())
    this.#tasks = this.#createTasks()
    this.#membership = this.#createMembership()
  }

  get tasks(): PartitionTask[] {
    return this.#tasks.tasks
  }

  /** Joins the group; the rest follows from what it assigns. */
  start(): void {
    this.#shadow()
    this.#membership.start()
    void this.#options.mayBegin?.then(() => {
      this.#begun = true
      this.#followAssignment()
    })
  }

  /** Another plan answers the records that are decoded from now on. */
  adopt(live: LivePlan): void {
    const { versions, tools } = this.#options
    versions.adopt(live)
    tools.log.info({ ...live.plan, revision: live.revision }, 'these versions answer from now on')
    this.#shadow()
    for (const task of this.tasks) task.switched()
  }

  /** The version is of no plan any more: `onLeft` tells when nothing waits for it. */
  retire(version: string): void {
    const { versions, onLeft } = this.#options
    if (versions.retire(version)) this.#review()
    else onLeft?.(version)
  }

  #review(): void {
    const { versions, onLeft } = this.#options
    for (const version of versions.retired) {
      if (this.tasks.some(task => task.uses(version))) continue
      versions.close(version.name)
      onLeft?.(version.name)
    }
  }

  #shadow(): void {
    if (this.#options.versions.serving.shadows.length > 0) this.#shadowing ??= this.#followShadows()
  }

  /**
   * While a plan has shadows their topic is looked for again and again: it may be made later, be deleted, or be refused. Nothing is
   * shadowed without it, and nothing else waits for it. Never rejects.
   */
  async #followShadows(): Promise<void> {
    const { links, settings, tools, versions } = this.#options
    const topic = shadowTopicOf(settings.outputTopic)
    let told = ''
    while (!this.#closing.signal.aborted && versions.serving.shadows.length > 0) {
      const refused = this.#shadowsRefused
      this.#shadowsRefused = false
      const there = refused || (await links.follow(topic).catch(error => asSluiceError(error, 'broker-unreachable')))
      const reason = refused
        ? 'it was refused'
        : there === false
          ? 'it does not exist'
          : there === true
            ? ''
            : there.message
      if (reason !== '') links.forget(topic)
      if (reason !== '' && reason !== told)
        tools.log.warn({ topic, reason }, 'the topic of the shadows cannot be written to')
      told = reason
      await tools.clock.sleep(refused ? REFUSED_SHADOWS_MS : BETWEEN_LOOKS_MS, this.#closing.signal)
    }
    links.forget(topic)
    this.#shadowing = undefined
  }

  /** At once: what starts over must not ask for the topic again. */
  #onShadowsRefused(): void {
    const { links, settings } = this.#options
    this.#shadowsRefused = true
    links.forget(shadowTopicOf(settings.outputTopic))
  }

  /** Commits what is in the pipeline and ends all tasks. */
  async drain(): Promise<void> {
    await this.#tasks.drain()
  }

  /** Ends all tasks without what is in the pipeline. */
  abort(): void {
    this.#tasks.abort()
  }

  /** Leaves the group and stops fetching; the tasks have ended before. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.#rate?.close()
    this.#options.versions.closeAll()
    await Promise.all([this.#fetcher.close(), this.#membership.close()])
  }

  /** Reports what keeps a part of the replica from working, under a name of its own. */
  #condition(name: string): (error: SluiceError | undefined) => void {
    const { tools, onFailed } = this.#options
    return error => tellHealth(tools.health, name, error, onFailed)
  }

  #createFetcher(): Fetcher {
    const { settings, tools, links } = this.#options
    return new Fetcher({
      cluster: links.data.cluster,
      topic: settings.inputTopic,
      logs: this.#logs,
      clock: tools.clock,
      maxWaitMs: settings.fetchMaxWaitMs,
      maxPartitionBytes: settings.fetchMaxBytes,
      onCondition: (nodeId, error) => this.#condition(`fetch-from-broker-${nodeId}`)(error),
    })
  }

  #createTasks(): AssignedTasks {
    const { tools, onFailed } = this.#options
    return new AssignedTasks({
      createTask: (partition, limit) => this.#createTask(partition, limit),
      onTask: task => this.#fetcher.add(task),
      onTaskGone: task => {
        this.#fetcher.remove(task)
        tools.health.clear(conditionOf(task.partition))
        tools.metrics.halted(task.topic, task.partition, undefined)
      },
      confirm: () => this.#membership.confirm(),
      onFailed,
      log: tools.log,
      clock: tools.clock,
    })
  }

  #createTask(partition: number, limit: <T>(initialise: () => Promise<T>) => Promise<T>): PartitionTask {
    const { settings, tools, links, versions, replay } = this.#options
    const { inputTopic: topic } = settings
    const { clock } = tools
    const { model, stable } = versions.serving.said
    const log = tools.log.child({ partition })
    const generation = () => this.#membership.current
    const renounce = (memberId: string) => this.#membership.renounce(memberId)
    tools.metrics.halted(topic, partition, false)
    return new PartitionTask({
      serving: offset => versions.servingAt(partition, offset),
      topic,
      partition,
      committer: createCommitter(settings, partition, {
        links,
        clock,
        log,
        generation,
        renounce,
        logs: this.#logs,
        replay,
      }),
      telemetry: tools.metrics.partition({ topic, partition, model, version: stable.version }),
      log,
      clock,
      inFlight: this.#inFlight,
      rate: this.#rate,
      comparison: replay?.comparison?.(partition),
      turns: this.#turns,
      maxOutputBytes: settings.maxOutputBytes,
      commitIntervalMs: settings.commitIntervalMs,
      limit,
      onCondition: error => {
        this.#condition(conditionOf(partition))(error)
        // A replay has an end: one that waits for somebody to decide would never come to it.
        if (replay !== undefined && error?.response === 'halt') this.#options.onFailed(error)
        tools.metrics.halted(topic, partition, error?.response === 'halt')
        this.#heard(partition)
      },
      onWanted: () => {
        this.#fetcher.wake()
        this.#heard(partition)
      },
      onServed: () => this.#review(),
      onShadowsRefused: () => this.#onShadowsRefused(),
    })
  }

  /** The worker runs once every partition of its first assignment is worked on, has said what keeps it, or has moved on. */
  #heard(partition?: number): void {
    if (this.#unheard === undefined) return
    if (partition !== undefined) this.#unheard.delete(partition)
    const { health } = this.#options.tools
    if (this.#unheard.size === 0 && health.state === 'STARTING') health.enter('RUNNING') // and never back from DRAINING
  }

  #followAssignment(): void {
    if (!this.#begun || this.#assignment === undefined) return
    const { partitions, continuous } = this.#assignment
    this.#unheard = new Set([...(this.#unheard ?? partitions)].filter(p => partitions.includes(p)))
    this.#tasks.assign(partitions, continuous)
    this.#heard()
  }

  #createMembership(): Membership {
    const { settings, tools, links, replay, onFailed } = this.#options
    return new Membership({
      tools: links.tools,
      groupId: settings.groupId,
      topic: settings.inputTopic,
      sessionTimeoutMs: settings.sessionTimeoutMs,
      rebalanceTimeoutMs: settings.rebalanceTimeoutMs,
      clock: tools.clock,
      log: tools.log,
      onAssigned: assignment => {
        tools.metrics.rebalanced()
        const stranger = assignment.partitions.find(partition => partition >= (replay?.ranges.length ?? Infinity))
        if (stranger !== undefined) return onFailed(notPlanned(settings.inputTopic, stranger))
        this.#assignment = assignment
        this.#options.onJoined?.(assignment.generationId, assignment.memberId)
        this.#followAssignment()
      },
      onCondition: this.#condition('group'),
    })
  }
}

/** From one look for the topic of the shadows to the next; after it was refused. */
const BETWEEN_LOOKS_MS = 5_000
const REFUSED_SHADOWS_MS = 60_000

function notPlanned(topic: string, partition: number): SluiceError {
  const message = `${topic} has got more partitions since the replay was planned: ${partition} is not among them.`
  return new SluiceError('replay-range', message)
}

const conditionOf = (partition: number) => `partition-${partition}`
