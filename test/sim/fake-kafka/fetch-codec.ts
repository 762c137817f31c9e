import type { AbortedTransaction } from '../../../src/kafka/aborted-transactions.ts'
import type { EpochEnd } from '../../../src/kafka/fetch-protocol.ts'
import { type Uuid, WireReader } from '../../../src/kafka/wire.ts'
import type { Isolation } from './partition-log.ts'
import { ResponseWriter } from './response-writer.ts'

/** A Fetch request, version 13. */
export interface FetchRequest {
  readonly maxWaitMs: number
  readonly maxBytes: number
  readonly isolation: Isolation
  readonly partitions: readonly FetchedPartition[]
}

export interface FetchedPartition {
  readonly topicId: Uuid
  readonly partition: number
  readonly position: number
  /** -1 where the client does not know. */
  readonly lastFetchedEpoch: number
  readonly maxBytes: number
}

export interface FetchAnswer {
  readonly topicId: Uuid
  readonly partition: number
  readonly errorCode: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStartOffset: number
  readonly aborted: readonly AbortedTransaction[]
  readonly diverging?: EpochEnd | undefined
  readonly records: Buffer
}

export function decodeFetchRequest(bytes: Buffer): FetchRequest {
  const ISOLATION_AT = 17
  const head = new WireReader(bytes)
  head.tags() // of the request header
  head.int32() // replica
  const maxWaitMs = head.int32()
  head.int32() // least bytes
  const maxBytes = head.int32()
  const isolation = bytes.readInt8(ISOLATION_AT) as Isolation
  const reader = new WireReader(bytes.subarray(ISOLATION_AT + 1))
  reader.int32() // session
  reader.int32() // its epoch
  const partitions = reader.compactArray(() => {
    const topicId = reader.uuid()
    const ofTopic = reader.compactArray(() => decodePartition(reader, topicId))
    reader.tags()
    return ofTopic
  })
  return { maxWaitMs, maxBytes, isolation, partitions: partitions.flat() }
}

function decodePartition(reader: WireReader, topicId: Uuid): FetchedPartition {
  const partition = reader.int32()
  reader.int32() // the leader's epoch
  const position = reader.int64()
  const lastFetchedEpoch = reader.int32()
  reader.int64() // a follower's log start
  const maxBytes = reader.int32()
  reader.tags()
  return { topicId, partition, position, lastFetchedEpoch, maxBytes }
}

export function encodeFetchResponse(answers: readonly FetchAnswer[]): Buffer {
  const topics = [...Map.groupBy(answers, ({ topicId }) => topicId)]
  const writer = new ResponseWriter().noTags().int32(0).int16(0).int32(0)
  writer.compactArray(topics, ([topicId, ofTopic]) => {
    writer.uuid(topicId).compactArray(ofTopic, answer => encodeAnswer(writer, answer))
    writer.noTags()
  })
  return writer.noTags().finish()
}

function encodeAnswer(writer: ResponseWriter, answer: FetchAnswer): void {
  const NO_PREFERRED_REPLICA = -1
  writer.int32(answer.partition).int16(answer.errorCode)
  writer.int64(answer.highWatermark).int64(answer.lastStableOffset).int64(answer.logStartOffset)
  writer.compactArray(answer.aborted, ({ producerId, firstOffset }) => {
    writer.int64(Number(producerId)).int64(firstOffset).noTags()
  })
  writer.int32(NO_PREFERRED_REPLICA).compactBytes(answer.records)
  if (answer.diverging === undefined) writer.noTags()
  else encodeDiverging(writer, answer.diverging)
}

/** The one tagged field: its number, its size, and the structure. */
function encodeDiverging(writer: ResponseWriter, { epoch, endOffset }: EpochEnd): void {
  const DIVERGING_EPOCH = 0
  const BYTES = 4 + 8 + 1
  writer.uvarint(1).uvarint(DIVERGING_EPOCH).uvarint(BYTES).int32(epoch).int64(endOffset).noTags()
}
