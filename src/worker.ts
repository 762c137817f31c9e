import type { Settings } from './config/settings.ts'
import { connectionOptions } from './connection.ts'
import { Backoff } from './core/backoff.ts'
import type { Clock } from './core/clock.ts'
import type { FeatureDecoder, PredictionEncoder } from './core/codec.ts'
import { SluiceError } from './core/errors.ts'
import type { Log } from './core/log.ts'
import type { Committer } from './core/transaction.ts'
import { AtLeastOnceCommitter } from './kafka/at-least-once-committer.ts'
import { Fetcher } from './kafka/fetcher.ts'
import { KafkaLinks } from './kafka/links.ts'
import { type Assignment, Membership } from './kafka/membership.ts'
import { KafkaOutputWriter } from './kafka/output-writer.ts'
import { StartPolicy } from './kafka/start-policy.ts'
import { TransactionalCommitter } from './kafka/transactional-committer.ts'
import { TransactionalProducer } from './kafka/transactional-producer.ts'
import type { Health } from './ops/health.ts'
import type { Metrics } from './ops/metrics.ts'
import type { WorkerStatus } from './ops/status.ts'
import { AssignedTasks } from './pipeline/assignment.ts'
import { Batcher } from './pipeline/batcher.ts'
import { PartitionTask } from './pipeline/partition-task.ts'
import { createDecoder, createEncoder, openModel, openSchemas, type ServedModel } from './serving.ts'

/** Settings of a worker, after `loadSettings` with these required. */
export type WorkerSettings = Settings & {
  readonly inputTopic: string
  readonly outputTopic: string
  readonly deadLetterTopic: string
  readonly modelName: string
}

export interface WorkerTools {
  readonly log: Log
  readonly clock: Clock
  readonly health: Health
  readonly metrics: Metrics
}

/**
 * One replica.
 *
 *   CREATED ─▶ STARTING ─▶ RUNNING ─▶ DRAINING ─▶ CLOSED
 *                 └───────────────────▲   (an error that ends it, or `signal`, at any time)
 *
 * STARTING waits as long as it takes for brokers, topics and the registry; what waiting cannot mend ends the worker.
 */
export class Worker {
  readonly #settings: WorkerSettings
  readonly #tools: WorkerTools
  readonly #links: KafkaLinks
  #model: ServedModel | undefined
  #tasks: AssignedTasks | undefined

  /** @throws SluiceError `invalid-config` */
  constructor(settings: WorkerSettings, tools: WorkerTools) {
    this.#settings = settings
    this.#tools = tools
    this.#links = new KafkaLinks(connectionOptions(settings), settings.groupId, tools.log, tools.clock)
  }

  /**
   * Serves until `signal` is aborted, then drains, commits and leaves the group.
   * @throws SluiceError with response `exit` when going on cannot help; everything is closed by then
   */
  async run(signal: AbortSignal): Promise<void> {
    const { health, log, clock } = this.#tools
    health.enter('STARTING')
    try {
      this.#model = await openModel(this.#settings, log, clock)
      const codec = await this.#connect(this.#model, signal)
      if (codec !== undefined) await this.#serve(this.#model, codec, signal)
    } finally {
      health.enter('DRAINING')
      await this.#model?.close()
      await this.#within(CLOSE_TIMEOUT_MS, this.#links.close())
      health.enter('CLOSED')
    }
  }

