import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JointStart } from '../../src/replica/joint-start.ts'
import { FakeClock } from '../pipeline/fake-clock.ts'

function rig(threads: number) {
  const clock = new FakeClock()
  let begun = 0
  const start = new JointStart({ threads, clock, onBegin: () => begun++ })
  return { clock, start, begun: () => begun }
}

test('threads begin once all of them are in one generation', async () => {
  const { clock, start, begun } = rig(3)
  start.joined(1, 1)
  start.joined(2, 2)
  start.joined(3, 3)
  assert.equal(begun(), 0, 'the first is about to lose what it was given')
  start.joined(2, 3)
  assert.equal(begun(), 0)
  start.joined(1, 3)
  assert.equal(begun(), 1)
  start.joined(1, 4)
  await clock.advance(60_000)
  assert.equal(begun(), 1)
})

test('a thread that cannot join holds up the others for a while only', async () => {
  const { clock, start, begun } = rig(2)
  await clock.advance(60_000)
  start.joined(1, 7)
  await clock.advance(4_999)
  assert.equal(begun(), 0)
  await clock.advance(1)
  assert.equal(begun(), 1)
  start.joined(2, 8)
  assert.equal(begun(), 1)
})
