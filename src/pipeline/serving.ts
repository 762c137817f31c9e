import type { FeatureDecoder, PredictionEncoder } from '../core/codec.ts'
import { murmur2 } from '../core/murmur2.ts'
import { COLUMNS, Column, offsetOf, type RecordBatch } from '../core/record-batch.ts'
import { hashOfPlace, type RolloutPlan, takesCanary } from '../core/rollout.ts'
import type { TimelineEntry } from '../core/timeline.ts'
import type { Arm } from '../core/transaction.ts'
import type { Batcher } from './batcher.ts'

/** A model version that is ready to answer on this thread. */
export interface ServedVersion {
  readonly name: string
  readonly sha256: string
  readonly decoder: FeatureDecoder
  readonly encoder: PredictionEncoder
  readonly batcher: Batcher
}

/**
 * Which versions answer, as the tasks of a replica see it. Never changes: a rollout puts another in its place, and each
 * task goes over to that between two transactions.
 */
export interface Serving {
  readonly stable: ServedVersion
  readonly canary?: { readonly version: ServedVersion; readonly percent: number } | undefined
  readonly shadows: readonly ServedVersion[]
  /** The first offset that it does not answer any more, in the replay of a timeline; elsewhere infinite. */
  readonly until: number
  /** What the timeline says of it. */
  readonly said: Omit<TimelineEntry, 'topic' | 'partition' | 'offset' | 'at'>
}

/**
 * What a plan comes to.
 * @param named whose plan it is, for the timeline
 * @param get the version of a name
 */
export function servingOf(
  plan: RolloutPlan,
  named: Pick<Serving['said'], 'group' | 'model' | 'revision'>,
  get: (name: string) => ServedVersion,
  until = Number.POSITIVE_INFINITY,
): Serving {
  const stable = get(plan.stable)
  const canary = plan.canary && { version: get(plan.canary.version), percent: plan.canary.percent }
  const shadows = plan.shadows.map(get)
  const said = ({ name, sha256 }: ServedVersion) => ({ version: name, sha256 })
  return {
    stable,
    canary,
    shadows,
    until,
    said: {
      ...named,
      stable: said(stable),
      ...(canary === undefined ? {} : { canary: { ...said(canary.version), percent: canary.percent } }),
      shadows: shadows.map(said),
    },
  }
}

/** Which arm answers record `index` of `batch`: the same one for every record of a key. */
export function armOf({ canary }: Serving, batch: RecordBatch, index: number): 'stable' | 'canary' {
  if (canary === undefined) return 'stable'
  const at = index * COLUMNS
  const length = batch.columns[at + Column.keyLength]!
  const start = batch.columns[at + Column.keyStart]!
  const hash =
    length < 0 ? hashOfPlace(batch.partition, offsetOf(batch, index)) : murmur2(batch.bytes, start, start + length)
  return takesCanary(hash, canary.percent) ? 'canary' : 'stable'
}

/** The version of an arm that answers. */
export function versionOf({ stable, canary }: Serving, arm: Exclude<Arm, 'shadow'>): ServedVersion {
  return arm === 'stable' ? stable : canary!.version
}
