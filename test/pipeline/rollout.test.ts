import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hashOfPlace, takesCanary } from '../../src/core/rollout.ts'
import { settle } from './fake-clock.ts'
import { type FakeDecoder, range } from './fake-codec.ts'
import { LentBatch } from './lent-batch.ts'
import { Bench, servingBy, TaskHarness } from './task-harness.ts'
import { answers, finish, versionOf } from './versions.ts'

test('a task goes over to another version between two transactions, and says from which offset on', async () => {
  const harness = await new TaskHarness().serve()
  const { pool, version } = versionOf('4', harness)
  await harness.fetch(2)
  harness.serving = servingBy(version)
  harness.task.switched()
  await harness.fetch(4)
  pool.runs[0]!.succeed() // overtakes
  await settle()
  assert.deepEqual(answers(harness), [], 'the order of the input is kept')
  await harness.endRunWith(0)
  assert.deepEqual(answers(harness), ['0 by 3', '1 by 3', '2 by 4', '3 by 4'])
  assert.equal(harness.committer.underWay?.nextOffset, 2, 'the first transaction has what the first version says')
  await finish(harness, pool)
  assert.deepEqual(
    harness.committer.committed.map(({ nextOffset, records }) => [nextOffset, records.length]),
    [
      [2, 2],
      [4, 2],
    ],
  )
  assert.deepEqual(harness.committer.output.served, [
    { offset: 0, version: '3' },
    { offset: 2, version: '4' },
  ])
})

test('what waits for a switch does not wait for the commit interval', async () => {
  const harness = await new TaskHarness({ commitIntervalMs: 60_000 }).serve()
  const { pool, version } = versionOf('4', harness)
  await harness.fetch(1)
  await harness.endRunWith(0)
  harness.committer.underWay!.succeed()
  await settle()
  await harness.fetch(2)
  await harness.endRunWith(1)
  assert.deepEqual(answers(harness), ['0 by 3', '1 by 3'])
  assert.equal(harness.committer.committed.length, 1, 'the next transaction is not due')
  harness.serving = servingBy(version)
  harness.task.switched()
  await harness.fetch(3)
  pool.runs[0]!.succeed()
  await settle()
  assert.equal(harness.committer.underWay?.nextOffset, 2, 'the former version has its last transaction at once')
  await finish(harness, pool)
  assert.deepEqual(answers(harness), ['0 by 3', '1 by 3', '2 by 4'])
})

test('a version is used until the last record that waits for it is out', async () => {
  const harness = await new TaskHarness().serve()
  const before = harness.version
  const { pool, version } = versionOf('4', harness)
  await harness.fetch(2)
  harness.serving = servingBy(version)
  harness.task.switched()
  assert.equal(harness.task.uses(before), true)
  await harness.fetch(3)
  assert.equal(harness.task.uses(version), true)
  await finish(harness, pool)
  assert.equal(harness.task.uses(before), false)
  assert.equal(harness.task.uses(version), false)
})

test('records that wait for a slot of the former version are answered by the next one', async () => {
  const harness = await new TaskHarness({ bench: new Bench({ sessions: 1, slots: 1, capacity: 2 }) }).serve()
  const { pool, version } = versionOf('4', harness)
  await harness.fetch(6)
  harness.serving = servingBy(version)
  harness.task.switched()
  await settle()
  await finish(harness, pool)
  assert.deepEqual(answers(harness), ['0 by 3', '1 by 3', '2 by 4', '3 by 4', '4 by 4', '5 by 4'])
})

test('a switch back before any record came leaves no trace', async () => {
  const harness = await new TaskHarness().serve()
  const { pool, version } = versionOf('4', harness)
  const first = harness.serving
  await harness.fetch(1)
  harness.serving = servingBy(version)
  harness.task.switched()
  harness.serving = first
  harness.task.switched()
  await harness.fetch(2)
  await finish(harness, pool)
  assert.deepEqual(harness.committer.output.served, [{ offset: 0, version: '3' }])
})

