import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { LatencyResult } from '../../bench/latency/measure.ts'
import { latencyTable, remarks } from '../../bench/latency/report.ts'
import type { Summary } from '../../bench/latency/summary.ts'

function summary(rate: number, lost = 0): Summary {
  const latencyMs = { p50: 5, p90: 9.04, p99: 20, p999: 40, max: Number.POSITIVE_INFINITY }
  return { seconds: 10, records: rate * 10, offered: rate, achieved: rate - 1, lost, latencyMs }
}

function result(steps: readonly Summary[], changes: Partial<LatencyResult['tally']> = {}): LatencyResult {
  const records = steps.reduce((sum, step) => sum + step.records, 0)
  const tally = { records, seen: records, lost: 0, doubled: 0, misordered: 0, foreign: 0, batches: 100, ...changes }
  const lateness = { p50: 1, p99: 2, max: 3 }
  const cores = { contender: 0.25, generator: 0.04, reader: 0.031 }
  return {
    whole: steps[0]!,
    steps,
    course: [],
    recoverySeconds: undefined,
    tally,
    batchesPerSecond: 9.7,
    lateness,
    cores,
  }
}

describe('the report of latencies', () => {
  it('has a line for each step, and what is of the whole run in the first', () => {
    const row = { contender: 'worker', guarantee: 'exactly-once', result: result([summary(1_000), summary(2_000, 3)]) }
    const [, , first, second, ...more] = latencyTable([row]).split('\n')
    assert.equal(
      first,
      '| worker | exactly-once | 1000 | 999 | 5.0 | 9.0 | 20.0 | 40.0 | Infinity | 0 | 0 | 10 | 0.25 | - | 0.04 | 0.03 | 1.0 / 2.0 |',
    )
    assert.equal(second, '|  |  | 2000 | 1999 | 5.0 | 9.0 | 20.0 | 40.0 | Infinity | 3 |  |  |  |  |  |  |  |')
    assert.deepEqual(more, [])
  })

  it('says what is wrong', () => {
    const of = (result: LatencyResult) => remarks({ contender: 'worker', guarantee: 'exactly-once', result })
    const well = result([summary(10)])
    assert.deepEqual(of(well), [])
    assert.deepEqual(of(result([summary(10)], { lost: 2, misordered: 1 })), [
      'worker: 2 lost of 100 records',
      'worker: 1 misordered of 100 records',
    ])
    assert.match(of({ ...well, lateness: { p50: 1, p99: 11, max: 12 } })[0]!, /generator's own: .* late by 11.0 ms/)
    const overload = result([summary(10), summary(20), summary(10)])
    assert.match(of(overload)[0]!, /not gone by the end/)
    assert.match(of({ ...overload, recoverySeconds: 2.5 })[0]!, /gone after 2.50 s/)
  })
})
