import { type ClusterState, type RequestOf, type Requests, requireCoordinator } from './cluster-state.ts'
import { ErrorCode, protocolError } from './error-code.ts'
import type { GroupProtocol } from './group.ts'
import type { OffsetEntry } from './group-offsets.ts'
import type { Topics } from './topics.ts'
import { claimOf } from './transaction-requests.ts'

/** As kafkajs's ConsumerGroup makes it. */
export interface JoinGroupRequest {
  readonly groupId: string
  readonly memberId: string
  readonly sessionTimeout: number
  readonly rebalanceTimeout: number
  readonly groupProtocols: readonly GroupProtocol[]
}

interface SyncGroupRequest {
  readonly groupId: string
  readonly memberId: string
  readonly generationId: number
  readonly groupAssignment: readonly { memberId: string; memberAssignment: Buffer }[]
}

interface HeartbeatRequest {
  readonly groupId: string
  readonly memberId: string
  readonly groupGenerationId: number
}

/** What a node does for the groups that it coordinates. */
export function groupRequests(node: number, state: ClusterState): Requests {
  const { groups, topics } = state
  const mustCoordinate = (groupId: string) => requireCoordinator(node, groupId, state)
  return {
    async JoinGroup(request: JoinGroupRequest, clientId: string) {
      const { groupId, memberId, sessionTimeout, rebalanceTimeout, groupProtocols: protocols } = request
      mustCoordinate(groupId)
      const timeouts = { sessionTimeoutMs: sessionTimeout, rebalanceTimeoutMs: rebalanceTimeout }
      return groups.join(groupId, { clientId, memberId, ...timeouts, protocols })
    },

    async SyncGroup({ groupId, memberId, generationId, groupAssignment }: SyncGroupRequest) {
      mustCoordinate(groupId)
      return { memberAssignment: await groups.member(groupId).sync(memberId, generationId, groupAssignment) }
    },

    Heartbeat({ groupId, memberId, groupGenerationId }: HeartbeatRequest) {
      mustCoordinate(groupId)
      groups.member(groupId).heartbeat(memberId, groupGenerationId)
    },

    LeaveGroup({ groupId, memberId }: { groupId: string; memberId: string }) {
      mustCoordinate(groupId)
      groups.member(groupId).leave(memberId)
    },

    DescribeGroups({ groupIds }: RequestOf<'describeGroups'>) {
      for (const groupId of groupIds) mustCoordinate(groupId)
      return { groups: groupIds.map(groupId => ({ groupId, members: groups.members(groupId) })) }
    },

    OffsetCommit({ groupId, memberId, groupGenerationId, topics: committed }: RequestOf<'offsetCommit'>) {
      mustCoordinate(groupId)
      groups.commit(groupId, memberId, groupGenerationId, entriesOf(committed, topics))
    },

    TxnOffsetCommit(request: RequestOf<'txnOffsetCommit'>) {
      mustCoordinate(request.groupId)
      groups.commitInTransaction(request.groupId, claimOf(request), entriesOf(request.topics, topics))
    },

    OffsetFetch({ groupId, topics: asked }: RequestOf<'offsetFetch'>) {
      mustCoordinate(groupId)
      const responses = asked.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition }) => {
          const found = groups.committed(groupId, topic, partition)
          return { partition, offset: String(found?.offset ?? -1), metadata: found?.metadata ?? '' }
        }),
      }))
      return { responses }
    },
  }
}

function entriesOf(committed: readonly KafkajsTopicPartitions<KafkajsOffset>[], topics: Topics): OffsetEntry[] {
  return committed.flatMap(({ topic, partitions }) =>
    partitions.map(({ partition, offset, metadata }) => {
      const known = topics.partition(topic, partition) !== undefined
      if (!known) throw protocolError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      return { topic, partition, offset: Number(offset), metadata: metadata ?? '' }
    }),
  )
}
