import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BatchField } from '../../src/kafka/batch-layout.ts'
import { PartitionLog } from '../../src/kafka/partition-log.ts'
import { ID } from './java-messages.ts'
import { marker, stockBatch } from './stock.ts'

const RECORD = { timestamp: 0, key: null, value: Buffer.from('v'), headers: {} }

/** A batch of `count` records that a leader of this epoch wrote. */
async function batch(epoch: number, firstOffset: number, count: number): Promise<Buffer> {
  const bytes = await stockBatch(Array(count).fill(RECORD), { firstOffset })
  bytes.writeInt32BE(epoch, BatchField.leaderEpoch)
  return bytes
}

test('the epoch of an offset is that of the batch before it', async () => {
  const log = new PartitionLog(ID, 10, 10, 3)
  assert.equal(log.epochBefore(10), 3)
  log.fetched(Buffer.concat([await batch(3, 10, 2), await batch(5, 12, 3), await batch(5, 15, 1)]), 16, 20)
  log.fetched(await batch(9, 20, 1), 21, 21)
  assert.deepEqual(
    [10, 11, 12, 13, 16, 20, 21].map(offset => log.epochBefore(offset)),
    [3, 3, 3, 5, 5, 5, 9],
  )
  assert.equal(log.end, 21)
})

test('nothing is known before the first batch, unless the committed offset said so', async () => {
  const log = new PartitionLog(ID, 10, 10, undefined)
  assert.equal(log.epochBefore(10), undefined)
  log.fetched(await batch(0, 10, 2), 12, 12)
  assert.equal(log.epochBefore(12), 0)
})

test('control batches count: the offset after them is committed too', async () => {
  const control = await marker(12, 7, 'commit')
  control.writeInt32BE(6, BatchField.leaderEpoch)
  const log = new PartitionLog(ID, 10, 10, 3)
  log.fetched(control, 13, 13)
  assert.equal(log.epochBefore(13), 6)
})

test('what was not read does not count: a batch cut off at the end, or one behind a damaged one', async () => {
  const log = new PartitionLog(ID, 10, 10, 3)
  const bytes = Buffer.concat([await batch(4, 10, 2), await batch(5, 12, 2)])
  for (let length = 0; length < bytes.length; length++) log.fetched(bytes.subarray(0, length), 10, 14)
  assert.equal(log.epochBefore(14), 3, 'nothing was read at all')
  log.fetched(bytes, 12, 14)
  assert.equal(log.epochBefore(14), 4)
})

test('a commit forgets the epochs of before, and keeps that of the record before it', async () => {
  const log = new PartitionLog(ID, 10, 10, 3)
  log.fetched(Buffer.concat([await batch(4, 10, 2), await batch(5, 12, 2)]), 14, 14)
  log.commit(12)
  assert.equal(log.committed, 12)
  assert.deepEqual([log.epochBefore(12), log.epochBefore(13)], [4, 5])
  log.commit(14)
  assert.equal(log.epochBefore(14), 5)
})
