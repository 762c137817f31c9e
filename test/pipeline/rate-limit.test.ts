import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RateLimit } from '../../src/pipeline/rate-limit.ts'
import { FakeClock } from './fake-clock.ts'

test('what a fetch took beyond the rate is paid back before the next one, and somebody is told when', async () => {
  const clock = new FakeClock()
  let opened = 0
  const rate = new RateLimit(1_000, clock, () => opened++)
  assert.equal(rate.open, true)
  rate.take(500)
  assert.equal(rate.open, false)
  assert.equal(rate.open, false, 'asked twice, told once')
  await clock.advance(499)
  assert.deepEqual([rate.open, opened], [false, 0])
  await clock.advance(1)
  assert.deepEqual([rate.open, opened], [true, 1])
})

test('what was not used is lost, but for a tenth of a second', async () => {
  const clock = new FakeClock()
  const rate = new RateLimit(1_000, clock, () => {})
  await clock.advance(60_000)
  rate.take(100)
  assert.equal(rate.open, true)
  rate.take(1)
  assert.equal(rate.open, false)
  rate.close()
})

test('a fetch is asked for a burst at most, so that it is paid back soon', () => {
  const rate = new RateLimit(1_005, new FakeClock(), () => {})
  assert.deepEqual(rate.within({ records: 100_000, bytes: 5_000 }), { records: 101, bytes: 5_000 })
  assert.deepEqual(rate.within({ records: 7, bytes: 5_000 }), { records: 7, bytes: 5_000 })
})
