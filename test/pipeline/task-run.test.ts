import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryOf, offsetOf, type RecordBatch, valueBytes } from '../../src/core/record-batch.ts'
import { MicroBatch } from '../../src/pipeline/micro-batch.ts'
import { Part, TaskRun } from '../../src/pipeline/task-run.ts'
import { batchOf, fetched } from './fake-codec.ts'
import { FakePool } from './fake-pool.ts'
import { LentBatch, timesLetGo } from './lent-batch.ts'
import { commitLoop, TaskHarness } from './task-harness.ts'

const SERVING = new TaskHarness().serving

const newRun = (start = 0, onSettled = () => {}) => new TaskRun(start, commitLoop(start), onSettled)

/** Takes records up to index `to` of the batch at the head into a part, as decoding does. */
function decode(run: TaskRun, to: number): Part {
  const queued = run.undecoded[0]!
  const part = new Part(run, queued, 0, SERVING, 'stable')
  queued.cursor = to
  part.to = to
  if (to === queued.batch.count) run.undecoded.shift()
  run.parts.push(part)
  return part
}

test('a fetch moves the position past all that it brought, and counts its records as in flight', () => {
  const run = newRun(5)
  assert.equal(run.queue(fetched([batchOf([5, 6]), batchOf([9])], 12)), 3)
  assert.equal(run.position, 12)
  assert.equal(run.commits.holding.records, 3)
  assert.equal(run.commits.settledOffset, 5)
  assert.equal(run.commits.dirty, false)
})

test('the end of a part is behind its last record; that of a whole batch where the next begins', () => {
  const run = newRun()
  run.queue(fetched([batchOf([0, 3, 4]), batchOf([7])], 9))
  const [first, second, third] = [decode(run, 2), decode(run, 3), decode(run, 1)]
  assert.deepEqual([first.endOffset, second.endOffset, third.endOffset], [4, 5, 9])
  assert.deepEqual([first.records, second.records, third.records], [2, 1, 1])
})

test('offsets without records count with the record before them, wherever that one is', () => {
  const queued = newRun()
  queued.queue(fetched([batchOf([0])], 1))
  queued.queue(fetched([], 4))
  assert.equal(decode(queued, 1).endOffset, 4)

  const decoded = newRun()
  decoded.queue(fetched([batchOf([0])], 1))
  const part = decode(decoded, 1)
  decoded.queue(fetched([], 4))
  assert.equal(part.endOffset, 4)
  assert.equal(decoded.commits.settledOffset, 0)

  const empty = newRun()
  empty.queue(fetched([], 4))
  assert.equal(empty.commits.settledOffset, 4)
  assert.equal(empty.commits.dirty, true)
})

test('a settled part tells the run while it lasts, and lets go of its micro-batch once it is over', () => {
  const pool = new FakePool({ slots: 1 })
  let told = 0
  const run = newRun(0, () => told++)
  run.queue(fetched([batchOf([0, 1])], 2))
  const microBatch = new MicroBatch(pool.acquire()!, 0, slot => pool.release(slot))
  const [early, late] = [decode(run, 1), decode(run, 2)]
  for (const part of [early, late]) {
    part.microBatch = microBatch
    microBatch.hold(part)
  }
  early.settled()
  assert.equal(told, 1)
  run.abandon()
  assert.equal(pool.freeSlots, 0, 'the late part still runs')
  late.settled()
  assert.equal(told, 1)
  assert.equal(pool.freeSlots, 1)
})

test('an abandoned run holds nothing', () => {
  const run = newRun()
  run.queue(fetched([batchOf([0, 1])], 2))
  decode(run, 1)
  run.abandon()
  assert.deepEqual([run.undecoded.length, run.parts.length, run.over], [0, 0, true])
  assert.deepEqual([run.commits.holding.records, run.commits.holding.bytes], [0, 0])
})

/** What the records of a batch say, and where they are. */
const contentOf = (batch: RecordBatch) =>
  Array.from({ length: batch.count }, (_, i) => [
    offsetOf(batch, i),
    batch.timestamps[i],
    valueBytes(batch, i)!.toString(),
  ])
const record = (offset: number) => [offset, offset * 10, `${offset}`]

test('a run that waits for a schema holds nothing that is lent: it has copies of what is to be decoded', () => {
  const run = newRun()
  const lent = [new LentBatch([0, 1]), new LentBatch([2, 5, 6]), new LentBatch([7])]
  run.queue(
    fetched(
      lent.map(({ batch }) => batch),
      8,
    ),
  )
  decode(run, 2)
  const half = decode(run, 1)
  run.block(9)
  assert.deepEqual(timesLetGo(lent), [0, 1, 1], 'what is decoded will soon be out')
  assert.deepEqual(
    run.undecoded.map(({ batch }) => contentOf(batch)),
    [[2, 5, 6].map(record), [record(7)]],
  )
  assert.deepEqual(
    run.undecoded.map(({ batch, cursor }) => [batch.lease, cursor]),
    [
      [undefined, 1],
      [undefined, 0],
    ],
  )
  assert.equal(half.queued.batch, run.undecoded[0]!.batch, 'the part of it that is under way reads the copy, too')
  assert.equal(half.endOffset, 3)
  assert.equal(memoryOf(half.queued.batch), memoryOf(lent[1]!.batch), 'what was taken is what will be given back')
})

test('what comes while a run waits for a schema is copied at once; afterwards nothing is', () => {
  const run = newRun()
  const waiting = [new LentBatch([0]), new LentBatch([1, 2])]
  run.block(9)
  run.queue(
    fetched(
      waiting.map(({ batch }) => batch),
      3,
    ),
  )
  assert.deepEqual(timesLetGo(waiting), [1, 1])
  assert.deepEqual(
    run.undecoded.map(({ batch }) => contentOf(batch)),
    [[record(0)], [1, 2].map(record)],
  )
  run.block(10)
  run.unblock()
  const later = new LentBatch([3])
  run.queue(fetched([later.batch], 4))
  assert.equal(run.undecoded.at(-1)!.batch, later.batch)
  assert.deepEqual(timesLetGo([...waiting, later]), [1, 1, 0])
})

test('an abandoned run lets go of nothing: what it read may still be read by somebody', () => {
  const run = newRun()
  const lent = [new LentBatch([0, 1]), new LentBatch([2, 3]), new LentBatch([4])]
  run.queue(
    fetched(
      lent.map(({ batch }) => batch),
      5,
    ),
  )
  const parts = [decode(run, 2), decode(run, 1)]
  run.abandon()
  for (const part of parts) part.settled()
  assert.deepEqual(timesLetGo(lent), [0, 0, 0])
})
