import assert from 'node:assert/strict'
import { test } from 'node:test'
import { latencyGoals } from '../../bench/report/latency-goals.ts'
import { latencyChart, latencySection } from '../../bench/report/latency-table.ts'
import { scaleSection } from '../../bench/report/scale-table.ts'
import { throughputGoals } from '../../bench/report/throughput-goals.ts'
import { throughputSection } from '../../bench/report/throughput-table.ts'
import { latencyResult, openLoopResult, run, scaleCell, throughputResult } from './results.ts'

test('a throughput table has a row for everybody, with medians and the worker’s ratios run by run', () => {
  const text = throughputSection(
    throughputResult('iris', {
      worker: [run(80, 4), run(160, 5), run(240, 6)],
      echo: [run(100, 1), run(200, 1), run(400, 1)],
      consume: [run(900, 1), run(900, 1), run(900, 1)],
    }),
  )
  assert.match(text, /\| worker \| 160 \(80–240\) \|/)
  assert.match(text, /\| limit: echo in the same client \| 200 \(100–400\) \|/)
  assert.match(text, /\| worker \/ echo \| 0\.80 \(0\.60–0\.80\) \|/)
  assert.match(text, /\| limit: ONNX Runtime alone, one session \| 1,000 /)
  assert.match(text, /0 \/ 0 of 50 \|/)
})

test('goals are judged by the median, and those of contenders that were not measured are left out', () => {
  const iris = { worker: [run(80, 4), run(90, 6), run(10, 4)], echo: [run(100, 1), run(100, 1), run(100, 1)] }
  const goals = throughputGoals(throughputResult('iris', iris))
  assert.deepEqual(
    goals.map(({ what, met }) => [what, met]),
    [
      ['worker / echo', true],
      ['CPU seconds per million', true],
      ['RSS in MiB', true],
    ],
  )
  const slow = throughputGoals(throughputResult('iris', { ...iris, echo: [run(200, 1), run(200, 1), run(200, 1)] }))
  assert.equal(slow[0]!.met, false)
})

test('the better of two peers is the one that the worker is compared with', () => {
  const runs = { worker: [run(180, 4)], java: [run(100, 10)], python: [run(90, 8)] }
  const goal = throughputGoals(throughputResult('iris', runs)).find(({ what }) => what.includes('peer'))!
  assert.match(goal.what, /java/)
  assert.equal(goal.met, true)
  assert.deepEqual(goal.values, [1.8])
})

test('a heavy model is compared with the runtime alone, and with itself', () => {
  const runs = { worker: [run(960, 4)], 'worker-2-sessions': [run(1_500, 4)] }
  const goals = throughputGoals(throughputResult('heavy', runs))
  assert.deepEqual(
    goals.map(({ values, met }) => [values, met]),
    [
      [[0.96], true],
      [[1.5625], false],
    ],
  )
})

test('latencies are shown by rate, and compared with those who did the same', () => {
  const text = latencySection(openLoopResult(), 'images/latency-iris.svg')
  assert.match(text, /\| worker \| 1,000 \| 10\.0 \| 20\.0 \|/)
  assert.match(text, /\| 1,000\/s: worker \/ echo \| 2\.00 \| 2\.00 \|/)
  assert.match(text, /\| 1,000\/s: worker, at-least-once \/ worker \| 0\.50 \| 0\.50 \|/)
  assert.match(text, /lag grew to 500 records, and it was gone 1\.5 s after/)
})

test('latencies are judged beside the floor and beside the best that a peer did, whatever it was told', () => {
  const result = openLoopResult()
  const peer = (contender: string, p50: number, p99: number, commitIntervalMs?: number) => {
    const runs = [latencyResult(p50, p99)]
    return { contender, guarantee: 'exactly-once', commitIntervalMs, rate: 1_000, runs } as const
  }
  // The worker has 10 and 20 ms: half of what Python has, and at p99 of what Java has when it commits at once.
  const rows = [...result.rows, peer('java', 60, 120), peer('java', 25, 30, 0), peer('python', 20, 130)]
  const found = latencyGoals({ ...result, rows }).map(({ what, values, met }) => [what, values, met])
  assert.deepEqual(found, [
    ['1,000/s, p50: worker / python, the best peer', [0.5], true],
    ['1,000/s, p99: worker / java, commits every 0 ms, the best peer', [20 / 30], false],
    ['1,000/s, p50: worker / echo', [2], true],
    ['1,000/s, p99: worker / echo', [2], true],
    ['1,000/s, p50: at least once / exactly once', [0.5], false],
    ['seconds from the overload until its lag is gone', [1.5], true],
    ['records lost in the overload', [0], true],
  ])
})

test('a lag that is never gone fails', () => {
  const result = openLoopResult()
  const { recoverySeconds: _, ...never } = result.overload!.result
  const overload = { ...result.overload!, result: { ...never, recoverySeconds: undefined } }
  const goal = latencyGoals({ ...result, overload }).find(({ what }) => what.includes('lag is gone'))!
  assert.equal(goal.met, false)
})

test('the chart has a line for everybody, and leaves out who did not keep up', () => {
  const result = openLoopResult()
  const chart = latencyChart(result)
  assert.match(chart, /^<svg /)
  assert.equal(chart.match(/<circle/g)?.length, 2 * result.rows.length)
  const late = {
    ...result.rows[0]!,
    rate: 50_000,
    runs: [latencyResult(10, 20, { achieved: 20_000, offered: 50_000 })],
  }
  assert.equal(latencyChart({ ...result, rows: [...result.rows, late] }), chart)
})

test('a scale table has a row for each cell', () => {
  const text = scaleSection([scaleCell(4, 2), scaleCell(256, 4)], 'iris')
  assert.match(text, /\| 4 \| 2 \| 1,000 \|/)
  assert.match(text, /\| 256 \| 4 \| 1,000 \|/)
})
