import { createRequire } from 'node:module'
import { setTimeout } from 'node:timers/promises'
import Cluster from 'kafkajs/src/cluster/index.js'
import loggers from 'kafkajs/src/loggers/index.js'
import createSocketFactory from 'kafkajs/src/network/socketFactory.js'
import { brokers } from './broker.ts'
import { type AbortedTransaction, type LogRecord, readLog } from './record-log.ts'

const require = createRequire(import.meta.url)
const fetchRequest = require('kafkajs/src/protocol/requests/fetch/v11/request')
const Decoder = require('kafkajs/src/protocol/decoder')

export interface ReadOptions {
  /** Goes on past the end until this holds for all records so far; asked after every fetch that brought some. */
  readonly until?: (records: readonly LogRecord[]) => boolean
  readonly timeoutMs?: number
  /** Stops where transactions are open, instead of waiting for their end. */
  readonly stable?: boolean
  /** Also what open transactions wrote: what a reader without read_committed sees. */
  readonly uncommitted?: boolean
}

const READ_UNCOMMITTED = 0
const READ_COMMITTED = 1
const LATEST = -1
const MAX_WAIT_MS = 100
const PARTITION_BYTES = 4 * 1024 * 1024
const PAUSE_MS = 20

/**
 * What a broker answers to a client whose view of the leaders is not its own: the topic is being made (UNKNOWN_TOPIC_OR_PARTITION,
 * LEADER_NOT_AVAILABLE), or a leader has moved, as it does while the brokers are balanced (NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH).
 */
const MOVED = new Set([3, 5, 6, 74])

/**
 * Reads a topic from its beginning as a read_committed consumer: to where each partition ended when this was called, or
 * until the option `until` holds. Records of one partition are in offset order. Not a line of it is the worker's own: it
 * fetches with kafkajs's requests and walks the bytes itself, so that headers keep their order and their duplicates.
 * @throws Error when time (60 s) is up
 */
export async function readTopic(topic: string, options: ReadOptions = {}): Promise<LogRecord[]> {
  const { until, timeoutMs = 60_000, uncommitted = false, stable = false } = options
  const isolationLevel = uncommitted ? READ_UNCOMMITTED : READ_COMMITTED
  const cluster = createCluster(isolationLevel)
  await cluster.connect()
  try {
    const ends = await endsOf(cluster, topic, stable ? READ_COMMITTED : READ_UNCOMMITTED)
    const positions = new Map(ends.map(({ partition }) => [partition, 0]))
    const records: LogRecord[] = []
    const atEnds = () => ends.every(({ partition, end }) => positions.get(partition)! >= end)
    const done = until === undefined ? atEnds : () => until(records)
    const deadline = performance.now() + timeoutMs
    while (!done()) {
      if (performance.now() > deadline) {
        throw new Error(`Reading ${topic} took longer than ${timeoutMs / 1000} s; it gave ${records.length} records.`)
      }
      for (const { nodeId, partitions } of leadersOf(cluster, topic)) {
        const broker = await cluster.findBroker({ nodeId })
        const moved = await fetchOnce(broker, topic, partitions, positions, records, isolationLevel)
        if (moved) await refreshed(cluster)
      }
    }
    return records
  } finally {
    await cluster.disconnect()
  }
}

interface PartitionEnd {
  readonly partition: number
  /**
   * The end of the log, open transactions included unless only what is stable is asked for. Not the last stable offset: a transaction is committed before the
   * broker has written its marker to every partition, so what a group's offset says is done may be readable a little later.
   */
  readonly end: number
}

async function endsOf(cluster: KafkajsCluster, topic: string, isolationLevel: 0 | 1): Promise<PartitionEnd[]> {
  await cluster.addMultipleTargetTopics([topic])
  const led = leadersOf(cluster, topic)
  try {
    const ends = await Promise.all(led.map(leader => endsAt(cluster, topic, leader, isolationLevel)))
    return ends.flat()
  } catch (error) {
    if (!MOVED.has((error as { code?: number }).code ?? 0)) throw error
    await refreshed(cluster)
    return endsOf(cluster, topic, isolationLevel)
  }
}

