import { lineChart, type Series } from '../../dev/chart.ts'
import type { LatencyResult } from '../latency/measure.ts'
import { KEEPS_UP, type OpenLoopResult, type OpenLoopRow, type Overload } from '../open-loop.ts'
import { goalTable } from './goal.ts'
import { latencyGoals, titleOf } from './latency-goals.ts'
import { markdownTable } from './markdown.ts'
import { countRuns, ratiosOf, showNumber, showSpread, spreadOf } from './statistics.ts'

const COLOURS = ['#1f5fa8', '#3d8b40', '#c2571a', '#7a3fa0', '#8a6d1d', '#555555']

/** Latencies by contender, guarantee and rate, and what the worker must show beside the others. */
export function latencySection(result: OpenLoopResult, image: string): string {
  const { workload, partitions, seconds, rows, overload } = result
  const runs = rows[0]!.runs.length
  const table = markdownTable(
    ['', 'records/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'lost / doubled', 'cores', 'broker'],
    rows.map(cellsOf),
  )
  return [
    `### ${workload}: latency`,
    `Poisson arrivals in ${partitions} partitions for ${seconds} s, ${countRuns(runs)}; from when a record was due to when a ` +
      'read_committed reader had its prediction.',
    table,
    comparisons(rows),
    overload === undefined ? '' : overloadText(overload),
    goalTable(latencyGoals(result)),
    `![Throughput against latency](${image})`,
  ]
    .filter(part => part !== '')
    .join('\n\n')
}

function cellsOf(row: OpenLoopRow): string[] {
  const { rate, runs } = row
  const ms = (of: (result: LatencyResult) => number) => showSpread(runs.map(of), 1)
  const sum = (of: (result: LatencyResult) => number) => runs.reduce((total, result) => total + of(result), 0)
  const cores = (process: string) => {
    return showSpread(
      runs.map(result => result.cores[process]),
      2,
    )
  }
  return [
    titleOf(row),
    showNumber(rate),
    ms(result => result.whole.latencyMs.p50),
    ms(result => result.whole.latencyMs.p99),
    ms(result => result.whole.latencyMs.p999),
    `${sum(result => result.tally.lost)} / ${sum(result => result.tally.doubled)}`,
    cores('contender'),
    cores('broker'),
  ]
}

/** The worker's percentiles over those of the others at the same rate, run by run. */
function comparisons(rows: readonly OpenLoopRow[]): string {
  const lines = rows
    .filter(({ contender }) => contender === 'worker')
    .flatMap(worker => {
      return rows
        .filter(other => other !== worker && other.rate === worker.rate && comparable(worker, other))
        .map(other => {
          const ratio = (of: (result: LatencyResult) => number) => {
            return showSpread(ratiosOf(worker.runs.map(of), other.runs.map(of)), 2)
          }
          return [
            `${showNumber(worker.rate)}/s: ${titleOf(worker)} / ${titleOf(other)}`,
            ratio(result => result.whole.latencyMs.p50),
            ratio(result => result.whole.latencyMs.p99),
          ]
        })
    })
  return lines.length === 0 ? '' : markdownTable(['ratio, run by run', 'p50', 'p99'], lines)
}

/** With others in the same guarantee, and with itself in the stronger one. */
function comparable(worker: OpenLoopRow, other: OpenLoopRow): boolean {
  if (other.contender !== 'worker') return other.guarantee === worker.guarantee
  return worker.guarantee === 'at-least-once'
}

function overloadText({ sustained, steps, result }: Overload): string {
  const [before, during, after] = result.steps
  const lag = Math.max(...result.course.map(interval => interval.lag))
  const gone =
    result.recoverySeconds === undefined
      ? 'it was not gone by the end'
      : `it was gone ${showNumber(result.recoverySeconds, 1)} s after the overload`
  const p99 = [before!, during!, after!].map(step => showNumber(step.latencyMs.p99, 0)).join(' / ')
  return (
    `Overload: the worker sustains ${showNumber(sustained)}/s beside generator, reader and broker. With 110 % of that, ` +
    `${showNumber(steps[1]!.rate)}/s, for ${steps[1]!.seconds} s, and ${showNumber(steps[0]!.rate)}/s before and after: ` +
    `the lag grew to ${showNumber(lag)} records, and ${gone}; p99 before, during and after ${p99} ms; ` +
    `${result.tally.lost} of ${showNumber(result.tally.records)} records lost, ${result.tally.doubled} doubled.`
  )
}

/** Median latency over what was offered, for those who keep up: p50 as dashes, p99 as lines. */
export function latencyChart({ workload, rows }: OpenLoopResult): string {
  const titles = [...new Set(rows.map(titleOf))]
  const series = titles.flatMap((title, i): Series[] => {
    const own = rows.filter(row => titleOf(row) === title && keepsUp(row))
    const line = (of: (result: LatencyResult) => number) => {
      return own.map(row => [row.rate, spreadOf(row.runs.map(of))!.median] as const)
    }
    const colour = COLOURS[i % COLOURS.length]!
    return [
      { name: title, colour, points: line(result => result.whole.latencyMs.p99) },
      { name: '', colour, points: line(result => result.whole.latencyMs.p50), dashed: true },
    ]
  })
  return lineChart({
    title: `${workload}: latency by throughput; p99, and dashed p50`,
    x: 'records a second',
    y: 'ms',
    series: series.filter(({ points }) => points.length > 0),
    scale: 'logarithmic',
  })
}

function keepsUp({ runs }: OpenLoopRow): boolean {
  const share = spreadOf(runs.map(({ whole }) => whole.achieved / whole.offered))
  return share !== undefined && share.median >= KEEPS_UP
}
