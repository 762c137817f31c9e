import { errorOfCode } from './protocol-errors.ts'
import type { TransactionState } from './transactional-ids.ts'
import { type EncodedRequest, sizeOfCompactString, sizeOfUvarint, WireReader, WireWriter } from './wire.ts'

/** Both since Kafka 3.0 (KIP-664), and flexible from their first version. */
const LIST = { apiKey: 66, apiVersion: 0, apiName: 'ListTransactions' } as const
const DESCRIBE = { apiKey: 65, apiVersion: 0, apiName: 'DescribeTransactions' } as const

/** States in which a transaction keeps read_committed readers waiting. */
const OPEN_STATES: readonly TransactionState[] = ['Ongoing', 'PrepareCommit', 'PrepareAbort', 'PrepareEpochFence']

/** A transaction that has neither been committed nor aborted to the end. */
export interface OpenTransaction {
  readonly transactionalId: string
  readonly state: TransactionState
  readonly timeoutMs: number
  /** Milliseconds since the epoch by the coordinator's clock. */
  readonly startedAt: number
}

/**
 * Asks every broker for the transactions that it coordinates and that are open, and returns those whose transactional id
 * begins with `prefix`. Brokers show what the caller may Describe.
 * @throws kafkajs's errors when a broker does not answer, or does not know yet what it coordinates
 */
export async function openTransactions(cluster: KafkajsCluster, prefix: string): Promise<OpenTransaction[]> {
  await cluster.refreshMetadata()
  const nodes = Object.keys(cluster.brokerPool.brokers)
  const found = await Promise.all(
    nodes.map(async nodeId => {
      const broker = await cluster.findBroker({ nodeId })
      const ids = (await list(broker)).filter(id => id.startsWith(prefix))
      return ids.length === 0 ? [] : describe(broker, ids)
    }),
  )
  return found.flat().sort((a, b) => (a.transactionalId < b.transactionalId ? -1 : 1))
}

async function list(broker: KafkajsBroker): Promise<readonly string[]> {
  const { ids } = await broker.connectionPool.send<ListResponse>({
    request: { ...LIST, encode: async () => encodeList() },
    response: { decode: async raw => decodeList(raw), parse: async response => requireSuccess(response) },
  })
  return ids
}

/** What the coordinator knows of the ids; those that have ended meanwhile are left out. */
async function describe(broker: KafkajsBroker, ids: readonly string[]): Promise<OpenTransaction[]> {
  const { transactions } = await broker.connectionPool.send<DescribeResponse>({
    request: { ...DESCRIBE, encode: async () => encodeDescribe(ids) },
    response: { decode: async raw => decodeDescribe(raw), parse: async response => response },
  })
  return transactions.filter(({ state }) => OPEN_STATES.includes(state))
}

interface ListResponse {
  /** Named as kafkajs's connection reads it, to hold back the next request. */
  readonly clientSideThrottleTime: number
  readonly errorCode: number
  readonly ids: readonly string[]
}

interface DescribeResponse {
  readonly clientSideThrottleTime: number
  readonly transactions: readonly OpenTransaction[]
}

function requireSuccess(response: ListResponse): ListResponse {
  if (response.errorCode !== 0) throw errorOfCode(response.errorCode)
  return response
}

function encodeList(): EncodedRequest {
  const NO_PRODUCER_IDS = 1
  const counts = 2 + sizeOfUvarint(OPEN_STATES.length + 1) + NO_PRODUCER_IDS
  const size = OPEN_STATES.reduce((sum, state) => sum + sizeOfCompactString(state), counts)
  const writer = new WireWriter(size).noTags().compactCount(OPEN_STATES.length)
  for (const state of OPEN_STATES) writer.compactString(state)
  return writer.compactCount(0).noTags().finish()
}

function decodeList(raw: Buffer): ListResponse {
  const reader = new WireReader(raw)
  reader.tags() // of the header
  const clientSideThrottleTime = reader.int32()
  const errorCode = reader.int16()
  reader.compactArray(unknown => unknown.compactString()) // states that the broker has no name for
  const ids = reader.compactArray(() => {
    const id = reader.compactString()
    reader.int64() // producer id
    reader.compactString() // state: asked again in a moment
    reader.tags()
    return id
  })
  return { clientSideThrottleTime, errorCode, ids }
}

function encodeDescribe(ids: readonly string[]): EncodedRequest {
  const counts = 2 + sizeOfUvarint(ids.length + 1)
  const size = ids.reduce((sum, id) => sum + sizeOfCompactString(id), counts)
  const writer = new WireWriter(size).noTags().compactCount(ids.length)
  for (const id of ids) writer.compactString(id)
  return writer.noTags().finish()
}

function decodeDescribe(raw: Buffer): DescribeResponse {
  const reader = new WireReader(raw)
  reader.tags() // of the header
  return { clientSideThrottleTime: reader.int32(), transactions: reader.compactArray(decodeTransaction) }
}

function decodeTransaction(reader: WireReader): OpenTransaction {
  reader.int16() // an id that has just expired has an error, and no state
  const transactionalId = reader.compactString()
  const state = reader.compactString() as TransactionState
  const timeoutMs = reader.int32()
  const startedAt = reader.int64()
  reader.int64() // producer id
  reader.int16() // its epoch
  reader.compactArray(topic => {
    topic.compactString()
    topic.compactArray(partition => partition.int32())
    topic.tags()
  })
  reader.tags()
  return { transactionalId, state, timeoutMs, startedAt }
}
