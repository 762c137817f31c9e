import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimClock } from './sim-clock.ts'
import { SimProcess } from './sim-process.ts'

const never = () => false

test('alarms ring in the order of their time, those of one instant as they were set', async () => {
  const clock = new SimClock()
  const rung: string[] = []
  const ring = (name: string) => () => rung.push(`${name} at ${clock.now()}`)
  for (const ms of [30, 10, 20, 10, 50]) clock.after(ms, ring(`${ms}`))
  clock.after(20, ring('cancelled')).cancel()
  clock.after(10, () => clock.after(0, ring('nested')))
  await clock.advance(40, never)
  assert.deepEqual(rung, ['10 at 10', '10 at 10', 'nested at 10', '20 at 20', '30 at 30'])
  assert.equal(clock.now(), 40)
})

test('what an alarm sets off happens before the next one rings', async () => {
  const clock = new SimClock()
  const seen: number[] = []
  for (const ms of [1, 2, 3])
    void clock
      .sleep(ms)
      .then(() => Promise.all([]))
      .then(() => seen.push(clock.now()))
  await clock.advance(2, () => seen.includes(2))
  assert.deepEqual(seen, [1, 2])
})

test('a paused process misses nothing, and a dead one hears nothing', async () => {
  const time = new SimClock()
  const heard: string[] = []
  const process = new SimProcess(time)
  process.clock.after(10, () => heard.push('timer'))
  process.clock.after(20, () => heard.push('cancelled')).cancel()
  process.pause()
  process.post(() => heard.push('answer'))
  await time.advance(100, never)
  assert.equal(heard.length, 0)
  process.resume(true)
  await time.advance(0, never)
  assert.deepEqual(heard, ['timer', 'answer'])

  process.clock.after(10, () => heard.push('timer of the dead'))
  process.kill()
  process.post(() => heard.push('answer to the dead'))
  await time.advance(100, never)
  assert.equal(heard.length, 2)
})

test('a timer that is cancelled while it is held does not ring', async () => {
  const time = new SimClock()
  const heard: string[] = []
  const process = new SimProcess(time)
  const timer = process.clock.after(10, () => heard.push('timer'))
  process.pause()
  await time.advance(20, never)
  process.post(() => timer.cancel())
  process.resume(false)
  await time.advance(0, never)
  assert.deepEqual(heard, [])
})
