import { METRICS } from '../src/ops/metric-table.ts'
import type { Sample } from '../test/support/metrics.ts'
import type { BatchSize } from './limits/runtime-job.ts'

/**
 * The sizes of a worker's batches, from the histogram at /metrics. A bucket says only between what bounds a batch was;
 * here each stands for one size, the middle of its bounds, and all are then moved by the same factor, within their
 * bounds, towards the mean that the histogram knows exactly.
 */
export function batchSizesOf(samples: readonly Sample[]): BatchSize[] {
  const { name } = METRICS.batchSize
  const sum = total(samples, `${name}_sum`)
  const buckets = METRICS.batchSize.buckets.map((upper, i) => {
    const under = (bound: number | undefined) => (bound === undefined ? 0 : total(samples, `${name}_bucket`, bound))
    const lower = METRICS.batchSize.buckets[i - 1]
    return { least: (lower ?? 0) + 1, most: upper, runs: under(upper) - under(lower) }
  })
  const filled = buckets.filter(({ runs }) => runs > 0)
  const middles = filled.map(({ least, most }) => (least + most) / 2)
  const guess = filled.reduce((rows, { runs }, i) => rows + runs * middles[i]!, 0)
  const factor = guess === 0 ? 1 : sum / guess
  return filled.map(({ least, most, runs }, i) => {
    return { rows: Math.round(Math.min(most, Math.max(least, middles[i]! * factor))), runs }
  })
}

/** Rows in a batch, on average. */
export function meanBatchSize(samples: readonly Sample[]): number {
  const { name } = METRICS.batchSize
  return total(samples, `${name}_sum`) / Math.max(1, total(samples, `${name}_count`))
}

function total(samples: readonly Sample[], name: string, bound?: number): number {
  return samples
    .filter(sample => sample.name === name && (bound === undefined || Number(sample.labels.le) === bound))
    .reduce((sum, { value }) => sum + value, 0)
}
