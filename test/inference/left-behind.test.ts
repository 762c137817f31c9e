import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { silentLog } from '../../src/core/log.ts'
import { LeftBehind, MOST_HUNG } from '../../src/inference/left-behind.ts'
import { TensorSlots } from '../../src/inference/slots.ts'
import type { Thread } from '../../src/inference/thread.ts'
import { ManualTimers, recordingTelemetry, rowSums } from './fixtures.ts'

function keep() {
  const clock = new ManualTimers()
  const { telemetry, events } = recordingTelemetry()
  const slots = new TensorSlots(rowSums().spec, 1, 1)
  let tooMany = 0
  const onTooMany = () => tooMany++
  const leftBehind = new LeftBehind({ slots, log: silentLog, clock, telemetry, onTooMany })
  return { leftBehind, slots, clock, events, tooMany: () => tooMany }
}

function fakeThread() {
  const { promise: exited, resolve: end } = Promise.withResolvers<void>()
  const fake = { exited, left: false, leaveBehind: () => Object.assign(fake, { left: true }) }
  return { thread: fake as unknown as Thread, fake, end }
}

const turn = () => new Promise(resolve => setImmediate(resolve))

describe('threads that were asked to end', () => {
  it('do not count, however many they are', async () => {
    const { leftBehind, clock, events, tooMany } = keep()
    const threads = Array.from({ length: 2 * MOST_HUNG }, fakeThread)
    for (const { thread } of threads) leftBehind.addDismissed(thread)
    assert.equal(leftBehind.hung.count, 0)
    for (const { end } of threads) end()
    await turn()
    assert.deepEqual([clock.pending, events, tooMany()], [0, [], 0])
  })

  it('count once they have not done so for ten seconds, and hold nothing up any more', async () => {
    const { leftBehind, clock, events } = keep()
    const { thread, fake, end } = fakeThread()
    leftBehind.addDismissed(thread)
    assert.equal(await clock.fire(10_000), 10_000)
    assert.ok(fake.left)
    assert.equal(leftBehind.hung.count, 1)
    end()
    await turn()
    assert.deepEqual(events, ['left behind 1', 'left behind 0'])
  })

  it('are forgotten when the pool is closed', () => {
    const { leftBehind, clock } = keep()
    leftBehind.addDismissed(fakeThread().thread)
    leftBehind.close()
    assert.equal(clock.pending, 0)
  })
})

describe('threads that hang', () => {
  it('are too many when as many do as a process bears; in runs, that is left to whoever runs the rows', () => {
    const { leftBehind, slots, tooMany } = keep()
    const slot = slots.acquire()!
    for (let i = 1; i < MOST_HUNG; i++) leftBehind.addHung(fakeThread().thread)
    assert.equal(tooMany(), 0)
    leftBehind.addHung(fakeThread().thread, slot)
    assert.deepEqual([leftBehind.hung.count, tooMany()], [MOST_HUNG, 0])
    leftBehind.addHung(fakeThread().thread)
    assert.equal(tooMany(), 1)
  })
})
