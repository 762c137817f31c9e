import { outcomeOf } from './outcome.ts'
import type { Subject } from './subject.ts'

interface JoinAnswer {
  readonly generationId: number
  readonly memberId: string
  readonly leaderId: string
  readonly members: readonly { readonly memberId: string }[]
}

/** The group protocol of kafkajs's `Broker`. */
interface GroupBroker {
  joinGroup(request: object): Promise<JoinAnswer>
  syncGroup(request: object): Promise<{ memberAssignment: Buffer }>
  heartbeat(request: object): Promise<unknown>
  leaveGroup(request: object): Promise<unknown>
}

/** A member whose every step is a request of the test's choosing. */
export class GroupMember {
  memberId = ''
  generation = -1
  leaderId = ''
  /** Ids of all members, which only the leader is told. */
  told: readonly string[] = []
  readonly #subject: Subject
  readonly #coordinator: KafkajsBroker & GroupBroker
  readonly #groupId: string
  readonly #timeouts: { readonly sessionTimeout: number; readonly rebalanceTimeout: number }

  constructor(
    subject: Subject,
    coordinator: KafkajsBroker,
    groupId: string,
    { sessionTimeout = 10_000, rebalanceTimeout = 10_000 }: { sessionTimeout?: number; rebalanceTimeout?: number },
  ) {
    this.#subject = subject
    this.#coordinator = coordinator as KafkajsBroker & GroupBroker
    this.#groupId = groupId
    this.#timeouts = { sessionTimeout, rebalanceTimeout }
  }

  /** Resolves at the end of the rebalance. */
  async join(): Promise<void> {
    const groupProtocols = [{ name: 'RoundRobinAssigner', metadata: Buffer.from('topics') }]
    const { memberId, ...timeouts } = { memberId: this.memberId, ...this.#timeouts }
    const request = { groupId: this.#groupId, memberId, ...timeouts, groupProtocols }
    const answer = await this.#coordinator.joinGroup(request)
    this.memberId = answer.memberId
    this.generation = answer.generationId
    this.leaderId = answer.leaderId
    this.told = answer.members.map(member => member.memberId)
  }

  get leads(): boolean {
    return this.memberId === this.leaderId
  }

  /** The leader hands out the id of each member as its part; resolves with the part of this member. */
  async sync(generationId = this.generation): Promise<string> {
    const groupAssignment = this.told.map(memberId => ({ memberId, memberAssignment: Buffer.from(memberId) }))
    const request = { groupId: this.#groupId, memberId: this.memberId, generationId, groupAssignment }
    const { memberAssignment } = await this.#coordinator.syncGroup(request)
    return memberAssignment.toString()
  }

  /** Joins a group in which nobody else needs to act. */
  async enter(): Promise<void> {
    await this.#subject.wait(this.join())
    await this.#subject.wait(this.sync())
  }

  heartbeat(groupGenerationId = this.generation, memberId = this.memberId): Promise<string> {
    return outcomeOf(this.#coordinator.heartbeat({ groupId: this.#groupId, memberId, groupGenerationId }))
  }

  leave(): Promise<string> {
    return outcomeOf(this.#coordinator.leaveGroup({ groupId: this.#groupId, memberId: this.memberId }))
  }

  commit(topic: string, offset: number, generation = this.generation, memberId = this.memberId): Promise<string> {
    const topics = [{ topic, partitions: [{ partition: 0, offset: String(offset), metadata: 'mine' }] }]
    const request = { groupId: this.#groupId, groupGenerationId: generation, memberId, topics }
    return outcomeOf(this.#coordinator.offsetCommit(request))
  }
}
