import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { allOf } from './all-of.ts'
import { BatchSender, type ProducerIdentity } from './batch-sender.ts'
import { type Coordinator, connectionOf } from './coordinator.ts'
import { isRefused, protocolType, translate } from './protocol-errors.ts'
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
  /** The connection to the group's coordinator that the offset must take, if it must take a certain one. */
  readonly over?: { readonly connection: unknown }
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
  /** To the coordinator, over which the identity came. */
  #connection: unknown
  /** As the coordinator described it when it was last asked. */
  #last: LastTransaction | undefined
  /** Given, but the last transaction is not yet ended again. */
  #takeover: Takeover | undefined

  constructor(options: TransactionalProducerOptions) {
    this.#options = options
    this.#sender = new BatchSender(options.cluster, options.clock, options.requestTimeoutMs)
  }

  /** Whether the connection is still there over which the last initialisation came: without it `commit` is refused. */
  get connected(): boolean {
    const { connection } = this.#options.coordinator
    return connection !== undefined && connection === this.#connection
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
   *
   * Such an end may lose its markers, too, if the coordinator crashes meanwhile. And another owner may come in between:
   *
   *   we end T1 again ─▶ another owner initialises, and writes T2 ─▶ our next initialisation aborts T2, and its markers are
   *   lost ─▶ our next transaction ends T2 as it ends itself, committed: T2's records are visible beside ours.
   *
   * So it is repeated until the connection has survived it and nobody came in between.
   *
   * An attempt that got no answer is not begun anew: the coordinator has forgotten by now what T1 came to. It goes on in
   * the same epoch, in which nothing else is sent than this one end, however often and late.
   * @param outputs every partition that a transaction of the id may have written to
   */
  async initialise(outputs: readonly KafkajsTopicPartitions<number>[]): Promise<void> {
    this.#identity = undefined
    let takeover = this.#takeover ?? (await this.#takeOver())
    while (takeover.last !== undefined) {
      this.#takeover = takeover
      await this.#endAgain(takeover.identity, outputs, wasCommitted(takeover.last, takeover.identity))
      this.#takeover = undefined
      const before = takeover
      takeover = await this.#takeOver() // is given when all markers are written
      if (follows(takeover, before)) break // or else they may be lost again
    }
    this.#sender.reset()
    this.#identity = takeover.identity
    this.#connection = takeover.connection
  }

  async #lastTransaction(): Promise<LastTransaction | undefined> {
    const { coordinator, transactionalId, requestTimeoutMs } = this.#options
    try {
      return await coordinator.send(requestTimeoutMs, broker => lastTransactionOf(broker, transactionalId))
    } catch (error) {
      throw translate(error, `asking for the transactional id ${transactionalId}`, 'broker-unreachable')
    }
  }

  /** The next epoch, and what was before it: asked for in one go, so that little can happen between the two. */
  async #takeOver(): Promise<Takeover> {
    const { coordinator, transactionalId, transactionTimeoutMs: transactionTimeout, requestTimeoutMs } = this.#options
    try {
      return await coordinator.send(requestTimeoutMs, async broker => {
        const last = this.#recall(await lastTransactionOf(broker, transactionalId))
        const { producerId, producerEpoch } = await broker.initProducerId({ transactionalId, transactionTimeout })
        return {
          last,
          connection: connectionOf(broker),
          identity: { producerId: BigInt(producerId), producerEpoch, transactionalId },
        }
      })
    } catch (error) {
      const doing = `initialising the transactional id ${transactionalId}, with TRANSACTION_TIMEOUT_MS=${transactionTimeout}`
      throw translate(error, doing, 'broker-unreachable')
    }
  }

  /**
   * What an initialisation makes the coordinator forget: the state is Empty then. If that one was ours, and only its
   * answer is missing, it is known here what was before it.
   */
  #recall(described: LastTransaction | undefined): LastTransaction | undefined {
    const before = this.#last
    const ours = described?.state === 'Empty' && described.producerEpoch - 1 === before?.producerEpoch
    this.#last = ours ? { ...described, state: before.state } : described
    return this.#last
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
      if (protocolType(error) !== undefined) this.#takeover = undefined
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
      await this.#add(identity, partitionsByTopic(batches), this.#requireConnection)
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

  /** @param check is asked before each request is sent, also after a refusal */
  async #add(
    identity: ProducerIdentity,
    topics: readonly KafkajsTopicPartitions<number>[],
    check: (broker: KafkajsBroker) => void = () => {},
  ): Promise<void> {
    const { coordinator, requestTimeoutMs, groupId } = this.#options
    const state = wireState(identity)
    const send = (request: (broker: KafkajsBroker) => Promise<unknown>) =>
      coordinator.send(requestTimeoutMs, async broker => {
        check(broker)
        await request(broker)
      })
    const addOffsets = send(broker => broker.addOffsetsToTxn({ ...state, groupId }))
    const addPartitions =
      topics.length === 0
        ? Promise.resolve()
        : send(broker => broker.addPartitionsToTxn({ ...state, topics })).catch(error => {
            const names = topics.map(({ topic }) => topic).join(' and ')
            throw translate(error, `beginning a transaction on ${names}`, 'transaction-unknown')
          })
    await allOf<unknown>([addOffsets, addPartitions])
  }

  /**
   * The coordinator has not crashed since this epoch began, else markers of its last transaction may be lost. The next one
   * would end that in those partitions only that it writes to, and as that next one ends.
   * @throws SluiceError `transaction-unknown` otherwise
   */
  readonly #requireConnection = (broker: KafkajsBroker): void => {
    if (isOpen(this.#connection, broker)) return
    const { transactionalId } = this.#options
    throw new SluiceError(
      'transaction-unknown',
      `The connection to the coordinator of ${transactionalId} was closed: its last transaction may not have ended everywhere.`,
    )
  }

  async #moveOffset(identity: ProducerIdentity, move: OffsetMove): Promise<void> {
    const { groupCoordinator, requestTimeoutMs, groupId } = this.#options
    const partitions = [{ partition: move.partition, offset: String(move.offset), metadata: move.metadata }]
    const request = { ...wireState(identity), groupId, topics: [{ topic: move.topic, partitions }] }
    await groupCoordinator.send(requestTimeoutMs, async broker => {
      if (move.over !== undefined && !isOpen(move.over.connection, broker)) throw coordinatorChanged(move)
      try {
        await broker.txnOffsetCommit(request)
      } catch (error) {
        if (move.over !== undefined && isFromElsewhere(protocolType(error))) throw coordinatorChanged(move)
        throw error
      }
    })
  }

  async #end(identity: ProducerIdentity, commit: boolean): Promise<void> {
    const { coordinator, requestTimeoutMs } = this.#options
    const request = { ...wireState(identity), transactionResult: commit }
    await coordinator.send(requestTimeoutMs, broker => broker.endTxn(request))
  }
}

