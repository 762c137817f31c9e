import { errorOfCode, typeOfCode } from './protocol-errors.ts'
import { type EncodedRequest, sizeOfCompactString, WireReader, WireWriter } from './wire.ts'

/** Flexible; since Kafka 3.0. */
const API = { apiKey: 65, apiVersion: 0, apiName: 'DescribeTransactions' } as const

/** Bytes of a request for one id, besides the id. */
const FIXED_BYTES = 3

/** What a coordinator calls the last transaction of an id (KIP-664); it is complete once every marker was sent. */
export type TransactionState =
  | 'Empty'
  | 'Ongoing'
  | 'PrepareCommit'
  | 'PrepareAbort'
  | 'PrepareEpochFence'
  | 'CompleteCommit'
  | 'CompleteAbort'
  | 'Dead'

/** The last transaction of a transactional id. */
export interface LastTransaction {
  readonly state: TransactionState
  /** Of the id, not only of that transaction: an initialisation raises it by one, and by one more if it aborts something. */
  readonly producerEpoch: number
}

/**
 * Asks the coordinator of a transactional id what became of the id's last transaction (KIP-664), without using it.
 * Undefined for an id that was never used, or not for `transactional.id.expiration.ms`. Needs DESCRIBE on the id, which
 * WRITE implies.
 * @throws kafkajs's protocol and connection errors
 */
export async function lastTransactionOf(
  coordinator: KafkajsBroker,
  transactionalId: string,
): Promise<LastTransaction | undefined> {
  const { errorCode, last } = await coordinator.connectionPool.send<DescribeResponse>({
    request: { ...API, encode: async () => encodeRequest(transactionalId) },
    response: { decode: async raw => decodeResponse(raw), parse: async response => response },
  })
  if (typeOfCode(errorCode) === 'TRANSACTIONAL_ID_NOT_FOUND') return undefined
  if (errorCode !== 0) throw errorOfCode(errorCode)
  return last
}

interface DescribeResponse {
  readonly errorCode: number
  readonly last: LastTransaction
  /** Named as kafkajs's connection reads it, to hold back the next request. */
  readonly clientSideThrottleTime: number
}

function encodeRequest(transactionalId: string): EncodedRequest {
  const writer = new WireWriter(FIXED_BYTES + sizeOfCompactString(transactionalId)).noTags()
  return writer.compactCount(1).compactString(transactionalId).noTags().finish()
}

/** One id, as was asked; which partitions its transaction has is of no interest. */
function decodeResponse(raw: Buffer): DescribeResponse {
  const reader = new WireReader(raw)
  reader.tags() // of the header
  const clientSideThrottleTime = reader.int32()
  const ids = reader.uvarint() - 1
  if (ids !== 1) throw new RangeError(`an answer about ${ids} transactional ids, not one`)
  const errorCode = reader.int16()
  reader.compactString() // the id
  const state = reader.compactString() as TransactionState
  reader.int32() // its time-out
  reader.int64() // when it began
  reader.int64() // producer id
  return { clientSideThrottleTime, errorCode, last: { state, producerEpoch: reader.int16() } }
}
