import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { Kafka, type KafkaConfig, logLevel, Partitioners } from 'kafkajs'
import Cluster from 'kafkajs/src/cluster/index.js'
import loggers from 'kafkajs/src/loggers/index.js'
import createSocketFactory from 'kafkajs/src/network/socketFactory.js'

/** What a test puts on a topic. */
export interface NewRecord {
  readonly partition?: number
  readonly key?: string | Buffer | null
  readonly value: string | Buffer | null
  readonly headers?: Readonly<Record<string, string | Buffer>>
}

/** A record as a reader finds it. */
export interface FoundRecord {
  readonly partition: number
  readonly offset: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, string>>
}

interface StockMessage {
  readonly offset: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Record<string, Buffer>
}

interface StockFetch {
  readonly responses: readonly { readonly partitions: readonly StockPartition[] }[]
}

interface StockPartition {
  readonly lastStableOffset: string
  readonly messages: readonly StockMessage[]
}

/** kafkajs's own reading of a fetch: no line of Sluice takes part in the audit. */
const StockBatch = createRequire(import.meta.url)('kafkajs/src/consumer/batch.js') as new (
  topic: string,
  fetchOffset: string,
  partition: StockPartition,
) => { readonly messages: readonly StockMessage[] }

/** The other side of a worker: writes its input, reads what came of it. Stock kafkajs throughout. */
export class TestKafka {
  readonly bootstrap: string
  readonly admin
  readonly #producer
  readonly #kafka: Kafka
  readonly #cluster

  constructor(bootstrap = process.env.KAFKA_BROKERS ?? '', access: Partial<KafkaConfig> = {}) {
    if (bootstrap === '') throw new Error('KAFKA_BROKERS is not set: run npm test, or node dev/with-broker.ts -- …')
    this.bootstrap = bootstrap
    const brokers = bootstrap.split(',')
    this.#kafka = new Kafka({
      clientId: 'fault-tests',
      brokers,
      logLevel: logLevel.NOTHING,
      retry: { initialRetryTime: 20 },
      ...access,
    })
    this.admin = this.#kafka.admin()
    this.#producer = this.#kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
    this.#cluster = new Cluster({
      logger: loggers.createLogger({ level: 0, logCreator: () => () => {} }),
      retry: { initialRetryTime: 20, maxRetryTime: 500, retries: 10 },
      socketFactory: createSocketFactory(),
      brokers,
      connectionTimeout: 5_000,
      requestTimeout: 10_000,
      enforceRequestTimeout: true,
      metadataMaxAge: 300_000,
      allowAutoTopicCreation: false,
      ...access,
    })
  }

  async connect(): Promise<this> {
    await Promise.all([this.admin.connect(), this.#producer.connect(), this.#cluster.connect()])
    return this
  }

  async close(): Promise<void> {
    await Promise.all([this.admin.disconnect(), this.#producer.disconnect(), this.#cluster.disconnect()])
  }

  async createTopic(topic: string, partitions = 1, config: Readonly<Record<string, string>> = {}): Promise<void> {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    await this.admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: partitions, configEntries }] })
  }

  /** Appends records in order; to partition 0 unless they say otherwise. */
  async publish(topic: string, records: readonly NewRecord[]): Promise<void> {
    const messages = records.map(({ partition = 0, key = null, value, headers = {} }) => ({
      partition,
      key,
      value,
      headers,
    }))
    await this.#producer.send({ topic, messages, acks: -1 })
  }

  /** Everything that a read_committed reader can reach now: partition by partition, in offset order. */
  async read(topic: string): Promise<FoundRecord[]> {
    await this.#cluster.addMultipleTargetTopics([topic])
    await this.#cluster.refreshMetadata()
    const partitions = this.#cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => partitionId)
    const found = await Promise.all(partitions.sort((a, b) => a - b).map(partition => this.#readPartition(topic, partition)))
    return found.flat()
  }

  async #readPartition(topic: string, partition: number): Promise<FoundRecord[]> {
    const { leader } = this.#cluster.findTopicPartitionMetadata(topic).find(p => p.partitionId === partition)!
    const broker = (await this.#cluster.findBroker({ nodeId: leader })) as unknown as {
      fetch(request: unknown): Promise<StockFetch>
      listOffsets: KafkajsBroker['listOffsets']
    }
    const { responses } = await broker.listOffsets({
      isolationLevel: 1,
      topics: [{ topic, partitions: [{ partition, timestamp: -2 }] }],
    })
    let position = Number(responses[0]!.partitions[0]!.offset)
    const found: FoundRecord[] = []
    for (;;) {
      const request = { partition, fetchOffset: String(position), maxBytes: 1 << 22 }
      const answer = await broker.fetch({
        replicaId: -1,
        isolationLevel: 1,
        maxWaitTime: 1,
        minBytes: 0,
        topics: [{ topic, partitions: [request] }],
      })
      const part = answer.responses[0]!.partitions[0]!
      for (const { offset, key, value, headers } of new StockBatch(topic, String(position), part).messages) {
        found.push({ partition, offset: Number(offset), key, value, headers: asText(headers) })
      }
      const last = part.messages.at(-1)
      if (last !== undefined) position = Number(last.offset) + 1
      if (last === undefined || position >= Number(part.lastStableOffset)) return found
    }
  }

  /** The group's offsets by partition, -1 where it has none. */
  async committed(groupId: string, topic: string): Promise<number[]> {
    const [found] = await this.admin.fetchOffsets({ groupId, topics: [topic] })
    return found!.partitions.sort((a, b) => a.partition - b.partition).map(({ offset }) => Number(offset))
  }

  /**
   * Initialises a transactional id, which ends the open transaction of its owner and fences it: afterwards nothing that
   * a dead worker left behind can change any more.
   */
  async fence(transactionalId: string): Promise<void> {
    const producer = this.#kafka.producer({
      transactionalId,
      maxInFlightRequests: 1,
      idempotent: true,
      createPartitioner: Partitioners.DefaultPartitioner,
    })
    await producer.connect()
    const transaction = await producer.transaction()
    await transaction.abort()
    await producer.disconnect()
  }
}

/** Names of their own for each test: the broker is shared. */
export function freshNames() {
  const id = randomBytes(4).toString('hex')
  return { group: `faults-${id}`, input: `in-${id}`, output: `out-${id}`, deadLetters: `dlq-${id}` }
}

function asText(headers: Record<string, Buffer>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.toString()]))
}
