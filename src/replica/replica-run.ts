import { Backoff } from '../core/backoff.ts'
import type { FeatureDecoder } from '../core/codec.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import { aborted, within } from '../core/waiting.ts'
import { type ConnectionOptions, clusterTools } from '../kafka/cluster.ts'
import { KafkaLinks } from '../kafka/links.ts'
import { createTopics, timelineTopicRequest } from '../kafka/topics.ts'
import { tellHealth } from '../ops/health.ts'
import type { IoStatus, PartitionStatus } from '../ops/status.ts'
import type { PartitionTask } from '../pipeline/partition-task.ts'
import { createDecoder, openSchemas } from '../serving/formats.ts'
import { type LivePlan, type ReplicaModel, ServedVersions } from '../serving/served-versions.ts'
import { Replica, type ReplicaStart, type ReplicaTools, type WorkerSettings } from './replica.ts'

/** For a topic that was just created. */
const MOST_LOOKS = 50
const BETWEEN_LOOKS_MS = 40

/** How long brokers that do not answer may hold up the end; they notice that a member is gone by its session. */
export const CLOSE_TIMEOUT_MS = 3_000

export interface ReplicaRunOptions extends ReplicaStart {
  readonly settings: WorkerSettings
  readonly connection: ConnectionOptions
  readonly tools: ReplicaTools
  /** The versions of `live`, at least. */
  readonly models: readonly ReplicaModel[]
  readonly live: LivePlan
  /** Told at once of the error that ends it; `serve` throws it later, once all is drained. */
  readonly onFailed?: (error: Error) => void
}

/**
 * One member of the group on its thread, from the first connection to the last commit: waits as long as it takes for brokers,
 * topics and the registry, serves what the group assigns, and drains. What waiting cannot mend ends it.
 */
export class ReplicaRun {
  readonly #options: ReplicaRunOptions
  readonly #links: KafkaLinks
  readonly #failure = Promise.withResolvers<never>()
  readonly #versions = Promise.withResolvers<ServedVersions>()
  #live: LivePlan
  #replica: Replica | undefined

  constructor(options: ReplicaRunOptions) {
    const { settings, connection, tools } = options
    this.#options = options
    this.#live = options.live
    this.#links = new KafkaLinks(clusterTools(connection, tools.log), settings.groupId, tools.clock)
    // Whoever waits for it hears of it: one that comes while nobody does is no defect.
    this.#failure.promise.catch(() => {})
    this.#versions.promise.catch(() => {})
  }

