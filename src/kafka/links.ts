import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { type ClusterTools, requireRelease } from './cluster.ts'
import { Coordinator } from './coordinator.ts'
import { partitionCount } from './offsets.ts'
import { isConnectionTrouble, protocolType, translate } from './protocol-errors.ts'

/**
 * Sets of connections that the producers of all tasks share. A broker serves one request of a connection at a time, and
 * a produce waits for the replicas: a few connections let partitions commit beside one another, without one for each.
 */
const PRODUCER_LINKS = 4

/** A set of connections for producing, with the coordinator of the group as seen through it. */
export interface ProducerLink {
  readonly cluster: KafkajsCluster
  readonly groupCoordinator: Coordinator
}

/** All connections of one replica, except those of its membership. */
export class KafkaLinks {
  readonly tools: ClusterTools
  /** For fetching, and for questions about logs and offsets. */
  readonly data: ProducerLink
  readonly #producers: readonly ProducerLink[]
  /** By partition. Assignors deal partitions out in a pattern, so their numbers would load the connections unevenly. */
  readonly #links = new Map<number, ProducerLink>()
  readonly #clock: Clock
  readonly #forgotten = new Set<string>()

  constructor(tools: ClusterTools, groupId: string, clock: Clock) {
    this.tools = tools
    this.#clock = clock
    const link = (): ProducerLink => {
      const cluster = tools.create()
      return { cluster, groupCoordinator: new Coordinator(cluster, 'group', groupId, clock) }
    }
    this.data = link()
    this.#producers = Array.from({ length: PRODUCER_LINKS }, link)
  }

  /** The connections for a partition's producer: always the same ones, and dealt out in turn, whatever its number. */
  producerLink(partition: number): ProducerLink {
    let link = this.#links.get(partition)
    if (link === undefined) {
      link = this.#producers[this.#links.size % this.#producers.length]!
      this.#links.set(partition, link)
    }
    return link
  }

  transactionCoordinator(link: ProducerLink, transactionalId: string): Coordinator {
    return new Coordinator(link.cluster, 'transaction', transactionalId, this.#clock)
  }

  /**
   * Connects and learns about the topics.
   * @throws SluiceError `broker-unreachable`, `topic-missing`, `not-authorised`, `authentication-failed`,
   *   `broker-too-old`
   */
  async connect(topics: readonly string[], exactlyOnce: boolean): Promise<void> {
    const all = [this.data, ...this.#producers]
    try {
      await this.data.cluster.connect()
      requireRelease(this.data.cluster, exactlyOnce)
      await this.#requireTopics(topics)
      await Promise.all(all.map(({ cluster }) => cluster.connect()))
      await Promise.all(all.map(({ cluster }) => cluster.addMultipleTargetTopics(topics)))
    } catch (error) {
      throw translate(error, 'connecting to the brokers', 'broker-unreachable')
    }
  }

  /**
   * Learns about one more topic, once connected; called again it looks whether that is still there.
   * @returns false where it does not exist: then it is as if it had never been followed
   * @throws SluiceError as `connect` does
   */
  async follow(topic: string): Promise<boolean> {
    try {
      if ((await partitionCount(this.data.cluster, topic)) === undefined) {
        this.forget(topic)
        return false
      }
      this.#forgotten.delete(topic)
      await Promise.all([this.data, ...this.#producers].map(({ cluster }) => cluster.addMultipleTargetTopics([topic])))
      return true
    } catch (error) {
      throw translate(error, `looking for topic ${topic}`, 'broker-unreachable')
    }
  }

  /**
   * A topic that is not needed any more, or cannot be used: it counts no partitions. A refresh of the metadata fails as a whole
   * where one of its topics was deleted, and would hold up all the others.
   */
  forget(topic: string): void {
    this.#forgotten.add(topic)
    for (const { cluster } of [this.data, ...this.#producers]) cluster.targetTopics.delete(topic)
  }

  /** Partitions of a topic as the metadata has it now; 0 while it has none, as when the connections are closed. */
  partitions(topic: string): number {
    if (this.#forgotten.has(topic)) return 0
    try {
      return this.data.cluster.findTopicPartitionMetadata(topic).length
    } catch (error) {
      if (isConnectionTrouble(error)) return 0
      throw error
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.data, ...this.#producers].map(({ cluster }) => cluster.disconnect()))
  }

  async #requireTopics(topics: readonly string[]): Promise<void> {
    const missing: string[] = []
    for (const topic of topics) {
      try {
        if ((await partitionCount(this.data.cluster, topic)) === undefined) missing.push(topic)
      } catch (error) {
        const type = protocolType(error)
        if (type !== 'TOPIC_AUTHORIZATION_FAILED') throw error
        throw new SluiceError('not-authorised', `Describing topic ${topic}: the broker answered ${type}.`, {
          cause: error,
        })
      }
    }
    if (missing.length === 0) return
    const what =
      missing.length === 1 ? `Topic ${missing[0]} does not exist.` : `Topics ${missing.join(', ')} do not exist.`
    throw new SluiceError('topic-missing', what)
  }
}