  /** For the status page. */
  status(): WorkerStatus {
    const { groupId, inputTopic, outputTopic, deadLetterTopic, processingGuarantee, sessions } = this.#settings
    const model = this.#model
    return {
      groupId,
      inputTopic,
      outputTopic,
      deadLetterTopic,
      guarantee: processingGuarantee,
      model: model === undefined ? null : identityOf(model),
      sessions:
        model === undefined ? null : { size: model.pool.size, busy: model.pool.size - model.pool.idle, spec: sessions },
      partitions: (this.#tasks?.tasks ?? []).map(partitionStatus),
    }
  }

  /** Waits for brokers, topics and registry. Undefined when the worker is stopped meanwhile. */
  async #connect(model: ServedModel, signal: AbortSignal): Promise<Codec | undefined> {
    const { inputTopic, outputTopic, deadLetterTopic, processingGuarantee, outputFormat } = this.#settings
    const topics = [inputTopic, outputTopic, deadLetterTopic]
    const connected = await this.#waitFor('brokers', signal, () =>
      this.#links.connect(topics, processingGuarantee === 'exactly-once'),
    )
    if (!connected) return undefined
    const { clock, log } = this.#tools
    const schemas = await openSchemas(this.#settings, clock, log)
    const decoder = await createDecoder(this.#settings, model.spec, schemas, clock)
    let encoder: PredictionEncoder | undefined
    await this.#waitFor('schemas', signal, async () => {
      encoder = await createEncoder(outputFormat, model.spec, outputTopic, schemas)
    })
    return encoder === undefined ? undefined : { decoder, encoder }
  }

  /** Tries until it works, and is not ready meanwhile. Returns false when the worker is stopped first. */
  async #waitFor(condition: string, signal: AbortSignal, attempt: () => Promise<void>): Promise<boolean> {
    const { health, clock } = this.#tools
    const backoff = new Backoff(200, 5_000)
    while (!signal.aborted) {
      try {
        await attempt()
        health.clear(condition)
        return true
      } catch (error) {
        if (!(error instanceof SluiceError) || error.response === 'exit') throw error
        health.set(condition, error)
        await clock.sleep(backoff.next(), signal)
      }
    }
    return false
  }

  async #serve(model: ServedModel, codec: Codec, signal: AbortSignal): Promise<void> {
    const { clock, log, health, metrics } = this.#tools
    const settings = this.#settings
    const failure = Promise.withResolvers<never>()
    const condition = (key: string) => (error: SluiceError | undefined) => {
      if (error?.response === 'exit') failure.reject(error)
      else if (error === undefined) health.clear(key)
      else health.set(key, error)
    }
    const fetcher = new Fetcher({
      cluster: this.#links.data.cluster,
      topic: settings.inputTopic,
      clock,
      maxWaitMs: settings.fetchMaxWaitMs,
      maxPartitionBytes: settings.fetchMaxBytes,
      onCondition: (nodeId, error) => condition(`fetch-from-broker-${nodeId}`)(error),
    })
    const batcher = new Batcher({
      pool: model.pool,
      model: identityOf(model),
      maxQueueDelayMs: settings.maxQueueDelayMs,
      telemetry: metrics.batcher({ model: model.spec.name, version: model.spec.version }),
      clock,
      probe: () => model.probe(),
      onCondition: condition('sessions'),
    })
    const tasks = new AssignedTasks({
      createTask: (partition, limit) =>
        new PartitionTask({
          ...codec,
          topic: settings.inputTopic,
          partition,
          committer: this.#createCommitter(partition, () => membership.current),
          batcher,
          telemetry: metrics.partition({
            topic: settings.inputTopic,
            partition,
            model: model.spec.name,
            version: model.spec.version,
          }),
          log: log.child({ partition }),
          clock,
          maxInFlight: settings.maxInFlightRecords,
          maxOutputBytes: settings.maxOutputBytes,
          commitIntervalMs: settings.commitIntervalMs,
          limit,
          onCondition: condition(conditionOf(partition)),
          onWanted: () => fetcher.wake(),
        }),
      onTask: task => fetcher.add(task),
      onTaskGone: task => {
        fetcher.remove(task)
        health.clear(conditionOf(task.partition))
      },
      confirm: () => membership.confirm(),
      onFailed: error => failure.reject(error),
      log,
      clock,
    })
    this.#tasks = tasks
    const membership: Membership = new Membership({
      tools: this.#links.tools,
      groupId: settings.groupId,
      topic: settings.inputTopic,
      sessionTimeoutMs: settings.sessionTimeoutMs,
      rebalanceTimeoutMs: settings.rebalanceTimeoutMs,
      clock,
      log,
      onAssigned: ({ partitions, continuous }) => {
        metrics.rebalanced()
        tasks.assign(partitions, continuous)
        health.enter('RUNNING')
      },
      onCondition: condition('group'),
    })
    membership.start()
    try {
      await Promise.race([stopped(signal), failure.promise])
    } finally {
      health.enter('DRAINING')
      await this.#drain(tasks)
      batcher.close()
      await this.#within(CLOSE_TIMEOUT_MS, Promise.all([fetcher.close(), membership.close()]))
    }
  }

  async #drain(tasks: AssignedTasks): Promise<void> {
    const { log } = this.#tools
    const { drainTimeoutMs } = this.#settings
    if (!(await this.#within(drainTimeoutMs, tasks.drain()))) {
      log.warn({ drainTimeoutMs }, 'draining takes too long: what is in flight is left to the next owner')
      tasks.abort()
    }
  }

  /** Waits for `work`, but no longer than `limitMs`. Returns whether it was done in time. */
  async #within(limitMs: number, work: Promise<unknown>): Promise<boolean> {
    const cut = new AbortController()
    const late = this.#tools.clock.sleep(limitMs, cut.signal).then(() => false)
    const inTime = await Promise.race([late, work.then(() => true)])
    cut.abort()
    return inTime
  }

  #createCommitter(partition: number, generation: () => Assignment | undefined): Committer {
    const { groupId, inputTopic: topic, processingGuarantee, requestTimeoutMs, transactionTimeoutMs } = this.#settings
    const { clock } = this.#tools
    const { cluster, groupCoordinator } = this.#links.producerLink(partition)
    const output = this.#createOutput()
    const { startFrom, onOffsetLoss } = this.#settings
    const shared = { groupId, topic, partition, groupCoordinator, requestTimeoutMs }
    const start = new StartPolicy({ ...shared, cluster: this.#links.data.cluster, startFrom, onOffsetLoss, generation })
    if (processingGuarantee === 'at-least-once') {
      return new AtLeastOnceCommitter({ ...shared, cluster, output, start, clock, generation })
    }
    const transactionalId = `${groupId}.${topic}.${partition}`
    const coordinator = this.#links.transactionCoordinator({ cluster, groupCoordinator }, transactionalId)
    const producer = new TransactionalProducer({
      ...shared,
      cluster,
      transactionalId,
      transactionTimeoutMs,
      clock,
      coordinator,
    })
    return new TransactionalCommitter({ topic, partition, producer, output, start })
  }

  #createOutput(): KafkaOutputWriter {
    const { inputTopic, outputTopic, deadLetterTopic, maxOutputBytes } = this.#settings
    return new KafkaOutputWriter({
      outputTopic,
      deadLetterTopic,
      partitionCounts: {
        input: this.#links.partitions(inputTopic),
        output: this.#links.partitions(outputTopic),
        deadLetter: this.#links.partitions(deadLetterTopic),
      },
      clock: this.#tools.clock,
      maxBatchBytes: maxOutputBytes,
    })
  }
}

interface Codec {
  readonly decoder: FeatureDecoder
  readonly encoder: PredictionEncoder
}

/** How long brokers that do not answer may hold up the end; they notice that a member is gone by its session. */
const CLOSE_TIMEOUT_MS = 3_000

const conditionOf = (partition: number) => `partition-${partition}`

function identityOf({ spec: { name, version, sha256 } }: ServedModel) {
  return { name, version, sha256 }
}

function partitionStatus(task: PartitionTask) {
  const { position, committedOffset, inFlight, endOffset, paused } = task.progress
  const known = task.state === 'RUNNING' || task.state === 'DRAINING'
  return {
    topic: task.topic,
    partition: task.partition,
    state: task.state,
    position: known ? position : null,
    committed: known ? committedOffset : null,
    lag: known ? Math.max(0, endOffset - committedOffset) : null,
    inFlight,
    paused,
  }
}

function stopped(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
