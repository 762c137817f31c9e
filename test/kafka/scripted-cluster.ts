import { BatchField } from '../../src/kafka/batch-layout.ts'
import type { LastTransaction } from '../../src/kafka/transactional-ids.ts'
import { sizeOfCompactString, type Uuid, WireReader, WireWriter } from '../../src/kafka/wire.ts'
import { Encoder } from './stock.ts'

/** A request as a test sees it. */
export interface Asked {
  readonly node: number
  readonly api: string
  // biome-ignore lint/suspicious/noExplicitAny: each request has fields of its own
  readonly request: any
}

/** What a broker does about a request: an answer, an Error to throw, or a function that gives either. */
export type Answer = unknown | Error | ((asked: Asked) => unknown)

/** A batch in a Produce request. */
export interface ProducedBatch {
  readonly topic: string
  readonly partition: number
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly records: number
}

/** A partition in a Fetch request. */
export interface AskedPartition {
  readonly topicId: Uuid
  readonly partition: number
  readonly position: number
  /** -1: not known. */
  readonly lastFetchedEpoch: number
  readonly maxBytes: number
  /** Of the whole request. */
  readonly maxWaitMs: number
}

/** The id of every topic, unless a test says otherwise. */
export const TOPIC_ID = 'c2x1aWNlLXRvcGljLWlkLQ'

/** An error of the broker, as kafkajs throws it. */
export function brokerError(type: string): Error {
  return Object.assign(new Error(`the broker says ${type}`), { name: 'KafkaJSProtocolError', type })
}

/** kafkajs's errors for a request that got no answer. */
export const timedOut = () => Object.assign(new Error('no answer in time'), { name: 'KafkaJSRequestTimeoutError' })
export const closed = () => Object.assign(new Error('closed connection'), { name: 'KafkaJSConnectionClosedError' })

/** Brokers behind kafkajs's cluster, as far as Sluice uses it. They answer from a script, and say what was asked. */
export class ScriptedCluster {
  /** Every request, in the order in which it was sent. */
  readonly asked: Asked[] = []
  /** Brokers whose connections were dropped. */
  readonly forgotten: number[] = []
  refreshes = 0
  /** Node id of the leader, by `topic/partition`; others are led by node 1. */
  readonly leaders: Record<string, number> = {}
  readonly partitions: Record<string, number> = {}
  /** What happens when the metadata is read again. */
  onRefresh: () => void = () => {}
  coordinator = 1
  readonly #script = new Map<string, Answer[]>()
  readonly #otherwise = new Map<string, Answer>()
  readonly #brokers: Record<number, KafkajsBroker> = {}
  /** How often the connections were closed and opened again. */
  #reconnections = 0

  /** The next answers to `api`, in turn. */
  next(api: string, ...answers: Answer[]): this {
    this.#script.set(api, [...(this.#script.get(api) ?? []), ...answers])
    return this
  }

  /** What is answered to `api` when the script has nothing for it. */
  otherwise(api: string, answer: Answer): this {
    this.#otherwise.set(api, answer)
    return this
  }

  /** The connections were closed, and are open again. */
  reconnect(): void {
    this.#reconnections++
  }

