import type { Clock, Timer } from '../../../src/core/clock.ts'
import { ErrorCode, protocolError } from './error-code.ts'
import type { TransactionDescription } from './transactional-ids-codec.ts'

/** Who says what in a transaction; the coordinator believes it only if all three fit. */
export interface ProducerClaim {
  readonly transactionalId: string
  readonly producerId: bigint
  readonly producerEpoch: number
}

/** One thing that takes part in a transaction: a partition, or the offsets of a group. */
export type Participant = { readonly topic: string; readonly partition: number } | { readonly group: string }

export interface TransactionCoordinatorOptions {
  readonly clock: Clock
  /** How long each marker takes, in ms. */
  readonly markerDelayMs: () => number
  /** Writes the marker that ends the producer's transaction at a participant. */
  readonly writeMarker: (to: Participant, producerId: bigint, epoch: number, committed: boolean) => void
  /** Whether the producer has something at a participant that no marker has ended yet. */
  readonly isOpenAt: (at: Participant, producerId: bigint) => boolean
}

/** How the broker of the coordinator crashes. */
export interface BrokerCrash {
  /** Whether a transaction loses markers, if none of them is written yet. */
  readonly losesAll: (transactionalId: string) => boolean
  /** Whether it loses the next one, of those that are left. */
  readonly losesOne: (transactionalId: string) => boolean
  /** How long partitions are without a leader afterwards, in ms, while the coordinator takes requests already. */
  readonly leaderlessMs: number
}

export type TransactionState =
  | 'Empty'
  | 'Ongoing'
  | 'PrepareCommit'
  | 'PrepareAbort'
  | 'CompleteCommit'
  | 'CompleteAbort'

interface Transaction {
  readonly id: string
  producerId: bigint
  epoch: number
  timeoutMs: number
  state: TransactionState
  /** By name, in the order in which they were added. */
  readonly participants: Map<string, Participant>
  /** Whether some marker of the last transaction is written. */
  marked: boolean
  /** Participants whose last marker was lost, where the producer's records still wait for one. */
  readonly hanging: Set<string>
  /** Wall time; -1 where none is under way. */
  startedAt: number
  /** Of the transaction while it is under way, of its next marker after that. */
  timer: Timer | undefined
}

const MAX_EPOCH = 32_767
/** `transaction.max.timeout.ms` */
const MAX_TIMEOUT_MS = 15 * 60 * 1_000
const FIRST_PRODUCER_ID = 1_000n
const NO_CRASH: BrokerCrash = { losesAll: () => false, losesOne: () => false, leaderlessMs: 0 }

/**
 * The transaction coordinator: TransactionCoordinator.scala of Kafka 4, for the request versions that kafkajs speaks
 * (KIP-98; not KIP-890's epoch in every transaction, which comes with EndTxn 5).
 *
 *              AddPartitions, AddOffsets            EndTxn(commit)                 markers written
 *   ┌▶ Empty ──────────────────────────▶ Ongoing ──────────────────▶ PrepareCommit ───────────────▶ CompleteCommit ─┐
 *   │                                     ▲  │ └─EndTxn(abort)─────▶ PrepareAbort ────────────────▶ CompleteAbort ──┤
 *   │                                     │  └──time-out, InitProducerId: epoch + 1 ──▲                             │
 *   │                                     └───────────────AddPartitions, AddOffsets─────────────────────────────────┤
 *   └─────────────────────────────────────────────InitProducerId: epoch + 1─────────────────────────────────────────┘
 *
 * The request that ends a transaction is answered when its outcome is decided, before the first marker is written. In the
 * two Prepare states the next transaction and the next owner are refused with CONCURRENT_TRANSACTIONS.
 *
 * A crash may lose markers, and the transaction is complete all the same: Kafka 4.4's TransactionMarkerChannelManager
 * takes a partition without a leader for deleted, and a broker that has just come back has such partitions. What the
 * producer wrote there is open until the next marker with its producer id, which ends both, as that one says.
 */
export class TransactionCoordinator {
  readonly #options: TransactionCoordinatorOptions
  readonly #transactions = new Map<string, Transaction>()
  #nextProducerId = FIRST_PRODUCER_ID
  /** The last crash, and until when it loses markers. */
  #crash: BrokerCrash & { readonly until: number } = { ...NO_CRASH, until: Number.NEGATIVE_INFINITY }

  constructor(options: TransactionCoordinatorOptions) {
    this.#options = options
  }

