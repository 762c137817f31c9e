import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchSizesOf, meanBatchSize } from '../../bench/batch-sizes.ts'
import { METRICS } from '../../src/ops/metric-table.ts'
import { parseMetrics } from '../support/metrics.ts'

/** What a worker serves after batches of these sizes. */
function metricsAfter(sizes: readonly number[]) {
  const { name, buckets } = METRICS.batchSize
  const under = (bound: number) => sizes.filter(size => size <= bound).length
  const sum = sizes.reduce((total, size) => total + size, 0)
  const lines = buckets.map(bound => `${name}_bucket{le="${bound}",model="m",version="1"} ${under(bound)}`)
  return parseMetrics(
    [...lines, `${name}_sum{model="m"} ${sum}`, `${name}_count{model="m"} ${sizes.length}`].join('\n'),
  )
}

test('batches of one size come out as they were', () => {
  for (const size of [1, 8, 700, 1024]) {
    assert.deepEqual(batchSizesOf(metricsAfter(new Array(10).fill(size))), [{ rows: size, runs: 10 }])
  }
})

test('sizes stay within the bounds of their buckets, and keep the mean', () => {
  const sizes = [1, 1, 1, 100, 100, 1000, 1024, 1024, 1024, 600]
  const found = batchSizesOf(metricsAfter(sizes))
  assert.deepEqual(
    found.map(({ runs }) => runs),
    [3, 2, 5],
  )
  assert.equal(found[0]!.rows, 1)
  assert.ok(found[1]!.rows >= 65 && found[1]!.rows <= 128)
  assert.ok(found[2]!.rows >= 513 && found[2]!.rows <= 1024)
  const total = found.reduce((sum, { rows, runs }) => sum + rows * runs, 0)
  const exact = sizes.reduce((sum, size) => sum + size, 0)
  assert.ok(Math.abs(total - exact) / exact < 0.05, `${total} rows instead of ${exact}`)
  assert.equal(meanBatchSize(metricsAfter(sizes)), exact / 10)
})

test('a worker without a batch has none', () => {
  assert.deepEqual(batchSizesOf(metricsAfter([])), [])
})
