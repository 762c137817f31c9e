import type { Clock } from '../core/clock.ts'
import { allOf } from './all-of.ts'
import { BatchSender, type ProducerIdentity } from './batch-sender.ts'
import type { Coordinator } from './coordinator.ts'
import { translate } from './protocol-errors.ts'
import type { RecordBatchWriter } from './record-batch-writer.ts'
import { type LastTransaction, lastTransactionOf } from './transactional-ids.ts'

export interface TransactionalProducerOptions {
  readonly cluster: KafkajsCluster
  readonly transactionalId: string
  readonly transactionTimeoutMs: number
  /** How long a request may take, and how long clear refusals are retried. */
  readonly requestTimeoutMs: number
  readonly clock: Clock
  readonly coordinator: Coordinator
  /** Of the consumer group whose offsets move in the transactions. */
  readonly groupCoordinator: Coordinator
  readonly groupId: string
}

/** The offset that a transaction moves. */
export interface OffsetMove {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly metadata: string
}

/**
 * One transactional id (KIP-98, KIP-447's predecessor: zombies are fenced by the id). Three round trips a transaction:
 *
 *   AddPartitionsToTxn, AddOffsetsToTxn  ─▶  Produce ‖ TxnOffsetCommit  ─▶  EndTxn
 *
 * The two of a step travel together: a broker serves the requests of a connection one after another, so the second
 * never meets the first half done. No step is repeated after a time-out or a lost connection, and nothing is aborted by
 * hand: a delayed EndTxn of this epoch could otherwise end the *next* transaction. `initialise` is the way out of every
 * failure: it ends what was open and fences this epoch, wherever its requests may still linger.
 */
export class TransactionalProducer {
  readonly #options: TransactionalProducerOptions
  readonly #sender: BatchSender
  #identity: ProducerIdentity | undefined

  constructor(options: TransactionalProducerOptions) {
    this.#options = options
    this.#sender = new BatchSender(options.cluster, options.clock, options.requestTimeoutMs)
  }

  /** Whether the id was used before; brokers forget one that nobody used for a week. Throws translated errors. */
  async usedBefore(): Promise<boolean> {
    return (await this.#lastTransaction()) !== undefined
  }

  /**
   * Ends the open transaction of every former owner of the id and fences it. Afterwards nothing of it is open anywhere,
   * not even where the broker lost the marker that should have ended it:
   *
   *   T1 is written and decided ─▶ the broker crashes ─▶ restarted, it sends T1's markers to partitions that have no leader
   *   yet, and takes them for deleted (Kafka 4.4: TransactionMarkerChannelManager) ─▶ T1 is complete for its coordinator,
   *   and open in the output and in the group's offsets ─▶ the old offset is read, T1's records are done again in T2 ─▶
   *   T2's marker ends whatever its producer id has open: T1's records are visible beside T2's.
   *
   * So T1 is ended once more, as it was decided, by a transaction without records over the same partitions. Where it had
   * not been decided it is aborted. So it is when the epoch shows that a former owner had begun another in the meantime,
   * which the initialisation aborted: then it is that one whose markers may be lost.
   * @param outputs every partition that a transaction of the id may have written to
   */
  async initialise(outputs: readonly KafkajsTopicPartitions<number>[]): Promise<void> {
    this.#identity = undefined
    const last = await this.#lastTransaction()
    let identity = await this.#newEpoch()
    if (last !== undefined) {
      await this.#endAgain(identity, outputs, wasCommitted(last, identity))
      identity = await this.#newEpoch() // is given when all markers are written
    }
    this.#sender.reset()
    this.#identity = identity
  }

  async #lastTransaction(): Promise<LastTransaction | undefined> {
    const { coordinator, transactionalId, requestTimeoutMs } = this.#options
    try {
      return await coordinator.send(requestTimeoutMs, broker => lastTransactionOf(broker, transactionalId))
    } catch (error) {
      throw translate(error, `asking for the transactional id ${transactionalId}`, 'broker-unreachable')
    }
  }

