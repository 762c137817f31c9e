import type { RolloutPlan } from './rollout.ts'
import { planOf, servingText, type TimelineEntry, type TimelineVersion } from './timeline.ts'

/** Offsets of one input partition that the same versions answered. */
export interface TimelineRange {
  readonly partition: number
  /** First offset. */
  readonly from: number
  /** The offset after the last one; undefined for the last range of a group that has committed nothing beyond `from`. */
  readonly to: number | undefined
  readonly plan: RolloutPlan
  /** Hashes of the artifacts, by version. */
  readonly sha256: Readonly<Record<string, string>>
  readonly model: string
  /** The first of the rollout that said so; 0 where the worker chose by itself, or was pinned. */
  readonly revision: number
  /** When the first of them began, in ms since the epoch. */
  readonly since: number
}

/**
 * Puts entries of one group and topic into ranges, by partition and offset. Neighbours with the same versions are one range:
 * an entry is written whenever a partition gets another owner. Where a group was set back and answered offsets again, what
 * it answered last is what is said of them.
 * @param entries in the order in which they lie in the timeline
 * @param committed the group's offset by partition, below 0 where there is none
 */
export function rangesOf(entries: readonly TimelineEntry[], committed: readonly number[]): TimelineRange[] {
  const byPartition = Map.groupBy(entries, ({ partition }) => partition)
  const partitions = [...byPartition.keys()].sort((a, b) => a - b)
  return partitions.flatMap(partition => rangesOfOne(byPartition.get(partition)!, committed[partition] ?? -1))
}

function rangesOfOne(entries: readonly TimelineEntry[], committed: number): TimelineRange[] {
  const standing: TimelineEntry[] = []
  for (const entry of entries) {
    while (standing.length > 0 && standing.at(-1)!.offset >= entry.offset) standing.pop()
    if (standing.length === 0 || servingText(standing.at(-1)!) !== servingText(entry)) standing.push(entry)
  }
  return standing.map((entry, i) => {
    const end = standing[i + 1]?.offset ?? (committed > entry.offset ? committed : undefined)
    return {
      partition: entry.partition,
      from: entry.offset,
      to: end,
      plan: planOf(entry),
      sha256: Object.fromEntries(versionsOfEntry(entry).map(({ version, sha256 }) => [version, sha256])),
      model: entry.model,
      revision: entry.revision,
      since: entry.at,
    }
  })
}

function versionsOfEntry({ stable, canary, shadows }: TimelineEntry): TimelineVersion[] {
  return [stable, ...(canary === undefined ? [] : [canary]), ...shadows]
}