  #connectionTo(nodeId: number) {
    const reconnections = () => this.#reconnections
    return {
      get socket() {
        return `${nodeId}, after ${reconnections()}`
      },
      isConnected: () => true,
    }
  }

  /** Holds the next request to `api` until it is answered. */
  hold(api: string): { answer(value?: unknown): void; fail(error: Error): void } {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.next(api, () => promise)
    return { answer: resolve, fail: reject }
  }

  get apis(): string[] {
    return this.asked.map(({ api }) => api)
  }

  of(api: string): Asked[] {
    return this.asked.filter(asked => asked.api === api)
  }

  /** Brokers by node id; notes which are deleted. */
  #forgettable(): Record<string, KafkajsBroker> {
    return new Proxy(this.#brokers, {
      deleteProperty: (brokers, nodeId) => {
        this.forgotten.push(Number(nodeId))
        return Reflect.deleteProperty(brokers, nodeId)
      },
    })
  }

  /** As kafkajs's cluster. */
  get cluster(): KafkajsCluster {
    return {
      brokerPool: { brokers: this.#forgettable() },
      connect: async () => {},
      disconnect: async () => {},
      refreshMetadata: async () => {
        this.refreshes++
        this.onRefresh()
      },
      refreshMetadataIfNecessary: async () => {},
      addMultipleTargetTopics: async () => {},
      committedOffsets: () => ({}), // kept by kafkajs's offset manager, which Sluice makes no use of
      findBroker: async ({ nodeId }: { nodeId: number }) => {
        await this.#answer(nodeId, 'findBroker', { nodeId })
        return this.broker(nodeId)
      },
      findTopicPartitionMetadata: (topic: string) =>
        Array.from({ length: this.partitions[topic] ?? 4 }, (_, partitionId) => ({
          partitionId,
          leader: this.leaders[`${topic}/${partitionId}`] ?? 1,
          partitionErrorCode: 0,
        })),
      findGroupCoordinator: async (request: unknown) => {
        await this.#answer(this.coordinator, 'findCoordinator', request)
        return this.broker(this.coordinator)
      },
    } as unknown as KafkajsCluster
  }

  broker(nodeId: number): KafkajsBroker {
    const ask =
      (api: string) =>
      // biome-ignore lint/suspicious/noExplicitAny: the answer is what the script says
      (request: unknown): Promise<any> =>
        this.#answer(nodeId, api, request)
    this.#brokers[nodeId] ??= {
      nodeId,
      connectionPool: {
        host: 'broker',
        port: nodeId,
        pool: [this.#connectionTo(nodeId)],
        send: this.#send(nodeId),
      },
      disconnect: async () => {},
      ...Object.fromEntries(BROKER_APIS.map(api => [api, ask(api)])),
    } as unknown as KafkajsBroker
    return this.#brokers[nodeId]
  }

  /** Requests that Sluice encodes itself. The answer of the script is the raw response. */
  #send(nodeId: number) {
    return async ({
      request,
      response,
    }: {
      request: KafkajsProtocolRequest
      response: KafkajsProtocolResponse<unknown>
    }) => {
      const { buffer } = (await request.encode()) as { buffer: Buffer }
      const read = READERS[request.apiName]!
      const raw = await this.#answer(nodeId, request.apiName.toLowerCase(), read(buffer))
      return response.parse(await response.decode(raw as Buffer))
    }
  }

  async #answer(node: number, api: string, request: unknown): Promise<unknown> {
    const asked = { node, api, request }
    if (api !== 'findBroker') this.asked.push(asked)
    const answer = this.#script.get(api)?.shift() ?? this.#otherwise.get(api) ?? DEFAULTS[api]
    const value = typeof answer === 'function' ? await answer(asked) : answer
    if (value instanceof Error) throw value
    return value
  }
}

const BROKER_APIS = [
  'initProducerId',
  'addPartitionsToTxn',
  'addOffsetsToTxn',
  'txnOffsetCommit',
  'endTxn',
  'offsetCommit',
  'offsetFetch',
  'listOffsets',
  'joinGroup',
  'syncGroup',
  'heartbeat',
  'leaveGroup',
]

const DEFAULTS: Record<string, Answer> = {
  initProducerId: { producerId: '4000', producerEpoch: 3 },
  produce: ({ request }: Asked) => produced(request),
  metadata: ({ request }: Asked) => described(request),
  describetransactions: () => lastTransaction(undefined),
}

/** The answer to a Produce request: appended, or refused with the code given for a partition. */
export function produced(batches: readonly ProducedBatch[], codes: Record<string, number> = {}): Buffer {
  const encoder = new Encoder().writeInt32(batches.length)
  for (const { topic, partition } of batches) {
    encoder.writeString(topic).writeInt32(1).writeInt32(partition)
    encoder.writeInt16(codes[`${topic}/${partition}`] ?? 0)
    encoder.writeInt64(0).writeInt64(-1).writeInt64(0)
  }
  return encoder.writeInt32(0).buffer
}

