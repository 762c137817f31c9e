import { WireReader } from '../../../src/kafka/wire.ts'
import { ResponseWriter } from './response-writer.ts'
import type { Participant, TransactionState } from './transaction-coordinator.ts'

/** What DescribeTransactions says of one id. */
export interface TransactionDescription {
  readonly state: TransactionState
  readonly timeoutMs: number
  /** Wall time, or -1 where none is under way. */
  readonly startedAt: number
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly participants: readonly Participant[]
}

export interface DescribeAnswer {
  readonly errorCode: number
  readonly transactionalId: string
  readonly description: TransactionDescription | undefined
}

/** The ids in a DescribeTransactions request, version 0. */
export function decodeDescribeTransactionsRequest(bytes: Buffer): string[] {
  const reader = new WireReader(bytes)
  reader.tags() // of the request header
  return reader.compactArray(() => reader.compactString())
}

export function encodeDescribeTransactionsResponse(answers: readonly DescribeAnswer[]): Buffer {
  const writer = new ResponseWriter().noTags().int32(0)
  writer.compactArray(answers, ({ errorCode, transactionalId, description }) => {
    writer
      .int16(errorCode)
      .compactString(transactionalId)
      .compactString(description?.state ?? '')
    writer.int32(description?.timeoutMs ?? 0).int64(description?.startedAt ?? -1)
    writer.int64(Number(description?.producerId ?? -1)).int16(description?.producerEpoch ?? -1)
    encodeParticipants(writer, description?.participants ?? [])
    writer.noTags()
  })
  return writer.noTags().finish()
}

/** A group takes part as a partition of the offsets topic. */
function encodeParticipants(writer: ResponseWriter, participants: readonly Participant[]): void {
  const partitions = participants.map(p => ('group' in p ? { topic: '__consumer_offsets', partition: 0 } : p))
  writer.compactArray([...Map.groupBy(partitions, ({ topic }) => topic)], ([topic, ofTopic]) => {
    writer.compactString(topic).compactArray(ofTopic, ({ partition }) => writer.int32(partition))
    writer.noTags()
  })
}