  /**
   * Serves until `signal` is aborted, then drains, commits and leaves the group.
   * @throws SluiceError with response `exit` when going on cannot help
   */
  async serve(signal: AbortSignal): Promise<void> {
    const versions = await this.#connect(signal)
    if (versions === undefined) return
    const timeline = this.#options.replay?.timeline
    if (timeline === undefined) versions.adopt(this.#live)
    else versions.adoptTimeline(timeline)
    this.#versions.resolve(versions)
    const replica = new Replica({ ...this.#options, links: this.#links, versions, onFailed: error => this.fail(error) })
    this.#replica = replica
    replica.start()
    try {
      await Promise.race([aborted(signal), this.#failure.promise])
    } finally {
      this.#options.tools.health.enter('DRAINING')
      await this.#drain(replica)
      await within(this.#options.tools.clock, CLOSE_TIMEOUT_MS, replica.close())
    }
  }

  /** Ends it, because of an error that may have come from elsewhere; the first one counts. */
  fail(error: SluiceError): void {
    this.#failure.reject(error)
    this.#options.onFailed?.(error)
  }

  /**
   * Makes a version ready to answer here; waits until this thread is connected.
   * @throws SluiceError where it cannot answer here, or the thread ends
   */
  async prepare(model: ReplicaModel): Promise<void> {
    await (await this.#versions.promise).prepare(model)
  }

  /** This plan answers from now on, each partition between two transactions; its versions are prepared. */
  adopt(live: LivePlan): void {
    this.#live = live
    this.#replica?.adopt(live)
  }

  /** The version is of no plan any more: `onLeft` tells when nothing waits for it. */
  retire(version: string): void {
    if (this.#replica === undefined) this.#options.onLeft?.(version)
    else this.#replica.retire(version)
  }

  /** Closes the connections. */
  close(): Promise<void> {
    this.#versions.reject(new SluiceError('session-crashed', 'The worker ends.'))
    return this.#links.close()
  }

  status(): IoStatus {
    const partitions = (this.#replica?.tasks ?? []).map(partitionStatus)
    return { totals: this.#options.tools.metrics.totals, partitions }
  }

  /** Waits for brokers, topics and registry. Undefined when it is stopped meanwhile. */
  async #connect(signal: AbortSignal): Promise<ServedVersions | undefined> {
    const { settings, models, tools } = this.#options
    const { clock, log } = tools
    // What is wrong with the formats shows at once, not only when a broker has answered.
    const schemas = await openSchemas(settings, clock, log)
    const decoders: FeatureDecoder[] = []
    for (const { spec } of models) decoders.push(await createDecoder(settings, spec, schemas, clock))
    const connected = await this.#waitFor('brokers', signal, async () => {
      await this.#links.connect(topicsOf(settings), settings.processingGuarantee === 'exactly-once')
      await this.#followTimeline()
    })
    if (!connected) return undefined
    const onCondition = (version: string, error: SluiceError | undefined) =>
      tellHealth(tools.health, `sessions-${version}`, error, fatal => this.fail(fatal))
    const versions = new ServedVersions({ settings, schemas, ...tools, onCondition })
    for (const [i, model] of models.entries()) {
      if (!(await this.#waitFor('schemas', signal, () => versions.prepare(model, decoders[i])))) return undefined
    }
    return versions
  }

  /** The worker makes the topic itself where it may: who has never rolled out anything need not know of it. */
  async #followTimeline(): Promise<void> {
    const { settings, connection, tools } = this.#options
    const { timelineTopic: topic } = settings
    if (await this.#links.follow(topic)) return
    const refusal = await createTopics(connection, [timelineTopicRequest(topic)]).then(
      () => '',
      error => ` The broker does not let the worker create it: ${messageOf(error)}.`,
    )
    if (refusal === '') tools.log.info({ topic }, 'the topic of the timeline was created')
    // The broker that is asked may hear of it a moment after the one that has made it.
    for (let look = 0; look < MOST_LOOKS; look++) {
      if (await this.#links.follow(topic)) return
      if (refusal !== '') break
      await tools.clock.sleep(BETWEEN_LOOKS_MS)
    }
    throw new SluiceError('topic-missing', `Topic ${topic}, the timeline, does not exist.${refusal}`)
  }

  /** Tries until it works, and is not ready meanwhile. Returns false when it is stopped first. */
  async #waitFor(condition: string, signal: AbortSignal, attempt: () => Promise<void>): Promise<boolean> {
    const { health, clock } = this.#options.tools
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

  async #drain(replica: Replica): Promise<void> {
    const { settings, tools } = this.#options
    const { drainTimeoutMs } = settings
    if (await within(tools.clock, drainTimeoutMs, replica.drain())) return
    tools.log.warn({ drainTimeoutMs }, 'draining takes too long: what is in flight is left to the next owner')
    replica.abort()
  }
}

function topicsOf({ inputTopic, outputTopic, deadLetterTopic }: WorkerSettings): string[] {
  return [inputTopic, outputTopic, deadLetterTopic]
}

function partitionStatus(task: PartitionTask): PartitionStatus {
  const { answers, position, committedOffset, inFlight, endOffset, paused } = task.progress
  const known = task.state === 'RUNNING' || task.state === 'DRAINING'
  return {
    topic: task.topic,
    partition: task.partition,
    state: task.state,
    answers,
    position: known ? position : null,
    committed: known ? committedOffset : null,
    lag: known ? Math.max(0, endOffset - committedOffset) : null,
    inFlight,
    paused,
  }
}
