import { Backoff } from './core/backoff.ts'
import type { PredictionEncoder } from './core/codec.ts'
import { SluiceError } from './core/errors.ts'
import { aborted, within } from './core/waiting.ts'
import { createDecoder, createEncoder, openSchemas } from './formats.ts'
import { type ConnectionOptions, clusterTools } from './kafka/cluster.ts'
import { KafkaLinks } from './kafka/links.ts'
import type { IoStatus, PartitionStatus } from './ops/status.ts'
import type { PartitionTask } from './pipeline/partition-task.ts'
import {
  type ModelCodec,
  Replica,
  type ReplicaModel,
  type ReplicaStart,
  type ReplicaTools,
  type WorkerSettings,
} from './replica.ts'

/** How long brokers that do not answer may hold up the end; they notice that a member is gone by its session. */
export const CLOSE_TIMEOUT_MS = 3_000

export interface ReplicaRunOptions extends ReplicaStart {
  readonly settings: WorkerSettings
  readonly connection: ConnectionOptions
  readonly tools: ReplicaTools
  readonly model: ReplicaModel
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
  #replica: Replica | undefined

  constructor(options: ReplicaRunOptions) {
    const { settings, connection, tools } = options
    this.#options = options
    this.#links = new KafkaLinks(clusterTools(connection, tools.log), settings.groupId, tools.clock)
    // Whoever waits for it hears of it: one that comes while nobody does is no defect.
    this.#failure.promise.catch(() => {})
  }

  /**
   * Serves until `signal` is aborted, then drains, commits and leaves the group.
   * @throws SluiceError with response `exit` when going on cannot help
   */
  async serve(signal: AbortSignal): Promise<void> {
    const codec = await this.#connect(signal)
    if (codec === undefined) return
    const replica = new Replica({ ...this.#options, links: this.#links, codec, onFailed: error => this.fail(error) })
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

  /** Closes the connections. */
  close(): Promise<void> {
    return this.#links.close()
  }

  status(): IoStatus {
    const partitions = (this.#replica?.tasks ?? []).map(partitionStatus)
    return { totals: this.#options.tools.metrics.totals, partitions }
  }

  /** Waits for brokers, topics and registry. Undefined when it is stopped meanwhile. */
  async #connect(signal: AbortSignal): Promise<ModelCodec | undefined> {
    const { settings, model, tools } = this.#options
    const { clock, log } = tools
    // What is wrong with the formats shows at once, not only when a broker has answered.
    const schemas = await openSchemas(settings, clock, log)
    const decoder = await createDecoder(settings, model.spec, schemas, clock)
    const connected = await this.#waitFor('brokers', signal, () =>
      this.#links.connect(topicsOf(settings), settings.processingGuarantee === 'exactly-once'),
    )
    if (!connected) return undefined
    let encoder: PredictionEncoder | undefined
    await this.#waitFor('schemas', signal, async () => {
      encoder = await createEncoder(settings.outputFormat, model.spec, settings.outputTopic, schemas)
    })
    return encoder === undefined ? undefined : { decoder, encoder }
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
