import { type Arrivals, firstDue } from './arrivals.ts'

/** A run when it is over: what was due when, and when it was seen. */
export interface Observed {
  readonly arrivals: Arrivals
  /** Of {@link monotonicMs}, by record; NaN for what was never seen. */
  readonly seen: Float64Array
  /** When the plan began, of {@link monotonicMs}. */
  readonly startedAt: number
}

/** Latencies in ms, by nearest rank: exact, for all of them are kept. `Infinity` where so many records were lost. */
export interface Percentiles {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

/** The records that were due in one stretch of time. */
export interface Summary {
  readonly seconds: number
  readonly records: number
  /** Records a second that were due. */
  readonly offered: number
  /** Records a second that were seen in that stretch, whenever they were due. */
  readonly achieved: number
  readonly lost: number
  /** From when a record was due, not from when it was sent, to when a read_committed reader had it. */
  readonly latencyMs: Percentiles
}

/** The records that were due from `fromMs` to `toMs` after the start. */
export function summarise(run: Observed, fromMs: number, toMs: number): Summary {
  const seconds = (toMs - fromMs) / 1000
  const latencies = latenciesOf(run, firstDue(run.arrivals, fromMs), firstDue(run.arrivals, toMs))
  const from = run.startedAt + fromMs
  const to = run.startedAt + toMs
  let seenWithin = 0
  for (const at of run.seen) if (at >= from && at < to) seenWithin++
  let lost = 0
  for (const latency of latencies) if (latency === Number.POSITIVE_INFINITY) lost++
  return {
    seconds,
    records: latencies.length,
    offered: latencies.length / seconds,
    achieved: seenWithin / seconds,
    lost,
    latencyMs: percentilesOf(latencies),
  }
}

/** Of records [first, end), in their order; `Infinity` for a lost one. */
export function latenciesOf({ arrivals, seen, startedAt }: Observed, first: number, end: number): Float64Array {
  const latencies = new Float64Array(end - first)
  for (let i = first; i < end; i++) {
    const latency = seen[i]! - (startedAt + arrivals.times[i]!)
    latencies[i - first] = Number.isNaN(latency) ? Number.POSITIVE_INFINITY : latency
  }
  return latencies
}

/** Sorts the latencies in place. NaN for all where there are none. */
export function percentilesOf(latencies: Float64Array): Percentiles {
  latencies.sort()
  const at = (share: number) => latencies[Math.max(0, Math.ceil(share * latencies.length) - 1)] ?? Number.NaN
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1) }
}
