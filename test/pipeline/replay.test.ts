import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import { RateLimit } from '../../src/pipeline/rate-limit.ts'
import { FakeClock, settle } from './fake-clock.ts'
import { batchOf, fetched, range } from './fake-codec.ts'
import { Bench, servingBy, TaskHarness } from './task-harness.ts'
import { answers, finish, versionOf } from './versions.ts'

/** A task that is to read offsets below `end`. */
async function replaying(end: number, start = 0): Promise<TaskHarness> {
  const harness = new TaskHarness({ start })
  harness.committer.end = end
  return harness.serve()
}

test('a replay ends before its last offset, in the middle of a batch, once all of it is committed', async () => {
  const harness = await replaying(5)
  await harness.fetch(8)
  assert.equal(harness.task.position, undefined, 'nothing more is wanted')
  assert.equal(harness.end, undefined)
  await harness.finish()
  assert.deepEqual(
    harness.committer.records.map(({ offset }) => offset),
    [0, 1, 2, 3, 4],
  )
  assert.equal(harness.committer.start, 5)
  assert.deepEqual(harness.end, { how: 'complete' })
  assert.equal(harness.task.state, 'COMPLETE')
})

test('one that has reached its end before is complete at once', async () => {
  const harness = await replaying(5, 5)
  assert.deepEqual(harness.end, { how: 'complete' })
  assert.deepEqual(harness.committer.committed, [])
})

test('control records at the end are passed over, and not beyond it', async () => {
  const harness = await replaying(4)
  await harness.fetchOffsets([0, 1], 7)
  await harness.finish()
  assert.deepEqual([harness.committer.start, harness.end], [4, { how: 'complete' }])
})

test('batches that lie beyond the end are let go of', async () => {
  const harness = await replaying(3)
  let held = 1
  const lease = { hold: () => void held++, letGo: () => void held-- }
  const batches = [batchOf(range(0, 3)), { ...batchOf(range(3, 6)), lease }]
  harness.task.accept({ ...fetched([], 6), batches })
  await settle()
  assert.equal(held, 0)
  await harness.finish()
  assert.equal(harness.committer.start, 3)
})

test('a failure before the end begins anew, and nothing is left out', async () => {
  const harness = await replaying(5)
  await harness.fetch(8)
  harness.pool.runs[0]!.succeed()
  await settle()
  harness.committer.underWay!.fail(new SluiceError('transaction-unknown', 'no answer'))
  await harness.waitForBackoff()
  assert.equal(harness.task.position, 0)
  await harness.fetch(8)
  await harness.finish()
  assert.deepEqual(
    harness.committer.records.map(({ offset }) => offset),
    [0, 1, 2, 3, 4],
  )
})

test('one that is aborted after its last fetch is closed, not complete: what was in flight is not committed', async () => {
  const harness = await replaying(5)
  await harness.fetch(5)
  harness.task.abort()
  await settle()
  assert.deepEqual(harness.end, { how: 'closed' })
  assert.equal(harness.committer.start, 0)
})

test('while the rate is used up nothing more is asked for, and what was asked for is taken', async () => {
  let opened = 0
  const clock = new FakeClock()
  const rate = new RateLimit(100, clock, () => opened++)
  const harness = await new TaskHarness({ rate, bench: new Bench({ clock }) }).serve()
  assert.equal(harness.task.held, false)
  assert.equal(harness.task.room?.records, 10, 'of a tenth of a second')
  rate.take(50)
  assert.equal(harness.task.held, true)
  assert.equal(harness.task.position, 0, 'an answer that is under way still fits')
  await harness.fetch(1)
  assert.equal(harness.task.position, 1)
  await clock.advance(510)
  assert.deepEqual([harness.task.held, opened], [false, 1])
})

test('one that is drained before its end is closed, not complete', async () => {
  const harness = await replaying(5)
  await harness.fetch(2)
  harness.task.drain()
  await harness.finish()
  assert.deepEqual(harness.end, { how: 'closed' })
})

test('each record is answered by the version that answered it then, and no transaction has two', async () => {
  const harness = new TaskHarness({
    serving: offset => (offset < 3 ? first : second),
  })
  const { pool, version } = versionOf('4', harness)
  const first = servingBy(harness.version, { until: 3 })
  const second = servingBy(version)
  await harness.serve()
  await harness.fetch(6)
  await finish(harness, pool)
  assert.deepEqual(answers(harness), ['0 by 3', '1 by 3', '2 by 3', '3 by 4', '4 by 4', '5 by 4'])
  assert.deepEqual(
    harness.committer.committed.map(({ nextOffset }) => nextOffset),
    [3, 6],
  )
})

test('a prediction that is to be compared waits until it is known what was said before', async () => {
  let more: () => void = () => {}
  let known = 0
  const compared: number[] = []
  const begun: number[] = []
  const comparison = {
    begin: (offset: number, onMore: () => void) => {
      begun.push(offset)
      more = onMore
    },
    isReady: (_from: number, to: number) => to <= known,
    compare: (offset: number) => {
      compared.push(offset)
      return undefined
    },
    close: () => void begun.push(-1),
  }
  const harness = await new TaskHarness({ comparison }).serve()
  await harness.fetch(2)
  await harness.finish()
  assert.deepEqual(harness.committer.records, [])
  known = 2
  more()
  await settle()
  await harness.finish()
  assert.deepEqual(compared, [0, 1])
  assert.equal(harness.committer.start, 2)
  harness.task.drain()
  await settle()
  assert.deepEqual(begun, [0, -1])
})
