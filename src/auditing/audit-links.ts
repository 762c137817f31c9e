import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import type { LogPosition } from '../core/log-position.ts'
import { type ClusterTools, clusterTools } from '../kafka/cluster.ts'
import { GroupView } from '../kafka/group-view.ts'
import { type PartitionOffsets, resolvePosition, startOffsets, type TopicView } from '../kafka/log-offsets.ts'
import { partitionCount } from '../kafka/offsets.ts'
import { translate } from '../kafka/protocol-errors.ts'
import type { AuditOptions } from './audit-contract.ts'

const CONNECTION = { clientId: 'sluice-audit', requestTimeoutMs: 10_000, metadataMaxAgeMs: 60_000 } as const

/** A topic with connections of its own, and where it is read from. */
export interface AuditedTopic extends TopicView {
  readonly start: PartitionOffsets
}

/** The connections of one audit, with what was found when they were made. Whoever opened them disconnects them. */
export interface AuditLinks {
  /** For questions to the coordinators. */
  readonly control: KafkajsCluster
  readonly group: GroupView
  /** Begins where the range does. */
  readonly input: AuditedTopic
  readonly outputs: readonly AuditedTopic[]
  /** The end of the range by input partition; undefined: whatever the input holds. */
  readonly to: PartitionOffsets | undefined
}

/** Connects, and finds where the topics and the range begin. Throws as `auditTopics`; nothing is left open then. */
export async function openLinks(options: AuditOptions, clock: Clock): Promise<AuditLinks> {
  const tools = clusterTools({ ...CONNECTION, ...connectionOf(options) }, options.log ?? silentLog)
  const opened: KafkajsCluster[] = []
  try {
    const control = await connect(tools, opened)
    const view = (topic: string) => viewTopic(tools, opened, topic, clock)
    const input = await view(options.inputTopic)
    const outputs = await Promise.all(
      // Predictions and dead letters may share a topic.
      [...new Set([options.outputTopic, options.deadLetterTopic])].map(async topic => {
        const output = await view(topic)
        return { ...output, start: await startOffsets(output) }
      }),
    )
    const { from, to } = await rangeOf(options, input)
    const { groupId, inputTopic: topic } = options
    const group = new GroupView({ cluster: control, groupId, topic, partitions: input.partitions, clock })
    return { control, group, input: { ...input, start: from }, outputs, to }
  } catch (error) {
    await disconnect(opened)
    throw translate(error, 'connecting to the brokers', 'broker-unreachable')
  }
}

export async function closeLinks({ control, input, outputs }: AuditLinks): Promise<void> {
  await disconnect([control, input.cluster, ...outputs.map(({ cluster }) => cluster)])
}

function connectionOf({ brokers, clientId, requestTimeoutMs, metadataMaxAgeMs, tls, sasl }: AuditOptions) {
  const all = { brokers, clientId, requestTimeoutMs, metadataMaxAgeMs, tls, sasl }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Pick<
    typeof all,
    'brokers'
  >
}

async function connect(tools: ClusterTools, opened: KafkajsCluster[]): Promise<KafkajsCluster> {
  const cluster = tools.create()
  opened.push(cluster)
  await cluster.connect()
  return cluster
}

async function viewTopic(
  tools: ClusterTools,
  opened: KafkajsCluster[],
  topic: string,
  clock: Clock,
): Promise<TopicView> {
  const cluster = await connect(tools, opened)
  const partitions = await partitionCount(cluster, topic)
  if (partitions === undefined) throw new SluiceError('topic-missing', `Topic ${topic} does not exist.`)
  return { cluster, topic, partitions, clock }
}

/** The range that the options name, within what the input holds. */
async function rangeOf({ from, to }: AuditOptions, input: TopicView) {
  refuseUnknown('--from', from, input)
  refuseUnknown('--to', to, input)
  const starts = await startOffsets(input)
  const begin = from === undefined ? starts : await resolvePosition(input, from, starts)
  const unbounded = starts.map(() => Number.MAX_SAFE_INTEGER)
  return {
    from: begin.map((offset, partition) => Math.max(offset, starts[partition]!)),
    to: to === undefined || to.kind === 'latest' ? undefined : await resolvePosition(input, to, unbounded),
  }
}

/** @throws SluiceError `invalid-config` where a position names a partition that the topic has not */
function refuseUnknown(option: string, position: LogPosition | undefined, { topic, partitions }: TopicView): void {
  if (position?.kind !== 'offsets') return
  const unknown = [...position.offsets.keys()].find(partition => partition >= partitions)
  if (unknown === undefined) return
  const has = partitions === 1 ? 'only partition 0' : `partitions 0 to ${partitions - 1}`
  throw new SluiceError('invalid-config', `${option} names partition ${unknown}, but ${topic} has ${has}`)
}

async function disconnect(clusters: readonly KafkajsCluster[]): Promise<void> {
  await Promise.allSettled(clusters.map(cluster => cluster.disconnect()))
}
