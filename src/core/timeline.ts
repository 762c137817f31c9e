import type { RolloutPlan } from './rollout.ts'

/** Of the values: raised when a reader of this one would misunderstand them. */
const FORMAT = 1

/** A version, and the artifact behind it: versions never change, but somebody may have broken that rule. */
export interface TimelineVersion {
  readonly version: string
  readonly sha256: string
}

/**
 * Which versions answer the records of one input partition from an offset on, until the next entry. Written in the
 * transaction that publishes the first of their predictions, so it is true of exactly those records.
 */
export interface TimelineEntry {
  readonly group: string
  readonly topic: string
  readonly partition: number
  /** First offset that they answer. */
  readonly offset: number
  readonly model: string
  /** Of the rollout; 0 where a worker chose the version itself. */
  readonly revision: number
  readonly stable: TimelineVersion
  readonly canary?: (TimelineVersion & { readonly percent: number }) | undefined
  readonly shadows: readonly TimelineVersion[]
  /** In ms since the epoch. */
  readonly at: number
}

/** An entry as it lies in the timeline topic: its key, by which the entries of a partition stay in order, and its value. */
export function timelineRecord(entry: TimelineEntry): { key: string; value: string } {
  return {
    key: `${entry.group}/${entry.topic}/${entry.partition}`,
    value: JSON.stringify({ format: FORMAT, ...entry }),
  }
}

/** Reads the value of a record of the timeline; undefined where it is none of this format. */
export function parseTimelineEntry(value: string): TimelineEntry | undefined {
  try {
    const { format, ...entry } = JSON.parse(value) as TimelineEntry & { readonly format?: unknown }
    return format === FORMAT && isEntry(entry) ? entry : undefined
  } catch {
    return undefined
  }
}

function isEntry({ group, topic, partition, offset, model, stable, canary, shadows }: TimelineEntry): boolean {
  const texts = [group, topic, model].every(text => typeof text === 'string')
  const versions = [stable, ...(canary ? [canary] : []), ...shadows]
  const numbers = [partition, offset, ...(canary ? [canary.percent] : [])].every(Number.isFinite)
  return texts && numbers && versions.every(isVersion)
}

/**
 * What an entry says, without where and when: two entries in a row with the same are one, whatever the order of the shadows.
 * Its hash goes into the metadata of each committed offset, so that the next owner of the partition knows what was in effect.
 */
export function servingText({
  model,
  stable,
  canary,
  shadows,
}: Omit<TimelineEntry, 'topic' | 'partition' | 'offset' | 'at'>): string {
  return JSON.stringify([
    model,
    stable.version,
    stable.sha256,
    canary?.version,
    canary?.sha256,
    canary?.percent,
    shadows.map(({ version, sha256 }) => [version, sha256]).sort(),
  ])
}

/** The plan that an entry says was in effect. */
export function planOf({ stable, canary, shadows }: TimelineEntry): RolloutPlan {
  return {
    stable: stable.version,
    ...(canary === undefined ? {} : { canary: { version: canary.version, percent: canary.percent } }),
    shadows: shadows.map(({ version }) => version),
  }
}

function isVersion({ version, sha256 }: TimelineVersion): boolean {
  return typeof version === 'string' && typeof sha256 === 'string'
}
