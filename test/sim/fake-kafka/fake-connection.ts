import { answerMemory } from '../../../src/kafka/answer-memory.ts'
import { memoryPool } from '../../../src/kafka/memory-pool.ts'
import type { FakeBroker } from './fake-broker.ts'
import type { JoinGroupRequest } from './group-requests.ts'

const LENT_BYTES = 128 * 1024

/** Whoever reads of an answer after the last one let go of it finds no record there. */
const OVERWRITTEN = 0xdb
memoryPool.watch(memory => new Uint8Array(memory, 0, Math.min(memory.byteLength, 16_384)).fill(OVERWRITTEN))

/** A Fetch answer in memory that is lent, as large ones are on a real connection. */
function lent(answer: Buffer): Buffer {
  const memory = answerMemory.lend(Math.max(answer.length, LENT_BYTES)).subarray(0, answer.length)
  memory.set(answer)
  return memory
}

/** One request of one client to one broker. */
export interface Asked {
  readonly clientId: string
  readonly node: number
  readonly api: string
}

/**
 * Decides the fate of a request. `deliver()` lets the broker carry it out, at that moment, and resolves with its answer
 * or rejects with the protocol error as kafkajs throws it. May be called later, twice (a doubled frame) or never; what
 * this returns or throws is what the client sees.
 */
export type Network = (asked: Asked, deliver: () => Promise<unknown>) => Promise<unknown>

/** API keys and the newest versions of Kafka 4.4, as far as anybody looks. */
const VERSIONS = { 1: { minVersion: 4, maxVersion: 18 }, 26: { minVersion: 0, maxVersion: 5 } }

/**
 * A client's connection to a broker, in the shape of kafkajs's `Broker`. As on a real connection, the broker carries out
 * one request at a time: what is delivered while a join or a fetch waits, waits behind it. A new connection does not.
 */
export class FakeConnection implements KafkajsBroker {
  readonly nodeId: number
  readonly versions = VERSIONS
  readonly connectionPool: KafkajsBroker['connectionPool']
  readonly #broker: FakeBroker
  readonly #clientId: string
  readonly #network: Network
  /** The run of the broker that it is connected to. */
  #run: object
  /** Ends when the broker has answered everything that was delivered. */
  #busy: Promise<unknown> = Promise.resolve()

  constructor(broker: FakeBroker, clientId: string, network: Network) {
    this.nodeId = broker.node
    this.#broker = broker
    this.#clientId = clientId
    this.#network = network
    this.#run = broker.run
    const socket = () => this.#run
    const connection = {
      isConnected: () => socket() === broker.run,
      get socket() {
        return socket()
      },
    }
    const pool = [connection]
    this.connectionPool = { host: 'fake', port: broker.node, pool, send: exchange => this.#send(exchange) }
  }

  isConnected(): boolean {
    return true
  }

  async connect(): Promise<void> {}

  /** Requests under way are still answered, as kafkajs waits for them before it closes a socket. */
  async disconnect(): Promise<void> {}

  metadata = <T>(topics: readonly string[]): Promise<T> => this.#ask('Metadata', topics)
  findGroupCoordinator = (request: KafkajsCoordinatorRequest) => this.#ask('FindCoordinator', request)
  initProducerId: KafkajsBroker['initProducerId'] = request => this.#ask('InitProducerId', request)
  addPartitionsToTxn: KafkajsBroker['addPartitionsToTxn'] = request => this.#ask('AddPartitionsToTxn', request)
  addOffsetsToTxn: KafkajsBroker['addOffsetsToTxn'] = request => this.#ask('AddOffsetsToTxn', request)
  txnOffsetCommit: KafkajsBroker['txnOffsetCommit'] = request => this.#ask('TxnOffsetCommit', request)
  endTxn: KafkajsBroker['endTxn'] = request => this.#ask('EndTxn', request)
  offsetCommit: KafkajsBroker['offsetCommit'] = request => this.#ask('OffsetCommit', request)
  offsetFetch: KafkajsBroker['offsetFetch'] = request => this.#ask('OffsetFetch', request)
  listOffsets: KafkajsBroker['listOffsets'] = request => this.#ask('ListOffsets', request)
  describeGroups: KafkajsBroker['describeGroups'] = request => this.#ask('DescribeGroups', request)
  syncGroup = (request: unknown) => this.#ask('SyncGroup', request)
  heartbeat = (request: unknown) => this.#ask('Heartbeat', request)
  leaveGroup = (request: unknown) => this.#ask('LeaveGroup', request)

  /** Joins; a new member is first told its id and joins again with it (KIP-394), which kafkajs does by itself. */
  joinGroup = async (request: JoinGroupRequest): Promise<unknown> => {
    try {
      return await this.#ask('JoinGroup', request)
    } catch (error) {
      const { type, memberId } = error as { type?: string; memberId?: string }
      if (type !== 'MEMBER_ID_REQUIRED') throw error
      return this.#ask('JoinGroup', { ...request, memberId })
    }
  }

  /** Requests that Sluice encodes itself. */
  async #send<T>(exchange: { request: KafkajsProtocolRequest; response: KafkajsProtocolResponse<T> }): Promise<T> {
    const { request, response } = exchange
    const { apiName, apiVersion } = request
    const { buffer } = (await request.encode()) as { buffer: Buffer }
    const raw = await this.#carry(apiName, () => this.#broker.handleEncoded(apiName, { apiVersion, bytes: buffer }))
    return response.parse(await response.decode(apiName === 'Fetch' ? lent(raw) : raw))
  }

  async #ask<T>(api: string, request: unknown): Promise<T> {
    return (await this.#carry(api, () => this.#broker.handle(api, request, this.#clientId))) as T
  }

  /** Hands a request to the network, which may deliver it. A connection that was closed is opened again first. */
  #carry<T>(api: string, handle: () => Promise<T>): Promise<T> {
    this.#run = this.#broker.run
    const deliver = () => {
      const answer = this.#busy.then(handle)
      this.#busy = answer.catch(() => {})
      return answer
    }
    return this.#network({ clientId: this.#clientId, node: this.nodeId, api }, deliver) as Promise<T>
  }
}