  async #newEpoch(): Promise<ProducerIdentity> {
    const { coordinator, transactionalId, transactionTimeoutMs, requestTimeoutMs } = this.#options
    try {
      const { producerId, producerEpoch } = await coordinator.send(requestTimeoutMs, broker =>
        broker.initProducerId({ transactionalId, transactionTimeout: transactionTimeoutMs }),
      )
      return { producerId: BigInt(producerId), producerEpoch, transactionalId }
    } catch (error) {
      const doing = `initialising the transactional id ${transactionalId}, with TRANSACTION_TIMEOUT_MS=${transactionTimeoutMs}`
      throw translate(error, doing, 'broker-unreachable')
    }
  }

  async #endAgain(
    identity: ProducerIdentity,
    outputs: readonly KafkajsTopicPartitions<number>[],
    commit: boolean,
  ): Promise<void> {
    try {
      await this.#add(identity, outputs)
      await this.#end(identity, commit)
    } catch (error) {
      const { transactionalId } = this.#options
      throw translate(error, `ending the last transaction of ${transactionalId} once more`, 'transaction-unknown')
    }
  }

  /**
   * Publishes the batches and moves the offset, all or nothing.
   * @throws FencedError when another owner initialised the id; SluiceError otherwise, with the outcome unknown
   */
  async commit(batches: readonly RecordBatchWriter[], move: OffsetMove): Promise<void> {
    const identity = this.#identity
    if (identity === undefined) throw new Error('commit before initialise')
    this.#identity = undefined
    try {
      await this.#add(identity, partitionsByTopic(batches))
      await allOf([this.#sender.send(batches, identity), this.#moveOffset(identity, move)])
      await this.#end(identity, true)
      this.#identity = identity
    } catch (error) {
      throw translate(
        error,
        `committing offset ${move.offset} of ${move.topic}/${move.partition}`,
        'transaction-unknown',
      )
    }
  }

  async #add(identity: ProducerIdentity, topics: readonly KafkajsTopicPartitions<number>[]): Promise<void> {
    const { coordinator, requestTimeoutMs, groupId } = this.#options
    const state = wireState(identity)
    const addOffsets = coordinator.send(requestTimeoutMs, broker => broker.addOffsetsToTxn({ ...state, groupId }))
    const addPartitions =
      topics.length === 0
        ? Promise.resolve()
        : coordinator
            .send(requestTimeoutMs, broker => broker.addPartitionsToTxn({ ...state, topics }))
            .catch(error => {
              const names = topics.map(({ topic }) => topic).join(' and ')
              throw translate(error, `beginning a transaction on ${names}`, 'transaction-unknown')
            })
    await allOf<unknown>([addOffsets, addPartitions])
  }

  async #moveOffset(identity: ProducerIdentity, move: OffsetMove): Promise<void> {
    const { groupCoordinator, requestTimeoutMs, groupId } = this.#options
    const partitions = [{ partition: move.partition, offset: String(move.offset), metadata: move.metadata }]
    const request = { ...wireState(identity), groupId, topics: [{ topic: move.topic, partitions }] }
    await groupCoordinator.send(requestTimeoutMs, broker => broker.txnOffsetCommit(request))
  }

  async #end(identity: ProducerIdentity, commit: boolean): Promise<void> {
    const { coordinator, requestTimeoutMs } = this.#options
    const request = { ...wireState(identity), transactionResult: commit }
    await coordinator.send(requestTimeoutMs, broker => broker.endTxn(request))
  }
}

/** Whether the last thing before this epoch was a commit. */
function wasCommitted({ state, producerEpoch }: LastTransaction, next: ProducerIdentity): boolean {
  const committed = state === 'PrepareCommit' || state === 'CompleteCommit'
  return committed && next.producerEpoch === producerEpoch + 1
}

function wireState({ transactionalId, producerId, producerEpoch }: ProducerIdentity): KafkajsProducerState {
  return { transactionalId: transactionalId!, producerId: producerId.toString(), producerEpoch }
}

function partitionsByTopic(batches: readonly RecordBatchWriter[]): KafkajsTopicPartitions<number>[] {
  const byTopic = new Map<string, Set<number>>()
  for (const { topic, partition } of batches) {
    const partitions = byTopic.get(topic)
    if (partitions === undefined) byTopic.set(topic, new Set([partition]))
    else partitions.add(partition)
  }
  return [...byTopic].map(([topic, partitions]) => ({ topic, partitions: [...partitions] }))
}
