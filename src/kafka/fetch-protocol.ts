import protocol from 'kafkajs/src/protocol/error.js'
import type { AbortedTransaction } from './aborted-transactions.ts'
import { type EncodedRequest, sizeOfString, WireReader, WireWriter } from './wire.ts'

const API = { apiKey: 1, apiVersion: 11, apiName: 'Fetch' } as const
const CONSUMER = -1
const READ_COMMITTED = 1
/** No incremental fetch session: each request says everything it wants. */
const NO_SESSION = { id: 0, epoch: -1 } as const
const UNKNOWN = -1
/** Answer as soon as there is anything. */
const MIN_BYTES = 1

/** Bytes of a request with one topic: fields of fixed size, and those of each partition. */
const FIXED_BYTES = 39
const PARTITION_BYTES = 28

export interface FetchOptions {
  readonly topic: string
  /** How long the broker may wait while there is nothing to read. */
  readonly maxWaitMs: number
  /** For the whole answer, which the broker fills in the order of `partitions`; a larger first batch comes alone. */
  readonly maxBytes: number
  readonly partitions: readonly FetchPartition[]
}

/** One partition that a Fetch request asks for. */
export interface FetchPartition {
  readonly partition: number
  /** First offset wanted. */
  readonly position: number
  /** The broker sends at most this much, unless the first batch of the whole answer is larger. */
  readonly maxBytes: number
}

/** What a broker answers for one partition. */
export interface PartitionRecords {
  readonly topic: string
  readonly partition: number
  /** 0, or a code of the protocol; then nothing else here is to be believed. */
  readonly errorCode: number
  readonly highWatermark: number
  /** The end for a read_committed reader. */
  readonly lastStableOffset: number
  readonly logStartOffset: number
  readonly aborted: readonly AbortedTransaction[]
  /** Record batches, for `readRecordBatches`: a view of the answer, which lives as long as any view of it. */
  readonly records: Buffer
}

/**
 * Fetches from a broker as a read_committed consumer without a session (Fetch version 11). Errors of partitions are
 * returned; an error of the whole request is thrown as kafkajs throws its own, like its connection errors.
 */
export async function fetchRecords(broker: KafkajsBroker, options: FetchOptions): Promise<readonly PartitionRecords[]> {
  const { partitions } = await broker.connectionPool.send({
    request: { ...API, encode: async () => encodeFetch(options) },
    response: { decode: async raw => decodeFetch(raw), parse: async response => requireSuccess(response) },
  })
  return partitions
}

interface FetchResponse {
  readonly errorCode: number
  /** Named as kafkajs's connection reads it, to hold back the next request. */
  readonly clientSideThrottleTime: number
  readonly partitions: readonly PartitionRecords[]
}

function encodeFetch({ topic, maxWaitMs, maxBytes, partitions }: FetchOptions): EncodedRequest {
  const writer = new WireWriter(FIXED_BYTES + sizeOfString(topic) + partitions.length * PARTITION_BYTES)
    .int32(CONSUMER)
    .int32(maxWaitMs)
    .int32(MIN_BYTES)
    .int32(maxBytes)
    .int8(READ_COMMITTED)
    .int32(NO_SESSION.id)
    .int32(NO_SESSION.epoch)
    .int32(1)
    .string(topic)
    .int32(partitions.length)
  for (const { partition, position, maxBytes } of partitions) {
    // Neither the leader's epoch nor the start of a follower's log are a consumer's to know.
    writer.int32(partition).int32(UNKNOWN).int64(position).int64(UNKNOWN).int32(maxBytes)
  }
  // No topics to forget, as there is no session, and no rack.
  return writer.int32(0).string('').finish()
}

function requireSuccess(response: FetchResponse): FetchResponse {
  if (response.errorCode !== 0) throw protocol.createErrorFromCode(response.errorCode)
  return response
}

function decodeFetch(raw: Buffer): FetchResponse {
  const reader = new WireReader(raw)
  const clientSideThrottleTime = reader.int32()
  const errorCode = reader.int16()
  reader.int32() // the session
  return { errorCode, clientSideThrottleTime, partitions: reader.array(decodeTopic).flat() }
}

function decodeTopic(reader: WireReader): PartitionRecords[] {
  const topic = reader.string()
  return reader.array(() => {
    const partition = reader.int32()
    const errorCode = reader.int16()
    const highWatermark = reader.int64()
    const lastStableOffset = reader.int64()
    const logStartOffset = reader.int64()
    const aborted = reader.array(() => ({ producerId: reader.bigint64(), firstOffset: reader.int64() }))
    reader.int32() // the replica to prefer: never named where no rack was
    const records = reader.bytes()
    return { topic, partition, errorCode, highWatermark, lastStableOffset, logStartOffset, aborted, records }
  })
}
