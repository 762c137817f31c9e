import { murmur2 } from '../../src/core/murmur2.ts'
import { hashOfPlace, takesCanary } from '../../src/core/rollout.ts'
import type { TimelineEntry } from '../../src/core/timeline.ts'

/** By which a canary takes a record: of its key, or of its place where it has none. */
export function canaryHash(key: Uint8Array | null, partition: number, offset: number): number {
  return key === null ? hashOfPlace(partition, offset) : murmur2(key)
}

/** Which version and arm a timeline has for a record, as in `4 canary`; `nothing` before the first entry of its partition. */
export function answeredBy(
  timeline: readonly TimelineEntry[],
  partition: number,
  offset: number,
  hash: number,
): string {
  const entry = timeline.findLast(each => each.partition === partition && each.offset <= offset)
  if (entry === undefined) return 'nothing'
  const { stable, canary } = entry
  const isCanary = canary !== undefined && takesCanary(hash, canary.percent)
  return isCanary ? `${canary.version} canary` : `${stable.version} stable`
}
