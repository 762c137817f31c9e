import type { Clock } from '../core/clock.ts'
import { Coordinator } from './coordinator.ts'
import type { PartitionOffsets } from './log-offsets.ts'
import { type OffsetMark, parseMark } from './offset-mark.ts'
import { type OpenTransaction, openTransactions } from './transactions.ts'

export interface GroupViewOptions {
  readonly cluster: KafkajsCluster
  readonly groupId: string
  /** Whose offsets are looked at. */
  readonly topic: string
  readonly partitions: number
  readonly clock: Clock
}

const BUDGET_MS = 30_000
const POLL_MS = 50
/** How often a coordinator looks for transactions that have timed out, and some time to end them. */
const EXPIRY_MS = 15_000

/** What a group has committed for a partition. */
export interface MarkedOffset {
  /** -1 where there is none. */
  readonly offset: number
  /** Which log it is an offset of; undefined where the offset does not say so. */
  readonly mark: OffsetMark | undefined
}

/** One member of a consumer group, as its coordinator knows it. */
export interface GroupMember {
  readonly memberId: string
  readonly clientId: string
  /** Address that its connection comes from. */
  readonly host: string
}

/** The members of a group now: none where there is no such group. Throws kafkajs's errors. */
export async function groupMembers(coordinator: Coordinator, groupId: string): Promise<GroupMember[]> {
  const { groups } = await coordinator.send(BUDGET_MS, broker => broker.describeGroups({ groupIds: [groupId] }))
  return groups.flatMap(({ members }) => {
    return members.map(({ memberId, clientId, clientHost }) => ({
      memberId,
      clientId,
      host: clientHost.replace(/^\//, ''),
    }))
  })
}

/** A consumer group, as somebody sees it who is not a member: its offsets, and the transactions that move them. */
export class GroupView {
  readonly #options: GroupViewOptions
  readonly #coordinator: Coordinator

  constructor(options: GroupViewOptions) {
    this.#options = options
    this.#coordinator = new Coordinator(options.cluster, 'group', options.groupId, options.clock)
  }

  /** Whether the group has no members: then nobody moves its offsets, and nobody ends its transactions. */
  async isEmpty(): Promise<boolean> {
    return (await groupMembers(this.#coordinator, this.#options.groupId)).length === 0
  }

  /**
   * The committed offset of each partition, -1 where there is none. One that a transaction is about to commit does not
   * show: what is returned can only be too low.
   */
  async committed(): Promise<PartitionOffsets> {
    return (await this.committedWithMarks()).map(({ offset }) => offset)
  }

  /** As {@link committed}, with what the offsets say about themselves. */
  async committedWithMarks(): Promise<MarkedOffset[]> {
    const { groupId, topic, partitions } = this.#options
    const committed = new Array<MarkedOffset>(partitions).fill({ offset: -1, mark: undefined })
    const asked = committed.map((_, partition) => ({ partition }))
    const { responses } = await this.#coordinator.send(BUDGET_MS, broker =>
      broker.offsetFetch({ groupId, topics: [{ topic, partitions: asked }] }),
    )
    for (const { partition, offset, metadata } of responses.find(answer => answer.topic === topic)?.partitions ?? []) {
      committed[partition] = { offset: Number(offset), mark: parseMark(metadata ?? '') }
    }
    return committed
  }

  /** The committed offsets once they are no longer behind what was seen, or when `patienceMs` have passed. */
  async settledOffsets(
    isBehind: (committed: PartitionOffsets) => boolean,
    patienceMs: number,
  ): Promise<PartitionOffsets> {
    const { clock } = this.#options
    const deadline = clock.now() + patienceMs
    for (;;) {
      const committed = await this.committed()
      if (!isBehind(committed) || clock.now() >= deadline) return committed
      await clock.sleep(POLL_MS)
    }
  }

  /**
   * The transactional ids of the group's producers whose transaction is open and should not be: longer than its time-out
   * allows, or in a group without members. Those that end within `patienceMs` are not meant.
   */
  async strandedTransactions(patienceMs: number): Promise<string[]> {
    const { cluster, groupId, topic, clock } = this.#options
    const prefix = `${groupId}.${topic}.`
    const deadline = clock.now() + patienceMs
    let stayed = await openTransactions(cluster, prefix)
    for (;;) {
      const overdue = stayed.filter(({ startedAt, timeoutMs }) => clock.wallTime() - startedAt > timeoutMs + EXPIRY_MS)
      if (stayed.length === overdue.length || clock.now() >= deadline) {
        return ((await this.isEmpty()) ? stayed : overdue).map(({ transactionalId }) => transactionalId)
      }
      await clock.sleep(POLL_MS)
      const open = await openTransactions(cluster, prefix)
      stayed = stayed.filter(before => open.some(now => isSame(before, now)))
    }
  }
}

function isSame(a: OpenTransaction, b: OpenTransaction): boolean {
  return a.transactionalId === b.transactionalId && a.startedAt === b.startedAt
}