  /** Transactional ids with a transaction some marker of which is not written, though it may have been lost. */
  open(): string[] {
    const open = ({ state, hanging }: Transaction) =>
      state === 'Ongoing' || state.startsWith('Prepare') || hanging.size > 0
    return [...this.#transactions.values()].filter(open).map(({ id }) => id)
  }

  /** Transactional ids with markers that are yet to be written. */
  ending(): string[] {
    return [...this.#transactions.values()].filter(({ state }) => state.startsWith('Prepare')).map(({ id }) => id)
  }

  /**
   * The broker crashes and comes back at once: it writes the markers that are left, or loses them. As long as partitions
   * have no leader it may lose those of a transaction that an initialisation aborts, too. A transaction that is under way
   * stays so.
   */
  crash(crash: BrokerCrash): void {
    this.#crash = { ...crash, until: this.#options.clock.now() + crash.leaderlessMs }
    for (const transaction of this.#transactions.values()) {
      if (!transaction.state.startsWith('Prepare')) continue
      transaction.timer?.cancel()
      const lost = lossOf(transaction, crash)
      for (const to of transaction.participants.values()) {
        if (lost()) this.#loseMarker(transaction, to)
        else this.#writeMarker(transaction, to)
      }
      this.#complete(transaction)
    }
  }

  /** What is known of an id; undefined for one that was never used. */
  describe(id: string): TransactionDescription | undefined {
    const transaction = this.#transactions.get(id)
    if (transaction === undefined) return undefined
    const { state, timeoutMs, startedAt, producerId, epoch: producerEpoch } = transaction
    return {
      state,
      timeoutMs,
      startedAt,
      producerId,
      producerEpoch,
      participants: [...transaction.participants.values()],
    }
  }

  /** @throws what kafkajs throws for the coordinator's refusal */
  initProducerId(id: string | undefined, timeoutMs: number): { producerId: bigint; producerEpoch: number } {
    if (id === undefined) return { producerId: this.#nextProducerId++, producerEpoch: 0 }
    if (id === '') throw protocolError(ErrorCode.INVALID_REQUEST)
    if (timeoutMs <= 0 || timeoutMs > MAX_TIMEOUT_MS) throw protocolError(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
    const transaction = this.#transactions.get(id) ?? this.#create(id)
    if (transaction.state === 'Ongoing') {
      this.#fence(transaction)
      throw protocolError(ErrorCode.CONCURRENT_TRANSACTIONS)
    }
    if (transaction.state.startsWith('Prepare')) throw protocolError(ErrorCode.CONCURRENT_TRANSACTIONS)
    if (transaction.epoch >= MAX_EPOCH - 1) {
      transaction.producerId = this.#nextProducerId++
      transaction.epoch = 0
    } else transaction.epoch++
    transaction.timeoutMs = timeoutMs
    transaction.state = 'Empty'
    return { producerId: transaction.producerId, producerEpoch: transaction.epoch }
  }

  /** Adds to the transaction under way, or begins one. */
  add(claim: ProducerClaim, participants: readonly Participant[]): ErrorCode {
    const transaction = this.#transactions.get(claim.transactionalId)
    const refusal = this.#checkClaim(transaction, claim)
    if (transaction === undefined || refusal !== ErrorCode.NONE) return refusal
    if (transaction.state.startsWith('Prepare')) return ErrorCode.CONCURRENT_TRANSACTIONS
    if (transaction.state !== 'Ongoing') this.#begin(transaction)
    for (const participant of participants) transaction.participants.set(nameOf(participant), participant)
    return ErrorCode.NONE
  }

  /** Whether the participant is in the producer's transaction: what a leader asks before it appends (KIP-890, part 1). */
  verify(claim: ProducerClaim, participant: Participant): ErrorCode {
    const transaction = this.#transactions.get(claim.transactionalId)
    const refusal = this.#checkClaim(transaction, claim)
    if (transaction === undefined || refusal !== ErrorCode.NONE) return refusal
    if (transaction.state.startsWith('Prepare')) return ErrorCode.CONCURRENT_TRANSACTIONS
    const added = transaction.state === 'Ongoing' && transaction.participants.has(nameOf(participant))
    return added ? ErrorCode.NONE : ErrorCode.INVALID_TXN_STATE
  }

  end(claim: ProducerClaim, commit: boolean): ErrorCode {
    const transaction = this.#transactions.get(claim.transactionalId)
    const refusal = this.#checkClaim(transaction, claim)
    if (transaction === undefined || refusal !== ErrorCode.NONE) return refusal
    switch (transaction.state) {
      case 'Ongoing':
        this.#end(transaction, commit)
        return ErrorCode.NONE
      case 'PrepareCommit':
        return commit ? ErrorCode.CONCURRENT_TRANSACTIONS : ErrorCode.INVALID_TXN_STATE
      case 'PrepareAbort':
        return commit ? ErrorCode.INVALID_TXN_STATE : ErrorCode.CONCURRENT_TRANSACTIONS
      case 'CompleteCommit':
        return commit ? ErrorCode.NONE : ErrorCode.INVALID_TXN_STATE
      case 'CompleteAbort':
        return commit ? ErrorCode.INVALID_TXN_STATE : ErrorCode.NONE
      case 'Empty':
        return ErrorCode.INVALID_TXN_STATE
    }
  }

  #checkClaim(transaction: Transaction | undefined, claim: ProducerClaim): ErrorCode {
    if (transaction?.producerId !== claim.producerId) return ErrorCode.INVALID_PRODUCER_ID_MAPPING
    // PRODUCER_FENCED, which the versions that kafkajs speaks do not know.
    return transaction.epoch === claim.producerEpoch ? ErrorCode.NONE : ErrorCode.INVALID_PRODUCER_EPOCH
  }

  #create(id: string): Transaction {
    const participants = new Map<string, Participant>()
    const producerId = this.#nextProducerId++
    const transaction: Transaction = {
      id,
      producerId,
      epoch: -1,
      timeoutMs: 0,
      state: 'Empty',
      participants,
      marked: false,
      hanging: new Set(),
      startedAt: -1,
      timer: undefined,
    }
    this.#transactions.set(id, transaction)
    return transaction
  }

  #begin(transaction: Transaction): void {
    transaction.state = 'Ongoing'
    transaction.marked = false
    transaction.startedAt = this.#options.clock.wallTime()
    transaction.timer = this.#options.clock.after(transaction.timeoutMs, () => this.#fence(transaction))
  }

  /** Aborts in the name of nobody: the epoch moves on, so that the producer cannot go on as if nothing had happened. */
  #fence(transaction: Transaction): void {
    transaction.epoch++
    const leaderless = this.#options.clock.now() < this.#crash.until
    this.#end(transaction, false, lossOf(transaction, leaderless ? this.#crash : NO_CRASH))
  }

