import assigners from 'kafkajs/src/consumer/assigners/index.js'
import ConsumerGroup from 'kafkajs/src/consumer/consumerGroup.js'
import InstrumentationEventEmitter from 'kafkajs/src/instrumentation/emitter.js'
import { Backoff, LONGEST_BROKER_WAIT_MS } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import type { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { type ClusterTools, forgetAllBrokers } from './cluster.ts'
import {
  isConnectionTrouble,
  isLostMembership,
  isStaleCoordinator,
  protocolType,
  translate,
} from './protocol-errors.ts'

/** One answer of the group: which partitions are ours, until the next. */
export interface Assignment {
  readonly memberId: string
  readonly generationId: number
  readonly partitions: readonly number[]
  /**
   * Whether this member was in this generation already, or in the one right before it. If so, nobody else can have owned a partition that
   * it had then and has now; if not, somebody may have, and every task must start anew.
   */
  readonly continuous: boolean
}

export interface MembershipOptions {
  readonly tools: ClusterTools
  readonly groupId: string
  readonly topic: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly clock: Clock
  readonly log: Log
  /** Called after every rebalance, before the next heartbeat; must not wait for long. */
  readonly onAssigned: (assignment: Assignment) => void
  /** What keeps this replica out of the group; undefined when nothing does any more. */
  readonly onCondition: (error: SluiceError | undefined) => void
}

/**
 * Membership in the consumer group: joins, beats, joins again.
 *
 *   JOINING ──assigned──▶ MEMBER ──rebalance, new partitions, renounce()──▶ JOINING
 *      ▲                    │
 *      └─── lost (unknown member, coordinator away) ◀┘          close() from anywhere: leaves the group
 *
 * Tasks go on while the group rebalances. That is safe, because it is the transactional id that fences: a partition's
 * new owner initialises it before it reads the offset, and from then on the former owner cannot commit. It is also
 * quick: partitions that stay do not pause.
 */
export class Membership {
  readonly #options: MembershipOptions
  readonly #cluster: KafkajsCluster
  readonly #group: KafkajsConsumerGroup
  readonly #stop = new AbortController()
  #previous: Assignment | undefined
  #loop: Promise<void> = Promise.resolve()

  constructor(options: MembershipOptions) {
    this.#options = options
    this.#cluster = options.tools.create()
    this.#group = new ConsumerGroup({
      logger: options.tools.logger,
      retry: options.tools.retry,
      cluster: this.#cluster,
      groupId: options.groupId,
      topics: [options.topic],
      topicConfigurations: { [options.topic]: {} },
      assigners: [assigners.roundRobin({ cluster: this.#cluster })],
      instrumentationEmitter: new InstrumentationEventEmitter(),
      sessionTimeout: options.sessionTimeoutMs,
      rebalanceTimeout: options.rebalanceTimeoutMs,
      autoCommit: false,
    })
  }

  /** Starts joining; `onAssigned` tells the rest. */
  start(): void {
    this.#loop = this.#stayMember()
  }

  /**
   * The generation that this member joined last, or undefined before the first and after `renounce`. It may be over
   * already: the coordinator refuses what is done in the name of an old one.
   */
  get current(): Assignment | undefined {
    return this.#previous?.memberId === this.#group.memberId ? this.#previous : undefined
  }

  /** Asks the coordinator now whether this member still belongs to its generation. Never throws. */
  async confirm(): Promise<boolean> {
    try {
      await this.#beat()
      return true
    } catch {
      return false
    }
  }

  /**
   * Leaves the group and joins it again as another member: what was sent in the name of this one and got no answer is
   * refused from then on. `current` is undefined until the group has said what the new member owns. Never throws, and
   * does nothing when `memberId` is no longer this member's: then what is to end has ended.
   */
  async renounce(memberId: string): Promise<void> {
    if (this.#group.memberId !== memberId) return
    const { log, groupId } = this.#options
    log.warn({}, 'joining the group again as a new member: a commit of this one got no answer')
    // First, so that nobody joins in its name while the group hears of it. If it does not hear, no matter: a new member
    // begins a new generation, and that ends the old one as well.
    this.#group.memberId = null
    await this.#leave(() => this.#group.coordinator.leaveGroup({ groupId, memberId }))
  }

  /** Leaves the group, so that the others need not wait for the session to time out. Never throws. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#loop
    await this.#leave(() => this.#group.leave())
    await this.#cluster.disconnect().catch(() => {})
  }

  async #leave(leave: () => Promise<unknown>): Promise<void> {
    try {
      await leave()
    } catch (error) {
      this.#options.log.debug({ reason: String(error) }, 'could not leave the group; the session will time out')
    }
  }

  async #stayMember(): Promise<void> {
    const { clock, onCondition } = this.#options
    const backoff = new Backoff(100, LONGEST_BROKER_WAIT_MS)
    while (!this.#stop.signal.aborted) {
      try {
        await this.#join()
        onCondition(undefined)
        backoff.reset()
        await this.#beatUntilRebalance()
      } catch (error) {
        if (this.#stop.signal.aborted) return
        // A group that rebalances again and again answers so for a while: no trouble, only a longer wait.
        const waiting = protocolType(error) === 'REBALANCE_IN_PROGRESS'
        if (!waiting) onCondition(translate(error, this.#joining(), 'broker-unreachable') as SluiceError)
        if (isConnectionTrouble(error)) await forgetAllBrokers(this.#cluster)
        // A member that is known keeps its id: under a new one it would wait for its former self to time out.
        if (protocolType(error) === 'UNKNOWN_MEMBER_ID') this.#group.memberId = null
        await clock.sleep(backoff.next(), this.#stop.signal)
      }
    }
  }

  async #join(): Promise<void> {
    const { topic, log, onAssigned } = this.#options
    await this.#group.connect()
    await this.#cluster.addMultipleTargetTopics([topic])
    await this.#group.joinAndSync()
    const { memberId } = this.#group
    if (memberId === null) return // it was renounced while it joined
    const { generationId } = this.#group
    const previous = this.#previous
    const step = generationId - (previous?.generationId ?? Number.NEGATIVE_INFINITY)
    const continuous = previous?.memberId === memberId && step >= 0 && step <= 1
    const partitions = this.#group.assigned().find(t => t.topic === topic)?.partitions ?? []
    const assignment = { memberId, generationId, partitions: [...partitions].sort((a, b) => a - b), continuous }
    this.#previous = assignment
    log.info({ generation: generationId, partitions: assignment.partitions }, 'joined the group')
    onAssigned(assignment)
  }

  /** What the broker may refuse about it is part of what people read. */
  #joining(): string {
    const { groupId, sessionTimeoutMs } = this.#options
    return `joining group ${groupId} with SESSION_TIMEOUT_MS=${sessionTimeoutMs}`
  }

  /** Returns when the group rebalances or this member has left it; throws when the membership is lost. */
  async #beatUntilRebalance(): Promise<void> {
    const { clock, sessionTimeoutMs } = this.#options
    const intervalMs = Math.min(1_000, sessionTimeoutMs / 4)
    let deadline = clock.now() + sessionTimeoutMs
    while (!this.#stop.signal.aborted) {
      await clock.sleep(intervalMs, this.#stop.signal)
      if (this.#stop.signal.aborted || this.#group.memberId === null) return
      try {
        await this.#beat()
        deadline = clock.now() + sessionTimeoutMs
        if (await this.#partitionsChanged()) return
      } catch (error) {
        const type = protocolType(error)
        if (type === 'REBALANCE_IN_PROGRESS') return
        if (isConnectionTrouble(error)) await forgetAllBrokers(this.#cluster)
        if (isLostMembership(type) || clock.now() >= deadline) throw error
        await this.#findCoordinatorAgain(type)
      }
    }
  }

  /** kafkajs's heartbeat succeeds without being sent when there is no member, or the wall clock was set back. */
  async #beat(): Promise<void> {
    if (this.#group.memberId === null) throw new Error('The group has forgotten this member.')
    this.#group.lastRequest = 0
    await this.#group.heartbeat({ interval: 0 })
  }

  /**
   * The topic was given more partitions: the leader must hand them out. While the topic cannot be looked up nothing has
   * changed: that is for the fetcher to say, and no reason to leave the group.
   */
  async #partitionsChanged(): Promise<boolean> {
    const { topic } = this.#options
    try {
      await this.#cluster.refreshMetadataIfNecessary()
    } catch {
      return false
    }
    const known = this.#group.partitionsPerSubscribedTopic?.get(topic)?.length
    return known !== undefined && this.#cluster.findTopicPartitionMetadata(topic).length > known
  }

  async #findCoordinatorAgain(type: string | undefined): Promise<void> {
    if (type !== undefined && !isStaleCoordinator(type)) return
    try {
      await this.#cluster.refreshMetadata()
      this.#group.coordinator = await this.#cluster.findGroupCoordinator({ groupId: this.#options.groupId })
    } catch {
      // The next heartbeat tries again, until the session would have timed out.
    }
  }
}
