import { setTimeout as delay } from 'node:timers/promises'

/** A look at a contender at work. */
export interface Point {
  /** Milliseconds, from an arbitrary origin. */
  readonly at: number
  /** Records that it has committed. */
  readonly done: number
  /** Processor seconds of the contender and of the broker; undefined where the system does not tell. */
  readonly cpu: number | undefined
  readonly brokerCpu: number | undefined
}

/** How fast it was. */
export interface Throughput {
  readonly records: number
  /** From the first commit that was seen on: neither the start of the process nor the joining of the group counts. */
  readonly seconds: number
  readonly recordsPerSecond: number
  /** In the second half of the time, when just-in-time compilers have warmed up. */
  readonly secondHalfPerSecond: number
  readonly cpuPerMillion: number | undefined
  readonly brokerCpuPerMillion: number | undefined
}

/** Each look costs the broker a request. */
const POLL_MS = 100
/** Nothing at all for so long is a contender that does not work. */
const STALL_MS = 60_000

export interface WatchOptions {
  readonly look: () => Promise<Omit<Point, 'at'>>
  /** Ends when so much has passed since the first commit, or when so many records are done. */
  readonly seconds: number
  readonly records: number
  /** Rejects when there is nothing to look at any more. */
  readonly died: Promise<never>
}

/**
 * Looks ten times a second from the first commit on.
 * @throws Error when nothing is committed for a minute; what `died` rejects with
 */
export async function watch({ look, seconds, records, died }: WatchOptions): Promise<Point[]> {
  const points: Point[] = []
  let movedAt = performance.now()
  for (;;) {
    const at = performance.now()
    const point = { at, ...(await look()) }
    const last = points.at(-1)
    if (point.done > (last?.done ?? 0)) movedAt = at
    if (point.done > 0) points.push(point)
    const elapsed = at - (points[0]?.at ?? at)
    if (point.done >= records || elapsed >= seconds * 1000) return points
    if (at - movedAt > STALL_MS) throw new Error(`Nothing was committed for ${STALL_MS / 1000} s.`)
    await Promise.race([delay(POLL_MS), died])
  }
}

/**
 * The speed over the whole of what was seen, and over the second half of its time. Both end with the last commit: what is
 * under way after it counts neither as done nor as time.
 * @throws Error when all was committed at once
 */
export function throughputOf(seen: readonly Point[]): Throughput {
  const end = seen.findLastIndex((point, i) => i > 0 && point.done > seen[i - 1]!.done)
  if (end < 0) throw new Error(`All ${seen.at(-1)?.done ?? 0} records were committed at once: too few to measure by.`)
  const points = seen.slice(0, end + 1)
  const [first, last] = [points[0]!, points.at(-1)!]
  // What was done by the middle, though nobody looked right then.
  const middle = (first.at + last.at) / 2
  const after = points.findIndex(point => point.at >= middle)
  const [before, next] = [points[Math.max(0, after - 1)]!, points[after]!]
  const share = next.at === before.at ? 0 : (middle - before.at) / (next.at - before.at)
  const doneByMiddle = before.done + share * (next.done - before.done)

  const seconds = (last.at - first.at) / 1000
  const records = last.done - first.done
  const perMillion = (begin: number | undefined, end: number | undefined) => {
    return begin === undefined || end === undefined ? undefined : ((end - begin) / records) * 1e6
  }
  return {
    records,
    seconds,
    recordsPerSecond: records / seconds,
    secondHalfPerSecond: (last.done - doneByMiddle) / (seconds / 2),
    cpuPerMillion: perMillion(first.cpu, last.cpu),
    brokerCpuPerMillion: perMillion(first.brokerCpu, last.brokerCpu),
  }
}
