import { markdownTable } from '../report/markdown.ts'
import type { LatencyResult } from './measure.ts'
import type { Summary } from './summary.ts'

/** A measurement, and of what. */
export interface Row {
  readonly contender: string
  readonly guarantee: string
  readonly result: LatencyResult
}

const HEADER = [
  'contender',
  'guarantee',
  'offered/s',
  'seen/s',
  'p50 ms',
  'p90',
  'p99',
  'p99.9',
  'max',
  'lost',
  'doubled',
  'batches/s',
  'cores: contender',
  'broker',
  'generator',
  'reader',
  'sent late p50/p99 ms',
] as const

/** A Markdown table with a line for each step of each measurement. */
export function latencyTable(rows: readonly Row[]): string {
  const lines = rows.flatMap(row => row.result.steps.map((step, i) => cellsOf(row, step, i === 0)))
  return markdownTable(HEADER, lines)
}

/** What concerns the whole run stands in its first line. */
function cellsOf({ contender, guarantee, result }: Row, step: Summary, first: boolean): string[] {
  const { p50, p90, p99, p999, max } = step.latencyMs
  const { tally, cores, lateness, batchesPerSecond } = result
  const whole = [
    String(tally.doubled),
    batchesPerSecond.toFixed(0),
    ...['contender', 'broker', 'generator', 'reader'].map(name => cores[name]?.toFixed(2) ?? '-'),
    `${lateness.p50.toFixed(1)} / ${lateness.p99.toFixed(1)}`,
  ]
  return [
    first ? contender : '',
    first ? guarantee : '',
    step.offered.toFixed(0),
    step.achieved.toFixed(0),
    ...[p50, p90, p99, p999, max].map(ms => ms.toFixed(1)),
    String(step.lost),
    ...whole.map(cell => (first ? cell : '')),
  ]
}

/** What a person must know of a measurement besides its figures, a line each; none when all is well. */
export function remarks({ contender, result }: Row): string[] {
  const { tally, recoverySeconds, steps, lateness, whole } = result
  const wrong = (['lost', 'doubled', 'misordered', 'foreign'] as const).filter(kind => tally[kind] > 0)
  const lines = wrong.map(kind => `${contender}: ${tally[kind]} ${kind} of ${tally.records} records`)
  if (steps.length >= 3) {
    const back = recoverySeconds === undefined ? 'not gone by the end' : `gone after ${recoverySeconds.toFixed(2)} s`
    lines.push(`${contender}: the lag of the highest step was ${back}`)
  }
  if (lateness.p99 > whole.latencyMs.p99 / 2) {
    lines.push(
      `${contender}: much of it is the generator's own: its requests were late by ${lateness.p99.toFixed(1)} ms (p99)`,
    )
  }
  return lines
}
