import type { LatencyResult } from '../latency/measure.ts'
import type { OpenLoopResult, OpenLoopRow } from '../open-loop.ts'
import { atMost, type Goal } from './goal.ts'
import { ratiosOf, showNumber, spreadOf } from './statistics.ts'
import { PEERS } from './throughput-goals.ts'

/** The rates at which the worker is to be quick. */
const RATES: readonly number[] = [1_000, 10_000]
const PERCENTILES = ['p50', 'p99'] as const
type Percentile = (typeof PERCENTILES)[number]

/** The goals of a workload, as far as those whom they compare were measured. */
export function latencyGoals({ rows, overload }: OpenLoopResult): Goal[] {
  const goals = RATES.flatMap(rate => goalsAt(rows.filter(row => row.rate === rate)))
  if (overload === undefined) return goals
  const { recoverySeconds, tally } = overload.result
  const seconds = recoverySeconds ?? Number.POSITIVE_INFINITY
  goals.push(...atMost(30, 'seconds from the overload until its lag is gone', [seconds], 1))
  goals.push(...atMost(0, 'records lost in the overload', [tally.lost], 0))
  return goals
}

/** Of rows at one rate. */
function goalsAt(rows: readonly OpenLoopRow[]): Goal[] {
  const exactly = rows.filter(({ guarantee }) => guarantee === 'exactly-once')
  const worker = exactly.find(({ contender }) => contender === 'worker')
  if (worker === undefined) return []
  const rate = `${showNumber(worker.rate)}/s`
  const echo = exactly.find(({ contender }) => contender === 'echo')
  const loose = rows.find(({ contender, guarantee }) => contender === 'worker' && guarantee === 'at-least-once')
  const peers = exactly.filter(({ contender }) => PEERS.includes(contender))
  const besidePeers = PERCENTILES.flatMap(percentile => {
    const best = quickest(peers, percentile)
    if (best === undefined) return []
    return atMost(
      0.5,
      `${rate}, ${percentile}: worker / ${titleOf(best)}, the best peer`,
      ratios(worker, best, percentile),
    )
  })
  const besideEcho = PERCENTILES.flatMap(percentile => {
    return echo === undefined
      ? []
      : atMost(2, `${rate}, ${percentile}: worker / echo`, ratios(worker, echo, percentile))
  })
  const atLeastOnce =
    loose === undefined ? [] : atMost(1 / 3, `${rate}, p50: at least once / exactly once`, ratios(loose, worker, 'p50'))
  return [...besidePeers, ...besideEcho, ...atLeastOnce]
}

function ratios(over: OpenLoopRow, under: OpenLoopRow, percentile: Percentile): number[] {
  return ratiosOf(valuesOf(over, percentile), valuesOf(under, percentile))
}

function valuesOf({ runs }: OpenLoopRow, percentile: Percentile): number[] {
  return runs.map((run: LatencyResult) => run.whole.latencyMs[percentile])
}

function quickest(rows: readonly OpenLoopRow[], percentile: Percentile): OpenLoopRow | undefined {
  const median = (row: OpenLoopRow) => spreadOf(valuesOf(row, percentile))!.median
  return rows.reduce<OpenLoopRow | undefined>((best, row) => {
    return best === undefined || median(row) < median(best) ? row : best
  }, undefined)
}

/** Who, and how: the guarantee where it is not exactly-once, and the commits where they are not the contender's own. */
export function titleOf({ contender, guarantee, commitIntervalMs }: OpenLoopRow): string {
  const commits = commitIntervalMs === undefined ? '' : `, commits every ${commitIntervalMs} ms`
  return `${contender}${guarantee === 'exactly-once' ? '' : `, ${guarantee}`}${commits}`
}
