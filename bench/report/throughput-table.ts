import type { Run } from '../measure.ts'
import type { RuntimeRun } from '../runtime-limit.ts'
import type { ThroughputResult } from '../throughput.ts'
import { goalTable } from './goal.ts'
import { markdownTable } from './markdown.ts'
import { countRuns, ratiosOf, showNumber, showSpread, spreadOf } from './statistics.ts'
import { throughputGoals } from './throughput-goals.ts'

/** Names for people; a name that is not here stands for itself. */
const TITLES: Readonly<Record<string, string>> = {
  echo: 'limit: echo in the same client',
  consume: 'limit: bare consume',
}

/** What was measured, a row for each contender and limit, and how the worker compares with what was asked of it. */
export function throughputSection(result: ThroughputResult): string {
  const { workload, records, partitions, inputBytes, predictionBytes, guarantee, batchSizes, contenders } = result
  const runs = contenders[0]!.runs.length
  const parts = [
    `### ${workload}`,
    `${showNumber(records)} records of ${showNumber(inputBytes)} bytes in ${partitions} partitions, predictions of ` +
      `${showNumber(predictionBytes)} bytes, ${guarantee}, ${countRuns(runs)}. Batches of the worker: ${showSpread(batchSizes, 1)} rows.`,
    throughputTable(result),
    comparisons(result),
  ]
  return parts.filter(part => part !== '').join('\n\n')
}

function throughputTable({ contenders, runtime }: ThroughputResult): string {
  const head = [
    '',
    'records/s',
    'second half',
    'CPU s per million',
    'broker',
    'records a transaction',
    'RSS MiB',
    'lost / doubled',
  ]
  const rows = contenders.map(({ name, runs }) => {
    const show = (of: (run: Run) => number | undefined, digits = 0) => showSpread(runs.map(of), digits)
    return [
      TITLES[name] ?? name,
      showSpeed(runs.map(run => run.recordsPerSecond)),
      showSpeed(runs.map(run => run.secondHalfPerSecond)),
      show(run => run.cpuPerMillion, 1),
      show(run => run.brokerCpuPerMillion, 1),
      show(run => run.perTransaction),
      show(run => run.rssMiB),
      countsOf(runs),
    ]
  })
  const alone = runtime.map(({ sessions, runs }) => {
    const show = (of: (run: RuntimeRun) => number | undefined, digits = 0) => showSpread(runs.map(of), digits)
    const title = `limit: ONNX Runtime alone, ${sessions === 1 ? 'one session' : `${sessions} sessions`}`
    const speed = showSpeed(runs.map(run => run.rowsPerSecond))
    const [cpu, rss] = [show(run => run.cpuPerMillion, 1), show(run => run.rssMiB)]
    return [title, speed, '–', cpu, '–', '–', rss, '–']
  })
  return markdownTable(head, [...rows, ...alone])
}

/** A heavy model does a few dozen a second: their tenths count. */
function showSpeed(values: readonly number[]): string {
  const { median } = spreadOf(values)!
  return showSpread(values, median < 100 ? 1 : 0)
}

/** Of the runs that were audited. */
function countsOf(runs: readonly Run[]): string {
  const counts = runs.flatMap(run => run.counts ?? [])
  if (counts.length === 0) return '–'
  const sum = (of: 'lost' | 'doubled' | 'inputs') => counts.reduce((total, each) => total + each[of], 0)
  return `${sum('lost')} / ${sum('doubled')} of ${showNumber(sum('inputs'))}`
}

/** Ratios run by run, then what each must be. */
function comparisons(result: ThroughputResult): string {
  const speeds = new Map(result.contenders.map(({ name, runs }) => [name, runs.map(run => run.recordsPerSecond)]))
  const worker = speeds.get('worker')
  if (worker === undefined) return ''
  const ratios = [...speeds]
    .filter(([name]) => name !== 'worker')
    .map(([name, speed]) => [`worker / ${name}`, showSpread(ratiosOf(worker, speed), 2)])
  const tables = ratios.length === 0 ? [] : [markdownTable(['ratio, run by run', ''], ratios)]
  return [...tables, goalTable(throughputGoals(result))].filter(table => table !== '').join('\n\n')
}
