import type { Clock, Timer } from '../../../src/core/clock.ts'
import { ErrorCode, protocolError } from './error-code.ts'
import { GroupOffsets } from './group-offsets.ts'

export interface GroupProtocol {
  readonly name: string
  readonly metadata: Buffer
}

export interface JoinRequest {
  readonly clientId: string
  /** Empty for a member that is new. */
  readonly memberId: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly protocols: readonly GroupProtocol[]
}

export interface JoinAnswer {
  readonly generationId: number
  readonly leaderId: string
  readonly memberId: string
  readonly groupProtocol: string
  /** For the leader; empty for the others. */
  readonly members: readonly { readonly memberId: string; readonly memberMetadata: Buffer }[]
}

interface Member {
  readonly id: string
  sessionTimeoutMs: number
  rebalanceTimeoutMs: number
  protocols: readonly GroupProtocol[]
  assignment: Buffer
  joining: PromiseWithResolvers<JoinAnswer> | undefined
  syncing: PromiseWithResolvers<Buffer> | undefined
  session: Timer | undefined
}

type State = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable'

const NOTHING = Buffer.alloc(0)

/**
 * One consumer group of the classic protocol: ClassicGroup and GroupMetadataManager of Kafka 4, without static members.
 *
 *            first join                all have joined, or               leader has synced
 *   ┌▶ Empty ──────────▶ Preparing ────the rebalance time-out──▶ Completing ──────────────▶ Stable ─┐
 *   │                     ▲     │                                  │                                │
 *   │                     │     └─nobody is left─▶ Empty           │                                │
 *   │                     └─── a member joins, leaves or times out ┴────────────────────────────────┤
 *   └──────────────────────────── (the last one has gone) ──────────────────────────────────────────┘
 *
 * A join waits for the whole group, a sync for the leader. Each completed rebalance is a generation.
 */
export class Group {
  readonly offsets = new GroupOffsets()
  readonly #clock: Clock
  #state: State = 'Empty'
  #generation = 0
  #leader = ''
  readonly #members = new Map<string, Member>()
  /** Ids that were handed out to members which have not joined with them yet. */
  readonly #promised = new Map<string, Timer>()
  #rebalance: Timer | undefined
  #named = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get members(): readonly string[] {
    return [...this.#members.keys()]
  }

