import { SluiceError } from '../core/errors.ts'
import type { LogPosition } from '../core/log-position.ts'
import type { ReplayPosition } from '../core/replay.ts'
import type { TimelineRange } from '../core/timeline-ranges.ts'

/** Offsets of one topic, by partition. */
type Offsets = readonly number[]

/** What is asked for, and what there is. */
export interface RangeRequest {
  readonly topic: string
  readonly from: LogPosition
  readonly to: LogPosition
  /** What these positions come to. */
  readonly resolved: { readonly from: Offsets; readonly to: Offsets }
  /** What the log holds. */
  readonly log: { readonly start: Offsets; readonly end: Offsets }
  /** By partition: who answered is known below it. Left out where that does not matter. */
  readonly knownTo?: Offsets | undefined
  /** Partitions whose range is fixed already: nothing has to be there of them any more. */
  readonly begun?: ReadonlySet<number> | undefined
}

/**
 * The offsets [from, to) of each partition. What offsets name must be there, and known; what times, `earliest` and `latest` name is
 * what there is of it.
 * @throws SluiceError `replay-range`
 */
export function rangesToReplay(request: RangeRequest): { from: number; to: number }[] {
  const { topic, from, to, resolved, log, knownTo, begun } = request
  requireOrder(from, to)
  requirePartitions(topic, [from, to], log.start.length)
  return log.start.map((start, partition) => {
    const end = Math.min(log.end[partition]!, knownTo?.[partition] ?? Number.POSITIVE_INFINITY)
    const first = resolved.from[partition]!
    const last = resolved.to[partition]!
    const what = `${topic}/${partition}`
    const named = (position: LogPosition) =>
      position.kind === 'offsets' && position.offsets.has(partition) && !begun?.has(partition)
    if (named(from) && first < start) {
      throw new SluiceError('replay-range', `--from names offset ${first} of ${what}, which begins at ${start}.`)
    }
    if (named(to) && last > end) {
      const why =
        last > log.end[partition]! ? `which ends at ${end}` : `of which the group has answered what lies below ${end}`
      throw new SluiceError('replay-range', `--to names offset ${last} of ${what}, ${why}.`)
    }
    if (named(from) && first > Math.min(last, end)) {
      throw new SluiceError(
        'replay-range',
        `--from names offset ${first} of ${what}, but the range ends at ${Math.min(last, end)}.`,
      )
    }
    const upTo = Math.min(last, end)
    return { from: Math.min(Math.max(first, start), Math.max(upTo, start)), to: Math.max(upTo, start) }
  })
}

/**
 * The part of a timeline that answers what is left of these offsets.
 * @throws SluiceError `replay-range` where it begins later
 */
export function timelineOf(
  topic: string,
  timeline: readonly TimelineRange[],
  positions: readonly ReplayPosition[],
): TimelineRange[] {
  return positions.flatMap(({ partition, done: from, to }) => {
    if (from >= to) return []
    const known = timeline.filter(range => range.partition === partition)
    const first = known[0]?.from
    if (first === undefined || first > from) {
      const what = first === undefined ? 'says nothing of it' : `begins at offset ${first} there`
      const message = `Who answered ${topic}/${partition} from offset ${from} on is not known: the timeline ${what}.`
      throw new SluiceError('replay-range', `${message} Is GROUP_ID the group that answered?`)
    }
    return known.filter(range => range.from < to && (range.to ?? Number.POSITIVE_INFINITY) > from)
  })
}

function requireOrder(from: LogPosition, to: LogPosition): void {
  if (from.kind !== 'time' || to.kind !== 'time' || from.timestamp < to.timestamp) return
  throw new SluiceError('replay-range', '--from is not before --to.')
}

function requirePartitions(topic: string, asked: readonly LogPosition[], partitions: number): void {
  for (const position of asked) {
    if (position.kind !== 'offsets') continue
    const stranger = [...position.offsets.keys()].find(partition => partition >= partitions)
    if (stranger === undefined) continue
    const message = `${topic} has no partition ${stranger}; it has ${partitions}, numbered from 0.`
    throw new SluiceError('replay-range', message)
  }
}
