import type { Clock } from '../../../src/core/clock.ts'
import type { FakeBroker } from './fake-broker.ts'
import { FakeConnection, type Network } from './fake-connection.ts'
import type { FakeMetadata } from './partition-requests.ts'

/** How long metadata is used before it is asked for again: METADATA_MAX_AGE_MS's default. */
const METADATA_MAX_AGE_MS = 60_000

/**
 * A client's connections to all brokers, in the shape of kafkajs's `Cluster`. What kafkajs keeps between requests is kept
 * here, too, stale where it is stale there: the metadata, and the connections, which only new metadata replaces.
 */
export class FakeCluster implements KafkajsCluster {
  readonly brokerPool: KafkajsCluster['brokerPool']
  readonly #brokers: readonly FakeBroker[]
  readonly #clock: Clock
  readonly #connect: (broker: FakeBroker) => FakeConnection
  readonly #connections: Record<string, FakeConnection> = {}
  targetTopics = new Set<string>()
  #metadata: FakeMetadata | undefined
  #refreshing: Promise<void> | undefined
  #turn = 0

  constructor(brokers: readonly FakeBroker[], clock: Clock, clientId: string, network: Network) {
    this.#brokers = brokers
    this.#clock = clock
    this.#connect = broker => new FakeConnection(broker, clientId, network)
    const connect = (nodeId: number) => this.#connect(brokers[nodeId - 1]!)
    const logger: KafkajsLogger = { namespace: () => logger }
    this.brokerPool = {
      seedBroker: connect(1),
      brokers: this.#connections,
      rootLogger: logger,
      metadataExpireAt: null,
      connectionPoolBuilder: { build: async ({ port }) => connect(port).connectionPool },
      createBroker: ({ connectionPool }) => connect(connectionPool.port),
      findConnectedBroker: async () => this.brokerPool.seedBroker!,
      withBroker: ask => this.#withBroker(ask),
    }
    this.#reconnect()
  }

  async connect(): Promise<void> {}
  async disconnect(): Promise<void> {}

  isConnected(): boolean {
    return true
  }

  /** Kept by kafkajs's offset manager, which Sluice makes no use of. */
  committedOffsets(): Record<string, never> {
    return {}
  }

  refreshMetadata(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async refreshMetadataIfNecessary(): Promise<void> {
    const { metadataExpireAt } = this.brokerPool
    const known = new Set(this.#metadata?.map(({ topic }) => topic))
    const fresh = metadataExpireAt !== null && this.#clock.now() <= metadataExpireAt
    if (!fresh || [...this.targetTopics].some(topic => !known.has(topic))) await this.refreshMetadata()
  }

  async addMultipleTargetTopics(topics: readonly string[]): Promise<void> {
    const former = this.targetTopics
    this.targetTopics = new Set([...former, ...topics])
    if (this.targetTopics.size === former.size && this.#metadata !== undefined) return
    try {
      await this.refreshMetadata()
    } catch (error) {
      if ((error as { type?: string }).type === 'UNKNOWN_TOPIC_OR_PARTITION') this.targetTopics = former
      throw error
    }
  }

  async findBroker({ nodeId }: { nodeId: number | string }): Promise<KafkajsBroker> {
    const connection = this.#connections[nodeId]
    if (connection !== undefined) return connection
    await this.refreshMetadata()
    const message = `Broker ${nodeId} not found in the cached metadata`
    throw Object.assign(new Error(message), { name: 'KafkaJSBrokerNotFound' })
  }

  findTopicPartitionMetadata(topic: string): KafkajsPartitionMetadata[] {
    if (this.#metadata === undefined) {
      throw Object.assign(new Error('Topic metadata not loaded'), { name: 'KafkaJSTopicMetadataNotLoaded' })
    }
    return this.#metadata.find(known => known.topic === topic)?.partitionMetadata ?? []
  }

  async findGroupCoordinator(request: KafkajsCoordinatorRequest): Promise<KafkajsBroker> {
    return this.findBroker({ nodeId: await this.findGroupCoordinatorMetadata(request) })
  }

  /** Node id of the coordinator. */
  async findGroupCoordinatorMetadata(request: KafkajsCoordinatorRequest): Promise<number> {
    let refusal: unknown
    const found = await this.#withBroker(async ({ broker }) => {
      try {
        return (await broker.findGroupCoordinator(request)) as number
      } catch (error) {
        refusal = error
        throw error
      }
    })
    if (found === null) throw refusal
    return found
  }

  async #refresh(): Promise<void> {
    const targets = [...this.targetTopics]
    this.#metadata = await this.#nextConnection().metadata<FakeMetadata>(targets)
    this.brokerPool.metadataExpireAt = this.#clock.now() + METADATA_MAX_AGE_MS
    this.#reconnect()
  }

  /** Opens a connection to every broker that has none. */
  #reconnect(): void {
    for (const broker of this.#brokers) this.#connections[broker.node] ??= this.#connect(broker)
  }

  /** kafkajs picks one at random; here they take turns. Without any it connects anew. */
  #nextConnection(): FakeConnection {
    const connections = Object.values(this.#connections)
    return connections[this.#turn++ % connections.length] ?? this.#connect(this.#brokers[0]!)
  }

  async #withBroker<T>(ask: (found: { broker: KafkajsBroker }) => Promise<T>): Promise<T | null> {
    const connections = Object.values(this.#connections)
    if (connections.length === 0) {
      throw Object.assign(new Error('No brokers in the broker pool'), { name: 'KafkaJSBrokerNotFound' })
    }
    for (const broker of connections) {
      try {
        return await ask({ broker })
      } catch {
        // The next one may know.
      }
    }
    return null
  }
}
