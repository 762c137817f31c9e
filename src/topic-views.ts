import type { Clock } from './core/clock.ts'
import { SluiceError } from './core/errors.ts'
import { silentLog } from './core/log.ts'
import { type ConnectionOptions, clusterTools } from './kafka/cluster.ts'
import { GroupView } from './kafka/group-view.ts'
import type { TopicView } from './kafka/log-offsets.ts'
import { partitionCount } from './kafka/offsets.ts'
import { translate } from './kafka/protocol-errors.ts'

/** Connects, works, and disconnects. Throws translated errors. */
export async function withCluster<T>(
  connection: ConnectionOptions,
  doing: string,
  work: (cluster: KafkajsCluster) => Promise<T>,
): Promise<T> {
  const cluster = clusterTools(connection, silentLog).create()
  try {
    await cluster.connect()
    return await work(cluster)
  } catch (error) {
    throw translate(error, doing, 'broker-unreachable')
  } finally {
    await cluster.disconnect()
  }
}

/** A topic as its leaders are asked about it. @throws SluiceError `topic-missing` */
export async function topicViewOf(cluster: KafkajsCluster, topic: string, clock: Clock): Promise<TopicView> {
  const partitions = await partitionCount(cluster, topic)
  if (partitions === undefined) throw new SluiceError('topic-missing', `Topic ${topic} does not exist.`)
  return { cluster, topic, partitions, clock }
}

/** A group, as far as it reads a topic. */
export function groupViewOf(groupId: string, { cluster, topic, partitions, clock }: TopicView): GroupView {
  return new GroupView({ cluster, groupId, topic, partitions, clock })
}
