import protocol from 'kafkajs/src/protocol/error.js'
import type { AbortedTransaction } from './aborted-transactions.ts'
import { answerMemory, type Loan } from './answer-memory.ts'
import { type EncodedRequest, sizeOfUvarint, type Uuid, WireReader, WireWriter } from './wire.ts'

/** The first version that names topics by their ids (KIP-516), so never reads another topic of the same name. */
const API = { apiKey: 1, apiVersion: 13, apiName: 'Fetch' } as const
const CONSUMER = -1
const READ_COMMITTED = 1
/** No incremental fetch session: each request says everything it wants. */
const NO_SESSION = { id: 0, epoch: -1 } as const
const UNKNOWN = -1
/** Answer as soon as there is anything. */
const MIN_BYTES = 1

/** Bytes of a request without topics, of a topic without partitions (each but for the count), and of a partition. */
const FIXED_BYTES = 29
const TOPIC_BYTES = 17
const PARTITION_BYTES = 33

export interface FetchOptions {
  /** How long the broker may wait while there is nothing to read. */
  readonly maxWaitMs: number
  /** For the whole answer, which the broker fills in the order of `partitions`; a larger first batch comes alone. */
  readonly maxBytes: number
  readonly partitions: readonly FetchPartition[]
}

/** One partition that a Fetch request asks for. */
export interface FetchPartition {
  /** As `topicIdOf` gives it. */
  readonly topicId: Uuid
  readonly partition: number
  /** First offset wanted. */
  readonly position: number
  /**
   * The leader epoch of the last batch below `position`, if known: then a broker whose log has other records there
   * answers with `diverging` instead of records (KIP-595).
   */
  readonly lastFetchedEpoch?: number | undefined
  /** The broker sends at most this much, unless the first batch of the whole answer is larger. */
  readonly maxBytes: number
}

/** What a broker answers for one partition. */
export interface PartitionRecords {
  readonly topicId: Uuid
  readonly partition: number
  /** 0, or a code of the protocol; then nothing else here is to be believed. */
  readonly errorCode: number
  readonly highWatermark: number
  /** The end for a read_committed reader. */
  readonly lastStableOffset: number
  readonly logStartOffset: number
  readonly aborted: readonly AbortedTransaction[]
  /** Where the log stops being the one that `lastFetchedEpoch` was read from; then there are no records. */
  readonly diverging: EpochEnd | undefined
  /** Record batches, for `readRecordBatches`: a view of the answer, or a copy. */
  readonly records: Buffer
  /** The memory that `records` lie in, if that is lent: the caller lets go of it. */
  readonly loan: Loan | undefined
}

/** A leader epoch of a log, and the offset after its last record (KIP-101). */
export interface EpochEnd {
  readonly epoch: number
  readonly endOffset: number
}

/**
 * Fetches from a broker as a read_committed consumer without a session (Fetch version 13). Errors of partitions are
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
  readonly partitions: readonly PartitionRecords[]
  readonly errorCode: number
  /** Named as kafkajs's connection reads it, to hold back the next request. */
  readonly clientSideThrottleTime: number
}

function encodeFetch({ maxWaitMs, maxBytes, partitions }: FetchOptions): EncodedRequest {
  const topics = Map.groupBy(partitions, partition => partition.topicId)
  let size = FIXED_BYTES + sizeOfUvarint(topics.size + 1) + partitions.length * PARTITION_BYTES
  for (const ofTopic of topics.values()) size += TOPIC_BYTES + sizeOfUvarint(ofTopic.length + 1)

  const writer = new WireWriter(size)
    .noTags()
    .int32(CONSUMER)
    .int32(maxWaitMs)
    .int32(MIN_BYTES)
    .int32(maxBytes)
    .int8(READ_COMMITTED)
    .int32(NO_SESSION.id)
    .int32(NO_SESSION.epoch)
    .compactCount(topics.size)
  for (const [topicId, ofTopic] of topics) {
    writer.uuid(topicId).compactCount(ofTopic.length)
    for (const { partition, position, lastFetchedEpoch = UNKNOWN, maxBytes } of ofTopic) {
      // Neither the leader's own epoch nor the start of a follower's log are a consumer's to know.
      writer.int32(partition).int32(UNKNOWN).int64(position).int32(lastFetchedEpoch).int64(UNKNOWN).int32(maxBytes)
      writer.noTags()
    }
    writer.noTags()
  }
  // No topics to forget, as there is no session, and no rack.
  return writer.compactCount(0).compactString('').noTags().finish()
}

function requireSuccess(response: FetchResponse): FetchResponse {
  if (response.errorCode !== 0) throw protocol.createErrorFromCode(response.errorCode)
  return response
}

function decodeFetch(raw: Buffer): FetchResponse {
  const reader = new WireReader(raw)
  reader.tags() // of the header
  const clientSideThrottleTime = reader.int32()
  const errorCode = reader.int16()
  reader.int32() // the session
  const answers = reader.compactArray(decodeTopic).flat()
  reader.tags()
  const loan = answerMemory.loanOf(raw)
  const partitions = answers.map(answer => lent(answer, raw, loan))
  loan?.letGo()
  return { errorCode, clientSideThrottleTime, partitions }
}

function decodeTopic(reader: WireReader): PartitionRecords[] {
  const topicId = reader.uuid()
  const partitions = reader.compactArray(() => decodePartition(reader, topicId))
  reader.tags()
  return partitions
}

/** Among the tagged fields of a partition. */
const DIVERGING_EPOCH = 0

function decodePartition(reader: WireReader, topicId: Uuid): PartitionRecords {
  const partition = reader.int32()
  const errorCode = reader.int16()
  const highWatermark = reader.int64()
  const lastStableOffset = reader.int64()
  const logStartOffset = reader.int64()
  const aborted = reader.compactArray(decodeAborted)
  reader.int32() // the replica to prefer: never named where no rack was
  const records = reader.compactBytes()
  let diverging: EpochEnd | undefined
  reader.tags((tag, field) => {
    if (tag === DIVERGING_EPOCH) diverging = { epoch: field.int32(), endOffset: field.int64() }
  })
  const ends = { highWatermark, lastStableOffset, logStartOffset }
  return { topicId, partition, errorCode, ...ends, aborted, diverging, records, loan: undefined }
}

function decodeAborted(reader: WireReader): AbortedTransaction {
  const transaction = { producerId: reader.bigint64(), firstOffset: reader.int64() }
  reader.tags()
  return transaction
}

/** Of an answer: a partition that has less of it gets a copy. */
const LEAST_SHARE = 1 / 8

/** Answers up to this size are kept whole. */
const SMALL_ANSWER_BYTES = 64 * 1024

/**
 * A view keeps the whole answer in memory, for as long as the slowest partition in it takes:
 *
 *   a batch with rows of A hangs ─▶ what A reads meanwhile is done, and waits behind them ─▶ B goes on, with megabytes in each
 *   answer, and a few bytes of A ─▶ all these answers would stay
 *
 * So what is kept is at most eight times what is counted as in flight.
 */
function lent(answer: PartitionRecords, raw: Buffer, loan: Loan | undefined): PartitionRecords {
  const { records } = answer
  if (records.length === 0) return answer
  if (raw.length <= SMALL_ANSWER_BYTES || records.length >= raw.length * LEAST_SHARE)
    return { ...answer, loan: loan?.hold() }
  const copy = answerMemory.lend(records.length)
  copy.set(records)
  return { ...answer, records: copy, loan: answerMemory.loanOf(copy) }
}