/** A new epoch of the id, and the last transaction before it, if the id was ever used. */
interface Takeover {
  readonly identity: ProducerIdentity
  readonly last: LastTransaction | undefined
  readonly connection: unknown
}

/** Whether the last thing before this epoch was a commit. */
function wasCommitted({ state, producerEpoch }: LastTransaction, next: ProducerIdentity): boolean {
  const committed = state === 'PrepareCommit' || state === 'CompleteCommit'
  return committed && next.producerEpoch === producerEpoch + 1
}

/** Whether the coordinator did not crash between the two, and nobody else initialised the id. */
function follows(next: Takeover, before: Takeover): boolean {
  const { producerId, producerEpoch } = before.identity
  const mine = next.last?.producerEpoch === producerEpoch && next.identity.producerId === producerId
  return mine && next.identity.producerEpoch === producerEpoch + 1 && next.connection === before.connection
}

/** Whether requests to the broker take this very connection. */
function isOpen(connection: unknown, broker: KafkajsBroker): boolean {
  return connection !== undefined && connection === connectionOf(broker)
}

/** Whether a broker is not the coordinator, or has only just become it: then another may have been since the offset was read. */
function isFromElsewhere(type: string | undefined): boolean {
  return isRefused(type) && type !== 'CONCURRENT_TRANSACTIONS'
}

function coordinatorChanged({ topic, partition, offset }: OffsetMove): SluiceError {
  return new SluiceError(
    'transaction-unknown',
    `The coordinator of the group has changed since the offset of ${topic}/${partition} was read, before ${offset} was committed: ` +
      'whether that was its latest offset has to be asked again.',
  )
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
