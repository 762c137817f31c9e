import type { Clock } from '../core/clock.ts'
import { BatchSender, type ProducerIdentity } from './batch-sender.ts'
import { Coordinator } from './coordinator.ts'
import { batchOfOne, type KeyedRecord } from './keyed-record.ts'
import { translate } from './protocol-errors.ts'

export interface TransactionalWriterOptions {
  /** Whose metadata has the topic. */
  readonly cluster: KafkajsCluster
  readonly topic: string
  readonly transactionalId: string
  readonly clock: Clock
  /** How long a request may take, and how long clear refusals are retried. */
  readonly requestTimeoutMs: number
}

const PARTITION = 0
/** Short: one that a killed process leaves open keeps every reader of the topic from what comes after it. */
const TRANSACTION_TIMEOUT_MS = 10_000

/**
 * Appends records to the first partition of a topic, each in a transaction of its own, for as long as nobody else
 * initialises the same transactional id (KIP-98): what was read after `initialise` cannot have been changed by another
 * holder of the id when a `write` succeeds.
 */
export class TransactionalWriter {
  readonly #options: TransactionalWriterOptions
  readonly #coordinator: Coordinator
  readonly #sender: BatchSender
  #identity: ProducerIdentity | undefined

  constructor(options: TransactionalWriterOptions) {
    const { cluster, transactionalId, clock, requestTimeoutMs } = options
    this.#options = options
    this.#coordinator = new Coordinator(cluster, 'transaction', transactionalId, clock)
    this.#sender = new BatchSender(cluster, clock, requestTimeoutMs)
  }

  /**
   * Fences whoever holds the id, and ends its open transaction.
   * @throws SluiceError
   */
  async initialise(): Promise<void> {
    const { transactionalId, requestTimeoutMs } = this.#options
    this.#identity = undefined
    try {
      const { producerId, producerEpoch } = await this.#coordinator.send(requestTimeoutMs, broker =>
        broker.initProducerId({ transactionalId, transactionTimeout: TRANSACTION_TIMEOUT_MS }),
      )
      this.#sender.reset()
      this.#identity = { producerId: BigInt(producerId), producerEpoch, transactionalId }
    } catch (error) {
      throw translate(error, `initialising the transactional id ${transactionalId}`, 'broker-unreachable')
    }
  }

  /**
   * Resolves when every read_committed reader sees the record.
   * @throws FencedError when somebody else has initialised the id: the record is never seen. SluiceError otherwise, with
   *   the outcome unknown: `initialise` settles it, and reading the topic after that shows it
   */
  async write(record: KeyedRecord): Promise<void> {
    const { topic, transactionalId, requestTimeoutMs } = this.#options
    const identity = this.#identity
    if (identity === undefined) throw new Error('write before initialise')
    const { producerId, producerEpoch } = identity
    const state = { transactionalId, producerId: String(producerId), producerEpoch }
    this.#identity = undefined
    try {
      const topics = [{ topic, partitions: [PARTITION] }]
      await this.#coordinator.send(requestTimeoutMs, broker => broker.addPartitionsToTxn({ ...state, topics }))
      const batch = batchOfOne(topic, PARTITION, record)
      await this.#sender.send([batch], identity)
      batch.free() // not after a failure: its bytes may still be on their way to a socket
      await this.#coordinator.send(requestTimeoutMs, broker => broker.endTxn({ ...state, transactionResult: true }))
      this.#identity = identity
    } catch (error) {
      throw translate(error, `writing to ${topic}`, 'transaction-unknown')
    }
  }
}
