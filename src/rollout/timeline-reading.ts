import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { type RecordBatch, valueBytes } from '../core/record-batch.ts'
import { parseTimelineEntry, type TimelineEntry } from '../core/timeline.ts'
import { rangesOf, type TimelineRange } from '../core/timeline-ranges.ts'
import type { ConnectionOptions } from '../kafka/cluster.ts'
import { stableEndOffsets, startOffsets } from '../kafka/log-offsets.ts'
import { TopicScan } from '../kafka/topic-scan.ts'
import { groupViewOf, topicViewOf, withCluster } from '../topic-views.ts'

export interface HistoryOptions {
  readonly connection: ConnectionOptions
  readonly timelineTopic: string
  readonly groupId: string
  readonly inputTopic: string
  readonly model: string
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Hears how many of how many records have been read. */
  readonly onProgress: (read: number, total: number) => void
  readonly onTrouble: (error: SluiceError | undefined) => void
}

/** Which versions answered which offsets. */
export interface ModelHistory {
  readonly ranges: readonly TimelineRange[]
  /** Records of the timeline that are of no format that this release knows. */
  readonly unreadable: number
}

/**
 * Reads the timeline from its beginning to its end, as it is now for a read_committed reader.
 * @throws SluiceError `topic-missing`, `rollout-stopped` when `signal` is aborted, or what brokers refuse
 */
export async function readHistory(options: HistoryOptions): Promise<ModelHistory> {
  const doing = 'reading the history'
  // The offsets first: an answer below them was written to the timeline before.
  const committed = await withCluster(options.connection, doing, cluster => committedOffsets(cluster, options))
  const { entries, unreadable } = await withCluster(options.connection, doing, cluster => readEntries(cluster, options))
  return { ranges: rangesOf(entries, committed), unreadable }
}

async function committedOffsets(
  cluster: KafkajsCluster,
  { groupId, inputTopic, clock }: HistoryOptions,
): Promise<readonly number[]> {
  return groupViewOf(groupId, await topicViewOf(cluster, inputTopic, clock)).committed()
}

async function readEntries(
  cluster: KafkajsCluster,
  { timelineTopic, groupId, inputTopic, model, clock, signal, onProgress, onTrouble }: HistoryOptions,
): Promise<{ entries: TimelineEntry[]; unreadable: number }> {
  const view = await topicViewOf(cluster, timelineTopic, clock)
  const [start, ends] = await Promise.all([startOffsets(view), stableEndOffsets(view)])
  const entries: TimelineEntry[] = []
  let unreadable = 0
  const accept = (batch: RecordBatch) => {
    for (let i = 0; i < batch.count; i++) {
      const entry = parseTimelineEntry(valueBytes(batch, i)?.toString() ?? '')
      if (entry === undefined) unreadable++
      else if (entry.group === groupId && entry.topic === inputTopic && entry.model === model) entries.push(entry)
    }
    batch.lease?.letGo()
    onProgress(distance(start, scan.positions), distance(start, ends))
  }
  const scan = new TopicScan({ ...view, start, accept, onTrouble })
  const unread = await scan.readTo(ends, { patienceMs: Number.POSITIVE_INFINITY, signal })
  if (unread.length > 0) throw new SluiceError('rollout-stopped', `${timelineTopic} was not read to its end.`)
  return { entries, unreadable }
}

function distance(from: readonly number[], to: readonly number[]): number {
  return to.reduce((sum, end, partition) => sum + end - from[partition]!, 0)
}
