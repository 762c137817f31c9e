import { connectionOptions } from '../connection.ts'
import type { Clock } from '../core/clock.ts'
import type { Comparison } from '../core/comparison.ts'
import { asSluiceError, type SluiceError } from '../core/errors.ts'
import { type Log, silentLog } from '../core/log.ts'
import type { ModelSpec } from '../core/model.ts'
import { ownColumn } from '../core/tensor.ts'
import { clusterTools } from '../kafka/cluster.ts'
import { translate } from '../kafka/protocol-errors.ts'
import type { WorkerSettings } from '../replica/replica.ts'
import { createPredictionDecoder, openSchemas } from '../serving/formats.ts'
import { topicViewOf } from '../topic-views.ts'
import { LiveAnswers } from './live-answers.ts'

interface ComparingOptions {
  readonly settings: WorkerSettings
  /** The live group's output. */
  readonly live: string
  /** Of the versions that are replayed. */
  readonly specs: readonly ModelSpec[]
  readonly clock: Clock
  readonly log: Log
  /** An error after which nothing can be compared. */
  readonly onFailed: (error: SluiceError) => void
}

/** Compares the partitions of a replay with what the live group said, over connections of its own. */
export class Comparing {
  readonly #cluster: KafkajsCluster
  readonly #create: (partition: number) => Comparison

  private constructor(cluster: KafkajsCluster, create: (partition: number) => Comparison) {
    this.#cluster = cluster
    this.#create = create
  }

  /** @throws SluiceError */
  static async open({ settings, live: topic, specs, clock, log, onFailed }: ComparingOptions): Promise<Comparing> {
    const cluster = clusterTools(connectionOptions(settings), silentLog).create()
    try {
      await cluster.connect()
      const live = await topicViewOf(cluster, topic, clock)
      const schemas = await openSchemas(settings, clock, log)
      const [spec] = specs
      const decoder = createPredictionDecoder(settings, spec!, schemas, clock)
      const named = new Map(specs.map(each => [each.version, each]))
      return new Comparing(cluster, partition => {
        const columns = spec!.outputs.map(output => ownColumn(output, 1))
        return new LiveAnswers({
          live,
          inputTopic: settings.inputTopic,
          partition,
          decoder,
          columns,
          specs: named,
          clock,
          onTrouble: message => log.warn({ topic }, message),
          onFailed: error => onFailed(asSluiceError(error, 'internal')),
        })
      })
    } catch (error) {
      await cluster.disconnect()
      throw translate(error, `looking at ${topic}`, 'broker-unreachable')
    }
  }

  /** For one task. */
  of(partition: number): Comparison {
    return this.#create(partition)
  }

  /** Never throws. */
  async close(): Promise<void> {
    await this.#cluster.disconnect().catch(() => {})
  }
}
