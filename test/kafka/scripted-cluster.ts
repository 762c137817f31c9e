import { BatchField } from '../../src/kafka/batch-layout.ts'
import { WireReader } from '../../src/kafka/wire.ts'
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
      connectionPool: { host: 'broker', port: nodeId, send: this.#send(nodeId) },
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
      const read = request.apiName === 'Produce' ? readProduce : readFetch
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

/** Position asked for, by partition. */
function readFetch(bytes: Buffer): Record<number, number> {
  const reader = new WireReader(bytes.subarray(4 + 4 + 4 + 4 + 1 + 4 + 4))
  const positions: Record<number, number> = {}
  reader.array(() => {
    reader.string()
    reader.array(() => {
      const partition = reader.int32()
      reader.int32()
      positions[partition] = reader.int64()
      reader.int64()
      reader.int32()
    })
  })
  return positions
}
