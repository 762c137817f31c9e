import { firstDue } from './arrivals.ts'
import { latenciesOf, type Observed, percentilesOf } from './summary.ts'

/** A quarter of a second of a run. */
export interface Interval {
  /** Its end, in seconds from where the course begins. */
  readonly at: number
  /** Records a second that were due, and that were seen. */
  readonly rateIn: number
  readonly rateOut: number
  /** Latency in ms of the records that were due in it; NaN where none was. */
  readonly p50: number
  readonly p99: number
  /** Records that were due by its end and not seen by then. */
  readonly lag: number
}

export const INTERVAL_MS = 250

/** The course of a run from `fromMs` after the start, in intervals, until all that was seen at all had been seen. */
export function courseOf(run: Observed, fromMs: number): Interval[] {
  const { arrivals, seen, startedAt } = run
  const toMs = Math.max(latest(arrivals.times), latest(seen) - startedAt)
  const intervals = Math.max(0, Math.floor((toMs - fromMs) / INTERVAL_MS) + 1)
  const origin = startedAt + fromMs
  const out = new Int32Array(intervals)
  let lag = firstDue(arrivals, fromMs)
  for (const at of seen) {
    if (at < origin) lag--
    else if (!Number.isNaN(at)) out[Math.floor((at - origin) / INTERVAL_MS)]!++
  }
  let first = firstDue(arrivals, fromMs)
  return Array.from(out, (seenNow, i): Interval => {
    const endMs = fromMs + (i + 1) * INTERVAL_MS
    const end = firstDue(arrivals, endMs)
    const due = end - first
    const { p50, p99 } = percentilesOf(latenciesOf(run, first, end))
    first = end
    lag += due - seenNow
    const perSecond = 1000 / INTERVAL_MS
    return { at: (endMs - fromMs) / 1000, rateIn: due * perSecond, rateOut: seenNow * perSecond, p50, p99, lag }
  })
}

/**
 * Seconds from the end of an overload until the lag is no larger than it ever was before it; undefined where it never
 * is. At any rate some records are on their way, so a lag that is gone is not a lag of zero.
 * @param beginSeconds where the overload begins, as `endSeconds` from where the course begins, which is before
 */
export function secondsToRecover(
  course: readonly Interval[],
  beginSeconds: number,
  endSeconds: number,
): number | undefined {
  const before = course.filter(({ at }) => at <= beginSeconds)
  const usual = Math.max(0, ...before.map(({ lag }) => lag))
  const recovered = course.find(({ at, lag }) => at >= endSeconds && lag <= usual)
  return recovered === undefined ? undefined : recovered.at - endSeconds
}

function latest(times: Float64Array): number {
  let latest = Number.NEGATIVE_INFINITY
  for (const time of times) if (time > latest) latest = time
  return latest
}
