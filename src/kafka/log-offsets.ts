import { Backoff } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import type { LogPosition } from '../core/log-position.ts'
import { forgetAllBrokers } from './cluster.ts'
import { leaderIdOf } from './offsets.ts'
import { isConnectionTrouble, translate } from './protocol-errors.ts'
import { topicIdOf } from './topic-ids.ts'
import type { Uuid } from './wire.ts'

/** Offsets of one topic, by partition. */
export type PartitionOffsets = readonly number[]

/** How often a question is asked again while leaders move. */
const TRIES = 12
const EARLIEST = -2
const LATEST = -1
const READ_UNCOMMITTED = 0
const READ_COMMITTED = 1

/** A topic, as its leaders are asked about it. */
export interface TopicView {
  readonly cluster: KafkajsCluster
  readonly topic: string
  readonly partitions: number
  readonly clock: Clock
}

/** The id of the topic that has the name now (KIP-516). Throws as {@link resolvePosition}. */
export function currentTopicId(view: TopicView): Promise<Uuid> {
  const { cluster, topic } = view
  return persist(view, `asking for the id of ${topic}`, async () => {
    return topicIdOf(await cluster.findBroker({ nodeId: leaderIdOf(cluster, topic, 0) }), topic)
  })
}

/** The first offset of each partition. Throws as {@link resolvePosition}. */
export function startOffsets(view: TopicView): Promise<PartitionOffsets> {
  return ask(view, EARLIEST, READ_UNCOMMITTED)
}

/** The offset after the last record of each partition, those of open transactions included. */
export function endOffsets(view: TopicView): Promise<PartitionOffsets> {
  return ask(view, LATEST, READ_UNCOMMITTED)
}

/** What a read_committed reader can reach now in each partition: up to the first open transaction. */
export function stableEndOffsets(view: TopicView): Promise<PartitionOffsets> {
  return ask(view, LATEST, READ_COMMITTED)
}

/**
 * The offsets that a position stands for. Partitions that `offset:…` leaves out get `otherwise`; where no record is as
 * young as a time, it is the end.
 * @throws SluiceError `broker-unreachable` when a leader has not answered after some tries, or what the broker refuses
 */
export async function resolvePosition(
  view: TopicView,
  position: LogPosition,
  otherwise: PartitionOffsets,
): Promise<PartitionOffsets> {
  switch (position.kind) {
    case 'earliest':
      return startOffsets(view)
    case 'latest':
      return stableEndOffsets(view)
    case 'offsets':
      return otherwise.map((offset, partition) => position.offsets.get(partition) ?? offset)
    case 'time': {
      const [found, ends] = await Promise.all([ask(view, position.timestamp, READ_UNCOMMITTED), stableEndOffsets(view)])
      return found.map((offset, partition) => (offset < 0 ? ends[partition]! : offset))
    }
  }
}

function ask(view: TopicView, timestamp: number, isolationLevel: 0 | 1): Promise<PartitionOffsets> {
  return persist(view, `asking for offsets of ${view.topic}`, () => askLeaders(view, timestamp, isolationLevel))
}

async function persist<T>({ cluster, clock }: TopicView, doing: string, question: () => Promise<T>): Promise<T> {
  const backoff = new Backoff(20, 500)
  for (let tried = 1; ; tried++) {
    try {
      return await question()
    } catch (error) {
      if (tried === TRIES) throw translate(error, doing, 'broker-unreachable')
      if (isConnectionTrouble(error)) await forgetAllBrokers(cluster)
      await clock.sleep(backoff.next())
      await cluster.refreshMetadata().catch(() => {})
    }
  }
}

async function askLeaders(
  { cluster, topic, partitions }: TopicView,
  timestamp: number,
  isolationLevel: 0 | 1,
): Promise<PartitionOffsets> {
  const all = Array.from({ length: partitions }, (_, partition) => partition)
  const offsets = new Array<number>(partitions).fill(-1)
  const byLeader = Map.groupBy(all, partition => leaderIdOf(cluster, topic, partition))
  await Promise.all(
    [...byLeader].map(async ([nodeId, led]) => {
      const broker = await cluster.findBroker({ nodeId })
      const asked = led.map(partition => ({ partition, timestamp }))
      const { responses } = await broker.listOffsets({ isolationLevel, topics: [{ topic, partitions: asked }] })
      for (const { partition, offset } of responses[0]!.partitions) offsets[partition] = Number(offset)
    }),
  )
  return offsets
}
