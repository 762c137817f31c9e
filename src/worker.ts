import { connectionOptions } from './connection.ts'
import { Backoff } from './core/backoff.ts'
import type { PredictionEncoder } from './core/codec.ts'
import { SluiceError } from './core/errors.ts'
import { clusterTools } from './kafka/cluster.ts'
import { KafkaLinks } from './kafka/links.ts'
import type { WorkerStatus } from './ops/status.ts'
import type { PartitionTask } from './pipeline/partition-task.ts'
import { type ModelCodec, Replica, type WorkerSettings, type WorkerTools } from './replica.ts'
import { createDecoder, createEncoder, identityOf, openModel, openSchemas, type ServedModel } from './serving.ts'

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
  readonly #failure = Promise.withResolvers<never>()
  #model: ServedModel | undefined
  #replica: Replica | undefined

  /** @throws SluiceError `invalid-config` */
  constructor(settings: WorkerSettings, tools: WorkerTools) {
    this.#settings = settings
    this.#tools = tools
    // Whoever waits for it hears of it: one that comes while nobody does is no defect.
    this.#failure.promise.catch(() => {})
    const kafka = clusterTools(connectionOptions(settings), tools.log)
    this.#links = new KafkaLinks(kafka, settings.groupId, tools.clock)
  }

  /**
   * Serves until `signal` is aborted, then drains, commits and leaves the group.
   * @throws SluiceError with response `exit` when going on cannot help; everything is closed by then
   */
  async run(signal: AbortSignal): Promise<void> {
    const { health, log, clock } = this.#tools
    health.enter('STARTING')
    try {
      this.#model = await openModel(this.#settings, {
        log,
        clock,
        telemetry: version => this.#tools.metrics.pool(version),
        onCondition: error => this.#onSessions(error),
      })
      const codec = await this.#connect(this.#model, signal)
      if (codec !== undefined) await this.#serve(this.#model, codec, signal)
    } finally {
      health.enter('DRAINING')
      const closing = Promise.all([this.#model?.close(), this.#links.close()])
      await this.#within(CLOSE_TIMEOUT_MS, closing)
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
      model: model === undefined ? null : identityOf(model.spec),
      sessions:
        model === undefined ? null : { size: model.pool.size, busy: model.pool.size - model.pool.idle, spec: sessions },
      partitions: (this.#replica?.tasks ?? []).map(partitionStatus),
    }
  }

  /** Waits for brokers, topics and registry. Undefined when the worker is stopped meanwhile. */
  async #connect(model: ServedModel, signal: AbortSignal): Promise<ModelCodec | undefined> {
    const { inputTopic, outputTopic, deadLetterTopic, processingGuarantee, outputFormat } = this.#settings
    const topics = [inputTopic, outputTopic, deadLetterTopic]
    const { clock, log } = this.#tools
    // What is wrong with the formats shows at once, not only when a broker has answered.
    const schemas = await openSchemas(this.#settings, clock, log)
    const decoder = await createDecoder(this.#settings, model.spec, schemas, clock)
    const connected = await this.#waitFor('brokers', signal, () =>
      this.#links.connect(topics, processingGuarantee === 'exactly-once'),
    )
    if (!connected) return undefined
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

  /** What the pool says of its sessions as a whole. */
  #onSessions(error: SluiceError | undefined): void {
    const { health } = this.#tools
    if (error === undefined) health.clear('session-pool')
    else if (error.response === 'exit') this.#failure.reject(error)
    else health.set('session-pool', error)
  }

  async #serve(model: ServedModel, codec: ModelCodec, signal: AbortSignal): Promise<void> {
    const replica = new Replica({
      settings: this.#settings,
      tools: this.#tools,
      links: this.#links,
      model,
      codec,
      onFailed: this.#failure.reject,
    })
    this.#replica = replica
    replica.start()
    try {
      await Promise.race([stopped(signal), this.#failure.promise])
    } finally {
      this.#tools.health.enter('DRAINING')
      await this.#drain(replica)
      await this.#within(CLOSE_TIMEOUT_MS, replica.close())
    }
  }

  async #drain(replica: Replica): Promise<void> {
    const { drainTimeoutMs } = this.#settings
    if (await this.#within(drainTimeoutMs, replica.drain())) return
    this.#tools.log.warn({ drainTimeoutMs }, 'draining takes too long: what is in flight is left to the next owner')
    replica.abort()
  }

  /** Waits for `work`, but no longer than `limitMs`. Returns whether it was done in time. */
  async #within(limitMs: number, work: Promise<unknown>): Promise<boolean> {
    const cut = new AbortController()
    const late = this.#tools.clock.sleep(limitMs, cut.signal).then(() => false)
    const inTime = await Promise.race([late, work.then(() => true)])
    cut.abort()
    return inTime
  }
}

/** How long brokers that do not answer may hold up the end; they notice that a member is gone by its session. */
const CLOSE_TIMEOUT_MS = 3_000

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
