import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MicroBatch } from '../../src/pipeline/micro-batch.ts'
import { type RowSource, RowSources } from '../../src/pipeline/row-sources.ts'
import { FakeClock } from './fake-clock.ts'
import { FakePool } from './fake-pool.ts'

/** A source with so many rows, one of which fills a batch. */
const sourceOf = (rows: number): RowSource & { backlog: number } => ({
  backlog: rows,
  pack(batch) {
    batch.rows++
    return --this.backlog > 0
  },
})

test('a batch knows since when its oldest record may have waited', async () => {
  const clock = new FakeClock()
  const sources = new RowSources(clock)
  const packed = () => {
    const batch = new MicroBatch(new FakePool().acquire()!, clock.now(), () => {})
    sources.pack(batch)
    return [batch.arrivedAt, batch.openedAt]
  }
  const source = sourceOf(2)
  sources.offer(source)
  await clock.advance(5)
  assert.deepEqual(packed(), [0, 5])
  await clock.advance(2)
  assert.deepEqual(packed(), [0, 7], 'it may have come with the first')
  assert.equal(sources.waiting, false)
  await clock.advance(2)
  source.backlog = 1
  sources.offer(source)
  assert.deepEqual(packed(), [9, 9])
})

test('the backlog is that of all sources, with a turn or without, until they are withdrawn', () => {
  const sources = new RowSources(new FakeClock())
  const [a, b] = [sourceOf(1), sourceOf(7)]
  sources.offer(a)
  sources.offer(b)
  sources.pack(new MicroBatch(new FakePool().acquire()!, 0, () => {}))
  a.backlog = 3 // in the log
  assert.equal(sources.backlog, 10)
  sources.withdraw(b)
  assert.deepEqual([sources.backlog, sources.waiting], [3, false])
})
