import type { Measurement } from './progress.ts'

/** Measurements of one workload, run by run. */
export interface Table {
  readonly title: string
  readonly echo: readonly Measurement[]
  readonly worker: readonly Measurement[]
  /** Worker over echo, of the same run. */
  readonly ratios: readonly number[]
}

/** A Markdown table of medians, with the least and the most in brackets. */
export function table({ title, echo, worker, ratios }: Table): string {
  const row = (name: string, runs: readonly Measurement[]) =>
    `| ${name} | ${spread(
      runs.map(run => run.recordsPerSecond / 1000),
      0,
    )} | ${spread(defined(runs.map(run => run.cpuSecondsPerMillion)), 1)} | ${spread(defined(runs.map(run => run.rssMiB)), 0)} |`
  return [
    title,
    '',
    '| | thousand records/s | CPU s per million | RSS MiB |',
    '| --- | --- | --- | --- |',
    row('echo limit', echo),
    row('worker', worker),
    `| **ratio** | **${spread(ratios, 2)}** | | |`,
  ].join('\n')
}

function spread(values: readonly number[], digits: number): string {
  if (values.length === 0) return '-'
  const sorted = [...values].sort((a, b) => a - b)
  const show = (value: number) => value.toFixed(digits)
  return `${show(median(sorted))} (${show(sorted[0]!)}–${show(sorted.at(-1)!)})`
}

function median(sorted: readonly number[]): number {
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

function defined(values: readonly (number | undefined)[]): number[] {
  return values.filter(value => value !== undefined)
}
