import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { Watch } from '../../faults/watch.ts'
import type { RecordBatch } from '../../src/core/record-batch.ts'
import { batchOf } from '../audit/batches.ts'

/** An answer to a record that was published at `timestamp`. */
function answer(partition: number, timestamp: number): RecordBatch {
  return { ...batchOf('predictions', partition, [{ offset: 0 }]), timestamps: Float64Array.of(timestamp) }
}

test('a silence counts from the fault to the first answer after it, in the partition that was silent longest', t => {
  t.after(() => mock.timers.reset())
  mock.timers.enable({ apis: ['Date'], now: 10_000 })
  const watch = new Watch(2)
  const at = (now: number, partition: number) => {
    mock.timers.setTime(now)
    watch.saw(answer(partition, now))
  }
  at(10_050, 0)
  at(10_050, 1)
  watch.reset()
  at(11_050, 0)
  at(13_050, 1)
  assert.equal(watch.longestSilence(10_050), 3_000)
  assert.equal(watch.longestSilence(12_550), 500, 'what was silent before the fault counts from the fault')
  watch.reset()
  assert.equal(watch.longestSilence(0), 0)
})

test('an old answer that is seen late ends no silence', t => {
  t.after(() => mock.timers.reset())
  mock.timers.enable({ apis: ['Date'], now: 10_000 })
  const watch = new Watch(1)
  watch.saw(answer(0, 9_900))
  mock.timers.setTime(12_000)
  watch.saw(answer(0, 9_900))
  mock.timers.setTime(13_000)
  watch.saw(answer(0, 12_900))
  assert.equal(watch.longestSilence(0), 3_000)
})

test('all have answered when the last partition has', async () => {
  const watch = new Watch(2)
  const answered = watch.answered(5_000, 10_000)
  watch.saw(answer(0, 5_001))
  watch.saw(answer(1, 5_000))
  assert.equal(await Promise.race([answered.then(() => 'yes'), Promise.resolve('not yet')]), 'not yet')
  watch.saw(answer(1, 5_002))
  await answered
  await assert.rejects(watch.answered(5_001, 1), /by partition: 0: 0 ms, 1: 1 ms/)
})