function readProduce(bytes: Buffer): ProducedBatch[] {
  const reader = new WireReader(bytes)
  if (bytes.readInt16BE(0) < 0) reader.int16()
  else reader.string()
  reader.int16()
  reader.int32()
  return reader
    .array(() => {
      const topic = reader.string()
      return reader.array(() => {
        const partition = reader.int32()
        const batch = reader.bytes()
        return {
          topic,
          partition,
          producerId: batch.readBigInt64BE(BatchField.producerId),
          producerEpoch: batch.readInt16BE(BatchField.producerEpoch),
          baseSequence: batch.readInt32BE(BatchField.baseSequence),
          records: batch.readInt32BE(BatchField.count),
        }
      })
    })
    .flat()
}

function readFetch(bytes: Buffer): AskedPartition[] {
  const maxWaitMs = bytes.readInt32BE(1 + 4)
  const reader = new WireReader(bytes.subarray(1 + 4 + 4 + 4 + 4 + 1 + 4 + 4))
  const asked: AskedPartition[] = []
  reader.compactArray(() => {
    const topicId = reader.uuid()
    reader.compactArray(() => {
      const partition = reader.int32()
      reader.int32()
      const [position, lastFetchedEpoch] = [reader.int64(), reader.int32()]
      reader.int64()
      asked.push({ topicId, partition, position, lastFetchedEpoch, maxBytes: reader.int32(), maxWaitMs })
      reader.tags()
    })
    reader.tags()
  })
  return asked
}

/** The topic. */
function readMetadata(bytes: Buffer): string {
  const reader = new WireReader(bytes)
  reader.tags()
  return reader.compactArray(() => {
    reader.uuid()
    const topic = reader.compactString()
    reader.tags()
    return topic
  })[0]!
}

/** The epoch that is asked for, of the only partition. */
function readEpoch(bytes: Buffer): number {
  return bytes.readInt32BE(bytes.length - 4)
}

const READERS: Record<string, (bytes: Buffer) => unknown> = {
  Produce: readProduce,
  Fetch: readFetch,
  Metadata: readMetadata,
  OffsetForLeaderEpoch: readEpoch,
  DescribeTransactions: bytes => bytes.subarray(3, -1).toString(),
}

/** The answer to a Metadata request: the topic has this id. */
export function described(topic: string, id: Uuid = TOPIC_ID): Buffer {
  const fixed = 1 + 4 + 1 + 1 + 4 + 1 + (2 + 16 + 1 + 1 + 4 + 1) + 1
  const writer = new WireWriter(fixed + sizeOfCompactString(topic)).noTags().int32(0)
  writer.compactCount(0).uvarint(0).int32(1) // no broker, no cluster id, the controller
  writer.compactCount(1).int16(0).compactString(topic).uuid(id).int8(0).compactCount(0).int32(0).noTags()
  return writer.noTags().finish().buffer
}

/** The answer to an OffsetForLeaderEpoch request for one partition. */
export function epochEnds(epoch: number, endOffset: number): Buffer {
  const encoder = new Encoder().writeInt32(0).writeInt32(1).writeString('in').writeInt32(1)
  return encoder.writeInt16(0).writeInt32(2).writeInt32(epoch).writeInt64(endOffset).buffer
}

/** The answer to a DescribeTransactions request, as far as it is read: the id's last transaction, or that it has none. */
export function lastTransaction(last: LastTransaction | undefined): Buffer {
  const id = 'g.in.2'
  const { state, producerEpoch } = last ?? { state: '', producerEpoch: -1 }
  return new WireWriter(8 + id.length + 1 + state.length + 1 + 4 + 8 + 8 + 2)
    .noTags()
    .int32(0)
    .compactCount(1)
    .int16(last === undefined ? TRANSACTIONAL_ID_NOT_FOUND : 0)
    .compactString(id)
    .compactString(state)
    .int32(30_000)
    .int64(-1)
    .int64(4000)
    .int16(producerEpoch)
    .finish().buffer
}

const TRANSACTIONAL_ID_NOT_FOUND = 105