  #end(transaction: Transaction, commit: boolean, lost = () => false): void {
    transaction.timer?.cancel()
    transaction.state = commit ? 'PrepareCommit' : 'PrepareAbort'
    this.#writeMarkers(transaction, lost)
  }

  /** @param lost whether a marker that is due is lost */
  #writeMarkers(transaction: Transaction, lost: () => boolean): void {
    const { clock, markerDelayMs } = this.#options
    transaction.timer = clock.after(markerDelayMs(), () => {
      const [next] = transaction.participants.values()
      if (next !== undefined) {
        if (lost()) this.#loseMarker(transaction, next)
        else this.#writeMarker(transaction, next)
      }
      if (transaction.participants.size > 0) this.#writeMarkers(transaction, lost)
      else this.#complete(transaction)
    })
  }

  #writeMarker(transaction: Transaction, to: Participant): void {
    const { participants, hanging, producerId, epoch, state } = transaction
    transaction.marked = true
    participants.delete(nameOf(to))
    hanging.delete(nameOf(to))
    this.#options.writeMarker(to, producerId, epoch, state === 'PrepareCommit')
  }

  #loseMarker({ participants, hanging, producerId }: Transaction, to: Participant): void {
    participants.delete(nameOf(to))
    if (this.#options.isOpenAt(to, producerId)) hanging.add(nameOf(to))
  }

  #complete(transaction: Transaction): void {
    transaction.participants.clear()
    transaction.startedAt = -1
    transaction.state = transaction.state === 'PrepareCommit' ? 'CompleteCommit' : 'CompleteAbort'
  }
}

/** Says of one marker after another whether it is lost. */
function lossOf({ id, marked }: Transaction, { losesAll, losesOne }: BrokerCrash): () => boolean {
  if (!marked && losesAll(id)) return () => true
  return () => losesOne(id)
}

function nameOf(participant: Participant): string {
  return 'group' in participant ? `group ${participant.group}` : `${participant.topic}/${participant.partition}`
}
