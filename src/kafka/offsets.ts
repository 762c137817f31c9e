import { protocolType } from './protocol-errors.ts'
import { topicIdOf } from './topic-ids.ts'
import type { Uuid } from './wire.ts'

/** What the group has committed for one partition. */
export interface CommittedOffset {
  readonly offset: number
  readonly metadata: string
}

/** The records of a partition: [start, end). */
export interface LogBounds {
  readonly start: number
  /** What a read_committed reader can reach now: up to the first open transaction. */
  readonly stable: number
  readonly end: number
}

/** A log as its leader has it now. */
export interface LogState extends LogBounds {
  readonly topicId: Uuid
}

const EARLIEST = -2
const LATEST = -1

/**
 * Reads the group's offset for a partition, or undefined when there is none. Safe only after the transactional id of
 * the partition was initialised: until then a transaction of a former owner may still move it.
 */
export async function committedOffset(
  coordinator: KafkajsBroker,
  groupId: string,
  topic: string,
  partition: number,
): Promise<CommittedOffset | undefined> {
  const { responses } = await coordinator.offsetFetch({ groupId, topics: [{ topic, partitions: [{ partition }] }] })
  const found = responses.find(r => r.topic === topic)?.partitions.find(p => p.partition === partition)
  if (found === undefined || Number(found.offset) < 0) return undefined
  return { offset: Number(found.offset), metadata: found.metadata ?? '' }
}

/** Asks the leader of the partition. Throws kafkajs's errors. */
export async function logState(cluster: KafkajsCluster, topic: string, partition: number): Promise<LogState> {
  const leader = await leaderOf(cluster, topic, partition)
  const ask = async (timestamp: number, isolationLevel: 0 | 1) => {
    const { responses } = await leader.listOffsets({
      isolationLevel,
      topics: [{ topic, partitions: [{ partition, timestamp }] }],
    })
    return Number(responses[0]!.partitions[0]!.offset)
  }
  const [topicId, start, stable, end] = await Promise.all([
    topicIdOf(leader, topic),
    ask(EARLIEST, 0),
    ask(LATEST, 1),
    ask(LATEST, 0),
  ])
  return { topicId, start, stable, end }
}

/** The broker that leads a partition, connected. Throws kafkajs's errors; after a failure it reads the metadata again. */
export async function leaderOf(cluster: KafkajsCluster, topic: string, partition: number): Promise<KafkajsBroker> {
  return cluster.findBroker({ nodeId: leaderIdOf(cluster, topic, partition) })
}

/** The node id of a partition's leader as the metadata has it now, or -1. */
export function leaderIdOf(cluster: KafkajsCluster, topic: string, partition: number): number {
  const metadata = cluster.findTopicPartitionMetadata(topic).find(p => p.partitionId === partition)
  return metadata?.leader ?? -1
}

/** How many partitions a topic has, or undefined when it does not exist. */
export async function partitionCount(cluster: KafkajsCluster, topic: string): Promise<number | undefined> {
  try {
    await cluster.addMultipleTargetTopics([topic])
    // A topic that was added by an attempt that got no answer counts as added, but its metadata is still unread.
    await cluster.refreshMetadataIfNecessary()
  } catch (error) {
    if (protocolType(error) === 'UNKNOWN_TOPIC_OR_PARTITION') return undefined
    throw error
  }
  return cluster.findTopicPartitionMetadata(topic).length || undefined
}
