import type { Clock } from '../../../src/core/clock.ts'
import { ErrorCode, protocolError, requireNone } from './error-code.ts'
import { Group, type JoinAnswer, type JoinRequest } from './group.ts'
import type { OffsetEntry } from './group-offsets.ts'
import type { ProducerClaim, TransactionCoordinator } from './transaction-coordinator.ts'

/** `group.min.session.timeout.ms` of the brokers that the tests start, and the default maximum. */
const MIN_SESSION_TIMEOUT_MS = 1_000
const MAX_SESSION_TIMEOUT_MS = 1_800_000

/** The group coordinator: which group there is, and the offsets that it keeps. Refusals are thrown as kafkajs throws. */
export class GroupCoordinator {
  readonly #clock: Clock
  readonly #transactions: TransactionCoordinator
  readonly #groups = new Map<string, Group>()

  constructor(clock: Clock, transactions: TransactionCoordinator) {
    this.#clock = clock
    this.#transactions = transactions
  }

  join(groupId: string, request: JoinRequest): Promise<JoinAnswer> {
    if (request.sessionTimeoutMs < MIN_SESSION_TIMEOUT_MS || request.sessionTimeoutMs > MAX_SESSION_TIMEOUT_MS) {
      throw protocolError(ErrorCode.INVALID_SESSION_TIMEOUT)
    }
    return (request.memberId === '' ? this.#groupOf(groupId) : this.member(groupId)).join(request)
  }

  /** The group of somebody who says to be a member. */
  member(groupId: string): Group {
    const group = this.#groups.get(groupId)
    if (group === undefined) throw protocolError(ErrorCode.UNKNOWN_MEMBER_ID)
    return group
  }

  /** Ids of the members, those that wait for a rebalance included. */
  members(groupId: string): readonly string[] {
    return this.#groups.get(groupId)?.members ?? []
  }

  commit(groupId: string, memberId: string, generation: number, entries: readonly OffsetEntry[]): void {
    const known = this.#groups.get(groupId)
    if (known === undefined && generation >= 0) throw protocolError(ErrorCode.ILLEGAL_GENERATION)
    const group = this.#groupOf(groupId)
    group.checkCommit(memberId, generation)
    group.offsets.commit(entries)
  }

  /** TxnOffsetCommit before version 3: it names no generation, so that only the transaction is checked. */
  commitInTransaction(groupId: string, claim: ProducerClaim, entries: readonly OffsetEntry[]): void {
    const { offsets } = this.#groupOf(groupId)
    const { producerId, producerEpoch } = claim
    if (!offsets.hasOngoingTransaction(producerId, producerEpoch)) {
      const refusal = this.#transactions.verify(claim, { group: groupId })
      // What a client may simply send again is said to group members in their own words.
      requireNone(refusal === ErrorCode.CONCURRENT_TRANSACTIONS ? ErrorCode.COORDINATOR_NOT_AVAILABLE : refusal)
    }
    requireNone(offsets.commitInTransaction(producerId, producerEpoch, entries))
  }

  /** Whether the producer has offsets in the group that no marker has ended yet. */
  hasPending(groupId: string, producerId: bigint): boolean {
    return this.#groups.get(groupId)?.offsets.hasPending(producerId) === true
  }

  /** The marker of a transaction. */
  endTransaction(groupId: string, producerId: bigint, epoch: number, committed: boolean): void {
    this.#groupOf(groupId).offsets.end(producerId, epoch, committed)
  }

  committed(groupId: string, topic: string, partition: number): OffsetEntry | undefined {
    return this.#groups.get(groupId)?.offsets.get(topic, partition)
  }

  /** The offsets of a topic go with it. */
  deleteTopic(topic: string): void {
    for (const group of this.#groups.values()) group.offsets.deleteTopic(topic)
  }

  expire(groupId: string): void {
    this.#groups.get(groupId)?.offsets.clear()
  }

  #groupOf(groupId: string): Group {
    const known = this.#groups.get(groupId)
    if (known !== undefined) return known
    const group = new Group(this.#clock)
    this.#groups.set(groupId, group)
    return group
  }
}
