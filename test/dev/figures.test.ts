import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { busiestSecond, longestPause, percentile } from '../../dev/demo/figures.ts'

describe('percentile', () => {
  it('is the nearest rank', () => {
    const values = Array.from({ length: 200 }, (_, i) => 200 - i)
    assert.equal(percentile(values, 0.5), 100)
    assert.equal(percentile(values, 0.99), 198)
    assert.equal(percentile(values, 1), 200)
    assert.equal(percentile([7], 0.5), 7)
  })

  it('is undefined of nothing', () => assert.equal(percentile([], 0.5), undefined))
})

describe('the busiest second', () => {
  const arrivals = (...times: number[]) => times.map(arrivedAt => ({ timestamp: 0, arrivedAt }))

  it('is found across the borders of clock seconds, in any order of arrivals', () => {
    assert.equal(busiestSecond(arrivals(3_500, 900, 1_100, 1_700, 1_899, 1_900)), 4)
  })

  it('has no answers if there are none', () => assert.equal(busiestSecond([]), 0))
})

describe('the pause after a crash', () => {
  const answer = (partition: number, timestamp: number, arrivedAt: number) => ({ partition, timestamp, arrivedAt })

  it('ends with the first answer to a record younger than the crash, on the slowest partition', () => {
    const answers = [
      answer(0, 1_010, 1_020), // not of the dead replica
      answer(1, 990, 1_005), // committed before the crash, read after it
      answer(1, 995, 3_000), // came before the crash, answered after it
      answer(1, 1_010, 3_100),
      answer(1, 1_020, 3_200),
      answer(3, 1_010, 2_900),
    ]
    assert.equal(longestPause(answers, [1, 3], 1_000), 2_100)
  })

  it('is unknown while one of the partitions stands still', () => {
    assert.equal(longestPause([answer(1, 1_010, 3_000)], [1, 3], 1_000), undefined)
  })
})