test('a canary answers the records that are its own, and the order of the input is kept', async () => {
  const harness = await new TaskHarness({ bench: new Bench({ capacity: 64 }) }).serve()
  const { pool, version } = versionOf('4', harness, { capacity: 64 })
  harness.serving = servingBy(harness.version, { canary: { version, percent: 40 } })
  await harness.fetch(60)
  await finish(harness, pool)
  const expected = range(0, 60).map(offset => {
    const canary = takesCanary(hashOfPlace(0, offset), 40)
    return `${offset} by ${canary ? '4' : '3'}`
  })
  assert.ok(expected.some(text => text.endsWith('4')) && expected.some(text => text.endsWith('3')))
  assert.deepEqual(answers(harness), expected)
  assert.deepEqual(
    harness.committer.output.predicted.filter(({ arm }) => arm === 'canary').map(({ version: by }) => by),
    expected.filter(text => text.endsWith('4')).map(() => '4'),
  )
})

test('a shadow predicts every record too, in order, and nothing waits for it', async () => {
  const harness = await new TaskHarness().serve()
  const { pool, version } = versionOf('4', harness)
  harness.serving = servingBy(harness.version, { shadows: [version] })
  await harness.fetch(3)
  await harness.endRunWith(0)
  await harness.endCommit()
  assert.equal(harness.committer.start, 3, 'committed while the shadow still runs')
  pool.runs[0]!.succeed()
  await settle()
  assert.equal(harness.committer.underWay?.nextOffset, 3, 'its predictions go out by themselves')
  await harness.endCommit()
  const shadowed = harness.committer.output.predicted.filter(({ arm }) => arm === 'shadow')
  assert.deepEqual(
    shadowed.map(({ offset, version: by }) => [offset, by]),
    [
      [0, '4'],
      [1, '4'],
      [2, '4'],
    ],
  )
})

test('what a shadow cannot decode or refuses is counted, and no dead letter', async () => {
  const harness = await new TaskHarness().serve()
  const { pool, version } = versionOf('4', harness)
  ;(version.decoder as FakeDecoder).decode = () => ({ code: 'invalid-avro', message: 'not for this version' })
  harness.serving = servingBy(harness.version, { shadows: [version] })
  await harness.fetch(2)
  await finish(harness, pool)
  assert.deepEqual(answers(harness), ['0 by 3', '1 by 3'])
  assert.deepEqual(
    harness.telemetry.events.filter(event => event.startsWith('shadow')),
    ['shadow 4 dropped 1: invalid-avro', 'shadow 4 dropped 1: invalid-avro'],
  )
  assert.equal(harness.committer.records.length, 2)
})

test('memory that was lent is kept for a shadow until it is done, and no longer', async () => {
  const harness = await new TaskHarness().serve()
  const { pool, version } = versionOf('4', harness)
  harness.serving = servingBy(harness.version, { shadows: [version] })
  const lent = new LentBatch([0, 1])
  harness.task.accept({ batches: [lent.batch], nextOffset: 2, endOffset: 2 })
  await settle()
  await harness.endRunWith(0)
  await harness.endCommit()
  assert.equal(lent.letGo, 0, 'the shadow still needs it')
  await finish(harness, pool)
  assert.equal(lent.letGo, 1)
})

test('a shadow that is ended lets go of what it had, and of its version', async () => {
  const harness = await new TaskHarness().serve()
  const { pool, version } = versionOf('4', harness)
  const before = harness.serving
  harness.serving = servingBy(harness.version, { shadows: [version] })
  const lent = new LentBatch([0, 1])
  harness.task.accept({ batches: [lent.batch], nextOffset: 2, endOffset: 2 })
  await settle()
  assert.equal(harness.task.uses(version), true)
  harness.serving = before
  harness.task.switched()
  assert.equal(harness.task.uses(version), false)
  await finish(harness, pool)
  assert.equal(lent.letGo, 1)
  assert.equal(pool.freeSlots, pool.slots.length)
  assert.deepEqual(answers(harness), ['0 by 3', '1 by 3'])
})
