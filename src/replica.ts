import { createCommitter } from './committing.ts'
import type { Settings } from './config/settings.ts'
import type { Clock } from './core/clock.ts'
import type { FeatureDecoder, PredictionEncoder } from './core/codec.ts'
import type { SluiceError } from './core/errors.ts'
import type { SessionPool } from './core/inference.ts'
import type { Log } from './core/log.ts'
import { identityOf, type ModelSpec } from './core/model.ts'
import { Fetcher } from './kafka/fetcher.ts'
import type { KafkaLinks } from './kafka/links.ts'
import { type Assignment, Membership } from './kafka/membership.ts'
import type { PartitionLog } from './kafka/partition-log.ts'
import type { HealthReporter } from './ops/health.ts'
import type { Metrics } from './ops/metrics.ts'
import { AssignedTasks } from './pipeline/assignment.ts'
import { Batcher } from './pipeline/batcher.ts'
import { CommitTurns } from './pipeline/commit-turns.ts'
import { InFlightBudget } from './pipeline/in-flight.ts'
import { PartitionTask } from './pipeline/partition-task.ts'
import type { Probe } from './probe.ts'

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

/** A model version that is open somewhere, and what tells bad sessions from bad rows. */
export interface ReplicaModel {
  readonly spec: ModelSpec
  readonly pool: SessionPool
  readonly probe: Probe
}

/** What turns records into rows of the model, and rows into predictions. */
export interface ModelCodec {
  readonly decoder: FeatureDecoder
  readonly encoder: PredictionEncoder
}

/** How a replica begins that does not stand alone. */
export interface ReplicaStart {
  /** Told of each generation of the group that this member has joined. */
  readonly onJoined?: (generationId: number) => void
  /** No task begins before this has resolved; until then the group may assign other partitions. Left out: at once. */
  readonly mayBegin?: Promise<void>
}

interface ReplicaOptions extends ReplicaStart {
  readonly settings: WorkerSettings
  readonly tools: ReplicaTools
  readonly links: KafkaLinks
  readonly model: ReplicaModel
  readonly codec: ModelCodec
  /** An error that ends the worker. */
  readonly onFailed: (error: SluiceError) => void
}

/** The journey of a record, assembled: membership assigns, the fetcher feeds the tasks, one batcher serves them all. */
export class Replica {
  readonly #options: ReplicaOptions
  /** What the tasks read, by partition: their committers find it out, the fetcher reads from it. */
  readonly #logs = new Map<number, PartitionLog>()
  readonly #fetcher: Fetcher
  readonly #batcher: Batcher
  readonly #inFlight: InFlightBudget
  readonly #turns: CommitTurns
  readonly #tasks: AssignedTasks
  readonly #membership: Membership
  #begun: boolean
  /** What the group has assigned last. */
  #assignment: Assignment | undefined
  /** Partitions of the first assignment whose tasks have neither begun to run nor said why they cannot. */
  #unheard: Set<number> | undefined

  constructor(options: ReplicaOptions) {
    this.#options = options
    this.#begun = options.mayBegin === undefined
    this.#fetcher = this.#createFetcher()
    this.#batcher = this.#createBatcher()
    const { settings, tools } = options
    this.#inFlight = new InFlightBudget(
      { records: settings.maxInFlightRecordsTotal, bytes: settings.maxInFlightBytesTotal },
      { records: settings.maxInFlightRecords, bytes: settings.maxInFlightBytes },
    )
    this.#turns = new CommitTurns(settings.maxConcurrentCommits, tools.clock)
    this.#tasks = this.#createTasks()
    this.#membership = this.#createMembership()
  }

  get tasks(): PartitionTask[] {
    return this.#tasks.tasks
  }

  /** Joins the group; the rest follows from what it assigns. */
  start(): void {
    this.#membership.start()
    void this.#options.mayBegin?.then(() => {
      this.#begun = true
      this.#followAssignment()
    })
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
    this.#batcher.close()
    await Promise.all([this.#fetcher.close(), this.#membership.close()])
  }

  /** Reports what keeps a part of the replica from working, under a name of its own. */
  #condition(name: string): (error: SluiceError | undefined) => void {
    const { tools, onFailed } = this.#options
    return error => {
      if (error === undefined) tools.health.clear(name)
      else if (error.response === 'exit') onFailed(error)
      else tools.health.set(name, error)
    }
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

  #createBatcher(): Batcher {
    const { settings, tools, model } = this.#options
    const { name, version } = model.spec
    return new Batcher({
      pool: model.pool,
      model: identityOf(model.spec),
      maxQueueDelayMs: settings.maxQueueDelayMs,
      targetLatencyMs: settings.targetLatencyMs,
      telemetry: tools.metrics.batcher({ model: name, version }),
      clock: tools.clock,
      probe: (session, by) => model.probe.run(session, by),
      onGood: slot => model.probe.learn(slot),
      onCondition: this.#condition('sessions'),
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
    const { settings, tools, links, model, codec } = this.#options
    const { inputTopic: topic } = settings
    const { name, version } = model.spec
    const { clock } = tools
    const log = tools.log.child({ partition })
    const generation = () => this.#membership.current
    const renounce = (memberId: string) => this.#membership.renounce(memberId)
    tools.metrics.halted(topic, partition, false)
    return new PartitionTask({
      ...codec,
      topic,
      partition,
      committer: createCommitter(settings, partition, { links, clock, log, generation, renounce, logs: this.#logs }),
      batcher: this.#batcher,
      telemetry: tools.metrics.partition({ topic, partition, model: name, version }),
      log,
      clock,
      inFlight: this.#inFlight,
      turns: this.#turns,
      maxOutputBytes: settings.maxOutputBytes,
      commitIntervalMs: settings.commitIntervalMs,
      limit,
      onCondition: error => {
        this.#condition(conditionOf(partition))(error)
        tools.metrics.halted(topic, partition, error?.response === 'halt')
        this.#heard(partition)
      },
      onWanted: () => {
        this.#fetcher.wake()
        this.#heard(partition)
      },
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
    const { settings, tools, links } = this.#options
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
        this.#assignment = assignment
        this.#options.onJoined?.(assignment.generationId)
        this.#followAssignment()
      },
      onCondition: this.#condition('group'),
    })
  }
}

const conditionOf = (partition: number) => `partition-${partition}`