async function endsAt(
  cluster: KafkajsCluster,
  topic: string,
  { nodeId, partitions }: Leader,
  isolationLevel: 0 | 1,
): Promise<PartitionEnd[]> {
  const broker = await cluster.findBroker({ nodeId })
  const topics = [{ topic, partitions: partitions.map(partition => ({ partition, timestamp: LATEST })) }]
  const { responses } = await broker.listOffsets({ isolationLevel, topics })
  return responses[0]!.partitions.map(({ partition, offset }) => ({ partition, end: Number(offset) }))
}

interface Leader {
  readonly nodeId: number
  readonly partitions: readonly number[]
}

/** The brokers that lead partitions of the topic, as the newest metadata has it. */
function leadersOf(cluster: KafkajsCluster, topic: string): Leader[] {
  const led = Map.groupBy(cluster.findTopicPartitionMetadata(topic), ({ leader }) => leader)
  return [...led].map(([nodeId, metadata]) => ({ nodeId, partitions: metadata.map(({ partitionId }) => partitionId) }))
}

/** Asks for the leaders again; after a pause, because the brokers hear of a new one one after the other. */
async function refreshed(cluster: KafkajsCluster): Promise<void> {
  await setTimeout(PAUSE_MS)
  await cluster.refreshMetadata()
}

/** Appends what one fetch brings to `records` and moves `positions` on. @returns whether the broker leads one of them no longer */
async function fetchOnce(
  broker: KafkajsBroker,
  topic: string,
  wanted: readonly number[],
  positions: Map<number, number>,
  records: LogRecord[],
  isolationLevel: number,
): Promise<boolean> {
  const partitions = wanted.map(partition => ({
    partition,
    currentLeaderEpoch: -1,
    fetchOffset: String(positions.get(partition)),
    logStartOffset: '-1',
    maxBytes: PARTITION_BYTES,
  }))
  const request = fetchRequest({
    replicaId: -1,
    isolationLevel,
    maxWaitTime: MAX_WAIT_MS,
    minBytes: 1,
    maxBytes: 4 * PARTITION_BYTES,
    topics: [{ topic, partitions }],
  })
  const answers = await broker.connectionPool.send({
    request,
    response: { decode: async (raw: Buffer) => decodeFetch(raw), parse: async (answers: Answer[]) => answers },
  })
  let moved = false
  for (const { partition, errorCode, aborted, bytes } of answers) {
    if (MOVED.has(errorCode)) {
      moved = true
      continue
    }
    if (errorCode !== 0) throw new Error(`Fetching ${topic}/${partition} failed with code ${errorCode}.`)
    const from = positions.get(partition)!
    const log = readLog(bytes, { topic, partition, from, aborted })
    for (const record of log.records) records.push(record)
    positions.set(partition, log.next)
  }
  return moved
}

interface Answer {
  readonly partition: number
  readonly errorCode: number
  readonly aborted: readonly AbortedTransaction[]
  readonly bytes: Buffer
}

/** The answer to a Fetch request of version 11, for one topic. */
function decodeFetch(raw: Buffer): Answer[] {
  const decoder = new Decoder(raw)
  decoder.readInt32() // throttle time
  const errorCode = decoder.readInt16()
  if (errorCode !== 0) throw new Error(`A fetch failed with code ${errorCode}.`)
  decoder.readInt32() // session id
  const topics: Answer[][] = decoder.readArray(() => {
    decoder.readString()
    return decoder.readArray(() => {
      const partition = decoder.readInt32()
      const errorCode = decoder.readInt16()
      decoder.readInt64() // high watermark
      decoder.readInt64() // last stable offset
      decoder.readInt64() // log start offset
      const aborted = decoder.readArray(() => ({
        producerId: BigInt(decoder.readInt64().toString()),
        firstOffset: Number(decoder.readInt64()),
      }))
      decoder.readInt32() // preferred replica
      return { partition, errorCode, aborted, bytes: decoder.readBytes() ?? Buffer.alloc(0) }
    })
  })
  return topics.flat()
}

function createCluster(isolationLevel: number): KafkajsCluster {
  const retry = { initialRetryTime: 20, maxRetryTime: 500, retries: 10 }
  return new Cluster({
    logger: loggers.createLogger({ level: 0, logCreator: () => () => {} }),
    retry,
    socketFactory: createSocketFactory(),
    brokers: brokers(),
    clientId: 'sluice-test-reader',
    connectionTimeout: 5_000,
    authenticationTimeout: 5_000,
    requestTimeout: 20_000,
    metadataMaxAge: 60_000,
    allowAutoTopicCreation: false,
    isolationLevel,
  })
}
