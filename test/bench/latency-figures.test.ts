import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { courseOf, secondsToRecover } from '../../bench/latency/course.ts'
import { type Observed, percentilesOf, summarise } from '../../bench/latency/summary.ts'
import { evenly, planOf } from './latency-plans.ts'

/** What one server that takes `serviceMs` for each record makes of these arrivals, seen `delayMs` after that. */
function served(times: readonly number[], serviceMs: number, delayMs = 0): Observed {
  const startedAt = 1_000_000
  let free = 0
  const seen = Float64Array.from(times, time => {
    free = Math.max(free, time) + serviceMs
    return startedAt + free + delayMs
  })
  return { arrivals: planOf(times), seen, startedAt }
}

describe('percentiles', () => {
  it('are exact, by nearest rank', () => {
    const latencies = Float64Array.from({ length: 1_000 }, (_, i) => ((i * 7) % 1_000) + 1)
    assert.deepEqual(percentilesOf(latencies), { p50: 500, p90: 900, p99: 990, p999: 999, max: 1_000 })
    assert.deepEqual(percentilesOf(Float64Array.of(3)), { p50: 3, p90: 3, p99: 3, p999: 3, max: 3 })
  })

  it('are no numbers where there are no records', () => {
    assert.ok(Object.values(percentilesOf(new Float64Array(0))).every(Number.isNaN))
  })
})

describe('a summary', () => {
  it('charges a stall to every record that was due meanwhile', () => {
    const times = evenly(1_000, 10)
    const run = served(times, 0.5)
    for (const [i, time] of times.entries()) if (time >= 4_000 && time < 5_000) run.seen[i] = run.startedAt + 5_000
    const { latencyMs, records, offered, achieved, lost } = summarise(run, 0, 10_000)
    assert.deepEqual([records, offered, achieved, lost], [10_000, 1_000, 1_000, 0])
    assert.ok(Math.abs(latencyMs.p50 - 0.5) < 1e-6)
    assert.ok(Math.abs(latencyMs.p99 - 900) < 1e-6, 'a tenth of the records waited, evenly from 1 to 1,000 ms')
    assert.ok(Math.abs(latencyMs.max - 1_000) < 1e-6)
  })

  it('counts the records that were due in its time, and the outputs that were seen in it', () => {
    const run = served(evenly(100, 4), 20)
    const { records, offered, achieved } = summarise(run, 1_000, 3_000)
    assert.deepEqual([records, offered, achieved], [200, 100, 50])
  })

  it('takes a lost record for one that took for ever', () => {
    const run = served(evenly(100, 1), 1)
    run.seen[10] = Number.NaN
    run.seen[90] = Number.NaN
    const { lost, latencyMs } = summarise(run, 0, 1_000)
    assert.equal(lost, 2)
    assert.equal(latencyMs.p99, Number.POSITIVE_INFINITY)
    assert.ok(latencyMs.p90 < 2)
  })
})

describe('the course of an overload', () => {
  // 100/s for 2 s, 200/s for 4 s, 40/s for 10 s, by a server that does 125/s: 75/s remain, and 300 go at 85/s.
  const times = [...evenly(100, 2), ...evenly(200, 4, 2_000), ...evenly(40, 10, 6_000)]
  const run = served(times, 8)
  const course = courseOf(run, 0)

  it('shows what came, what went and what was left, by quarters of a second', () => {
    const at = (seconds: number) => course.find(interval => interval.at === seconds)!
    assert.deepEqual([at(1).rateIn, at(3).rateIn, at(8).rateIn], [100, 200, 40])
    assert.ok(Math.abs(at(4).rateOut - 125) <= 4)
    assert.ok(Math.abs(at(6).lag - 300) <= 2, `${at(6).lag} are left`)
    assert.ok(Math.abs(at(6).p99 - 2_400) < 30, 'whoever comes last waits for 300 others')
    assert.equal(
      course.reduce((sum, { rateIn }) => sum + rateIn / 4, 0),
      times.length,
    )
    assert.equal(
      course.reduce((sum, { rateOut }) => sum + rateOut / 4, 0),
      times.length,
    )
    assert.equal(course.at(-1)!.lag, 0)
  })

  it('tells when the lag is gone', () => {
    const seconds = secondsToRecover(course, 2, 6)!
    assert.ok(seconds >= 300 / 85 && seconds <= 300 / 85 + 0.25, `after ${seconds} s`)
  })

  it('takes for gone what is no more than there was before', () => {
    const delayed = courseOf(served(times, 8, 100), 0)
    assert.equal(delayed.find(({ at }) => at === 1)!.lag, 10)
    assert.ok(
      delayed.every(({ at, lag }) => at < 2 || at > 15.5 || lag > 3),
      'the lag is never zero',
    )
    const seconds = secondsToRecover(delayed, 2, 6)!
    assert.ok(seconds >= 3 && seconds <= 4, `after ${seconds} s`)
  })

  it('does not tell when it never is', () => {
    const slow = served([...evenly(100, 2), ...evenly(200, 4, 2_000), ...evenly(120, 2, 6_000)], 8)
    assert.equal(secondsToRecover(courseOf(slow, 0).slice(0, 32), 2, 6), undefined)
  })

  it('begins with the lag that the warm-up left', () => {
    const late = courseOf(run, 4_000)
    assert.equal(late[0]!.at, 0.25)
    assert.deepEqual(
      late.map(({ lag }) => lag),
      course.slice(16).map(({ lag }) => lag),
    )
  })

  it('goes on until the last output was seen, and keeps lost records in the lag', () => {
    const held = served(evenly(10, 1), 500)
    held.seen[3] = Number.NaN
    const course = courseOf(held, 0)
    assert.equal(course.at(-1)!.at, 5.25)
    assert.equal(course.at(-1)!.lag, 1)
  })
})
