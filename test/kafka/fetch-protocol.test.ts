import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerMemory } from '../../src/kafka/answer-memory.ts'
import { type FetchOptions, fetchRecords } from '../../src/kafka/fetch-protocol.ts'
import { memoryPool } from '../../src/kafka/memory-pool.ts'
import { encodeFetchResponse } from '../sim/fake-kafka/fetch-codec.ts'
import { flexibleBody, ID, OTHER_ID } from './java-messages.ts'
import { stubBroker } from './stub-broker.ts'

/** What the recorded request asks for. */
const OPTIONS: FetchOptions = {
  maxWaitMs: 250,
  maxBytes: 9_000_000,
  partitions: [
    { topicId: ID, partition: 2, position: 1841, lastFetchedEpoch: 7, maxBytes: 1_000_000 },
    { topicId: OTHER_ID, partition: 1, position: 0, maxBytes: 500 },
    { topicId: ID, partition: 0, position: 2 ** 40, maxBytes: 1_000_000 },
  ],
}

test('requests are byte for byte those of the Java client, grouped by topic', async () => {
  const { broker, requests } = stubBroker(flexibleBody('fetchResponse'))
  await fetchRecords(broker, OPTIONS)
  assert.equal(requests[0]!.api, 'Fetch 1/13')
  assert.deepEqual(requests[0]!.body, flexibleBody('fetchRequest'))
})

test('counts of more than one byte are announced in full', async () => {
  for (const count of [126, 127, 128, 20_000]) {
    const { broker, requests } = stubBroker(flexibleBody('fetchResponse'))
    const partitions = Array.from({ length: count }, (_, partition) => ({ ...OPTIONS.partitions[0]!, partition }))
    await fetchRecords(broker, { ...OPTIONS, partitions })
    assert.ok(requests[0]!.body.length > count * 33)
  }
})

test('answers carry the records as they came, and what is needed to read them', async () => {
  const raw = flexibleBody('fetchResponse')
  const { broker } = stubBroker(raw)
  const partitions = await fetchRecords(broker, OPTIONS)
  assert.deepEqual(partitions, [
    {
      topicId: ID,
      partition: 2,
      errorCode: 0,
      highWatermark: 2000,
      lastStableOffset: 1900,
      logStartOffset: 17,
      aborted: [{ producerId: 2n ** 62n, firstOffset: 1800 }],
      diverging: undefined,
      records: Buffer.from('record batches'),
      loan: undefined,
    },
    {
      topicId: ID,
      partition: 0,
      errorCode: 0,
      highWatermark: 50,
      lastStableOffset: 50,
      logStartOffset: 0,
      aborted: [],
      diverging: { epoch: 4, endOffset: 30 },
      records: Buffer.alloc(0),
      loan: undefined,
    },
    {
      topicId: OTHER_ID,
      partition: 1,
      errorCode: 100,
      highWatermark: -1,
      lastStableOffset: -1,
      logStartOffset: -1,
      aborted: [],
      diverging: undefined,
      records: Buffer.alloc(0),
      loan: undefined,
    },
  ])
  assert.equal(partitions[0]?.records.buffer, raw.buffer, 'a view')
})

test('an error of the whole request is thrown with the name that the broker gives it', async () => {
  const { broker } = stubBroker(flexibleBody('fetchRefused'))
  await assert.rejects(fetchRecords(broker, OPTIONS), { type: 'UNSUPPORTED_VERSION' })
})

test('the time for which the broker asks to hold back reaches the connection', async () => {
  const { broker, throttled } = stubBroker(flexibleBody('fetchResponse'))
  await fetchRecords(broker, OPTIONS)
  assert.deepEqual(throttled, [321])
})

test('an answer cut anywhere is refused', async () => {
  const raw = flexibleBody('fetchResponse')
  for (let length = 0; length < raw.length; length++) {
    await assert.rejects(fetchRecords(stubBroker(raw.subarray(0, length)).broker, OPTIONS), RangeError)
  }
})

test('a partition with less than an eighth of a large answer gets a copy, which keeps nothing of the rest', async () => {
  const answer = (bytes: readonly number[]) =>
    encodeFetchResponse(
      bytes.map((length, partition) => ({
        topicId: ID,
        partition,
        errorCode: 0,
        highWatermark: 10,
        lastStableOffset: 10,
        logStartOffset: 0,
        aborted: [],
        records: Buffer.alloc(length, partition + 1),
      })),
    )
  const whole = answer([300_000, 100_000, 20_000, 0])
  const raw = answerMemory.lend(whole.length)
  raw.set(whole)
  const partitions = await fetchRecords(stubBroker(raw).broker, OPTIONS)
  assert.deepEqual(
    partitions.map(({ records, loan }) => [records.buffer === raw.buffer, loan !== undefined]),
    [
      [true, true],
      [true, true],
      [false, false],
      [true, false], // nothing of it
    ],
  )
  assert.deepEqual(partitions[2]!.records, Buffer.alloc(20_000, 3))
  assert.ok(partitions[2]!.records.buffer.byteLength < 30_000)
  const free = memoryPool.freeBytes
  partitions[0]!.loan!.letGo()
  assert.equal(memoryPool.freeBytes, free)
  partitions[1]!.loan!.letGo()
  assert.equal(memoryPool.freeBytes, free + raw.buffer.byteLength, 'the last one frees it')
})
