import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settle } from './fake-clock.ts'
import { batchOf, fetched } from './fake-codec.ts'
import { Bench, TaskHarness } from './task-harness.ts'

test('the backlog of a task is what it knows of and has not decoded, in the log, too', async () => {
  const bench = new Bench({ sessions: 1, slots: 1, capacity: 4 })
  const harness = await new TaskHarness({ bench }).serve()
  const { task } = harness
  assert.equal(task.backlog, 0)
  task.accept({ ...fetched([batchOf([0, 1, 2, 3, 4, 5])], 6), endOffset: 20 })
  assert.equal(task.backlog, 20)
  await settle()
  assert.equal(task.backlog, 16, 'four were decoded')
  await harness.finish()
  assert.equal(task.backlog, 14, 'the rest is in the log')
  task.abort()
  await settle()
  assert.equal(task.backlog, 0)
})

test('records that wait for a schema are no backlog', async () => {
  const harness = await new TaskHarness().serve()
  harness.decoder.find = () => new Promise(() => {})
  await harness.fetch(2, () => ({ needs: 9 }))
  assert.equal(harness.task.backlog, 0)
  harness.task.abort()
})

test('a task says how long its results waited for their transaction', async () => {
  const bench = new Bench()
  const delivered: number[] = []
  bench.batcher.delivered = ms => delivered.push(ms)
  const harness = await new TaskHarness({ bench }).serve()
  await harness.fetch(1)
  await bench.clock.advance(30)
  await harness.endRunWith(0)
  await bench.clock.advance(5)
  await harness.fetch(2)
  await harness.endRunWith(1) // while the first transaction is under way
  await bench.clock.advance(3)
  await harness.fetch(3)
  await harness.endRunWith(2)
  await bench.clock.advance(4)
  await harness.endCommit()
  await bench.clock.advance(4)
  await harness.endCommit()
  assert.deepEqual(delivered, [12, 11], 'the second of its oldest result')
})