  /** Resolves at the end of the rebalance. Throws, or rejects, what kafkajs throws for the coordinator's refusal. */
  join(request: JoinRequest): Promise<JoinAnswer> {
    const { memberId } = request
    if (memberId === '') throw this.#memberIdRequired(request)
    const promise = this.#promised.get(memberId)
    if (promise !== undefined) {
      promise.cancel()
      this.#promised.delete(memberId)
      return this.#joinAnew(this.#addMember(request), request)
    }
    const member = this.#members.get(memberId)
    if (member === undefined) throw protocolError(ErrorCode.UNKNOWN_MEMBER_ID)
    const unchanged = sameProtocols(member.protocols, request.protocols)
    const leads = memberId === this.#leader
    if ((this.#state === 'CompletingRebalance' && unchanged) || (this.#state === 'Stable' && unchanged && !leads)) {
      return Promise.resolve(this.#joinAnswer(member)) // it asks again for what it was answered already
    }
    return this.#joinAnew(member, request)
  }

  /** Resolves with the member's part when the leader has synced. */
  sync(
    memberId: string,
    generation: number,
    assignments: readonly { memberId: string; memberAssignment: Buffer }[],
  ): Promise<Buffer> {
    const member = this.#require(memberId, generation)
    this.#keepAlive(member)
    if (this.#state === 'PreparingRebalance') throw protocolError(ErrorCode.REBALANCE_IN_PROGRESS)
    if (this.#state === 'Stable') return Promise.resolve(member.assignment)
    const syncing = Promise.withResolvers<Buffer>()
    member.syncing = syncing
    if (memberId === this.#leader) this.#assign(assignments)
    return syncing.promise
  }

  heartbeat(memberId: string, generation: number): void {
    const member = this.#require(memberId, generation)
    this.#keepAlive(member)
    if (this.#state === 'PreparingRebalance') throw protocolError(ErrorCode.REBALANCE_IN_PROGRESS)
  }

  leave(memberId: string): void {
    const promised = this.#promised.get(memberId)
    if (promised !== undefined) {
      promised.cancel()
      this.#promised.delete(memberId)
      this.#completeJoinIfAll()
      return
    }
    const member = this.#members.get(memberId)
    if (member === undefined) throw protocolError(ErrorCode.UNKNOWN_MEMBER_ID)
    this.#remove(member)
  }

  /**
   * Whether offsets may be committed in the name of a member (ClassicGroup.validateOffsetCommit). A member may do so
   * until the group has the next generation, even while the others join already.
   */
  checkCommit(memberId: string, generation: number): void {
    if (generation < 0 && this.#state === 'Empty') return
    if (generation < 0 && memberId === '') throw protocolError(ErrorCode.UNKNOWN_MEMBER_ID)
    const member = this.#require(memberId, generation)
    if (this.#state === 'CompletingRebalance') throw protocolError(ErrorCode.REBALANCE_IN_PROGRESS)
    this.#keepAlive(member)
  }

  #memberIdRequired({ clientId, sessionTimeoutMs }: JoinRequest): Error {
    const memberId = `${clientId}-${++this.#named}`
    const forget = () => {
      this.#promised.delete(memberId)
      this.#completeJoinIfAll()
    }
    this.#promised.set(memberId, this.#clock.after(sessionTimeoutMs, forget))
    return Object.assign(protocolError(ErrorCode.MEMBER_ID_REQUIRED), { memberId })
  }

  #addMember({ memberId, sessionTimeoutMs, rebalanceTimeoutMs, protocols }: JoinRequest): Member {
    const member: Member = {
      id: memberId,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      protocols,
      assignment: NOTHING,
      joining: undefined,
      syncing: undefined,
      session: undefined,
    }
    this.#members.set(memberId, member)
    if (this.#leader === '') this.#leader = memberId
    return member
  }

  #joinAnew(member: Member, request: JoinRequest): Promise<JoinAnswer> {
    member.sessionTimeoutMs = request.sessionTimeoutMs
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs
    member.protocols = request.protocols
    const joining = Promise.withResolvers<JoinAnswer>()
    member.joining = joining
    member.session?.cancel() // whoever waits for the others is alive
    this.#prepareRebalance()
    this.#completeJoinIfAll()
    return joining.promise
  }

  #prepareRebalance(): void {
    if (this.#state === 'PreparingRebalance') return
    for (const member of this.#members.values()) {
      member.assignment = NOTHING
      member.syncing?.reject(protocolError(ErrorCode.REBALANCE_IN_PROGRESS))
      if (member.syncing !== undefined) this.#keepAlive(member)
      member.syncing = undefined
    }
    this.#state = 'PreparingRebalance'
    this.#rebalance?.cancel()
    this.#rebalance = this.#clock.after(this.#rebalanceTimeoutMs(), () => this.#completeJoin())
  }

  #completeJoinIfAll(): void {
    if (this.#state !== 'PreparingRebalance' || this.#promised.size > 0) return
    if ([...this.#members.values()].every(member => member.joining !== undefined)) this.#completeJoin()
  }

  /** Goes on with those who have joined. */
  #completeJoin(): void {
    this.#rebalance?.cancel()
    for (const member of [...this.#members.values()]) if (member.joining === undefined) this.#forget(member)
    this.#generation++
    if (this.#members.size === 0) {
      this.#state = 'Empty'
      return
    }
    this.#state = 'CompletingRebalance'
    this.#rebalance = this.#clock.after(this.#rebalanceTimeoutMs(), () => this.#dropUnsynced())
    for (const member of this.#members.values()) {
      const { joining } = member
      member.joining = undefined
      this.#keepAlive(member)
      joining?.resolve(this.#joinAnswer(member))
    }
  }

  /** Who has joined but does not sync within the rebalance time-out is out (KAFKA-9752). */
  #dropUnsynced(): void {
    if (this.#state !== 'CompletingRebalance') return
    for (const member of [...this.#members.values()]) if (member.syncing === undefined) this.#forget(member)
    this.#prepareRebalance()
    this.#completeJoinIfAll()
  }

  #assign(assignments: readonly { memberId: string; memberAssignment: Buffer }[]): void {
    this.#state = 'Stable'
    this.#rebalance?.cancel()
    for (const { memberId, memberAssignment } of assignments) {
      const member = this.#members.get(memberId)
      if (member !== undefined) member.assignment = memberAssignment
    }
    for (const member of this.#members.values()) {
      if (member.syncing === undefined) continue
      this.#keepAlive(member)
      member.syncing.resolve(member.assignment)
      member.syncing = undefined
    }
  }

  #keepAlive(member: Member): void {
    member.session?.cancel()
    member.session = this.#clock.after(member.sessionTimeoutMs, () => {
      if (member.joining === undefined && member.syncing === undefined) this.#remove(member)
    })
  }

  /** It left, or its session timed out. */
  #remove(member: Member): void {
    this.#forget(member)
    this.#prepareRebalance()
    this.#completeJoinIfAll()
  }

  #forget(member: Member): void {
    member.session?.cancel()
    member.joining?.reject(protocolError(ErrorCode.UNKNOWN_MEMBER_ID))
    member.syncing?.reject(protocolError(ErrorCode.UNKNOWN_MEMBER_ID))
    this.#members.delete(member.id)
    if (this.#leader !== member.id) return
    const joined = [...this.#members.values()].find(({ joining }) => joining !== undefined)
    this.#leader = (joined ?? [...this.#members.values()][0])?.id ?? ''
  }

  #require(memberId: string, generation: number): Member {
    const member = this.#members.get(memberId)
    if (member === undefined) throw protocolError(ErrorCode.UNKNOWN_MEMBER_ID)
    if (generation !== this.#generation) throw protocolError(ErrorCode.ILLEGAL_GENERATION)
    return member
  }

  #joinAnswer(member: Member): JoinAnswer {
    const groupProtocol = this.#members.get(this.#leader)!.protocols[0]!.name
    const metadataOf = ({ protocols }: Member) =>
      protocols.find(({ name }) => name === groupProtocol)?.metadata ?? NOTHING
    const members = [...this.#members.values()].map(other => ({
      memberId: other.id,
      memberMetadata: metadataOf(other),
    }))
    return {
      generationId: this.#generation,
      leaderId: this.#leader,
      memberId: member.id,
      groupProtocol,
      members: member.id === this.#leader ? members : [],
    }
  }

  #rebalanceTimeoutMs(): number {
    return Math.max(0, ...[...this.#members.values()].map(member => member.rebalanceTimeoutMs))
  }
}

function sameProtocols(one: readonly GroupProtocol[], other: readonly GroupProtocol[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ name, metadata }, index) => name === other[index]!.name && metadata.equals(other[index]!.metadata))
  )
}
