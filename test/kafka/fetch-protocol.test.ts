import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type FetchOptions, fetchRecords } from '../../src/kafka/fetch-protocol.ts'
import { Encoder, propertyOptions, stockFetch } from './stock.ts'
import { stubBroker } from './stub-broker.ts'

const OPTIONS: FetchOptions = {
  topic: 'iris-features',
  maxWaitMs: 250,
  maxBytes: 9_000_000,
  partitions: [{ partition: 2, position: 1841, maxBytes: 1_000_000 }],
}

interface Answer {
  readonly partition: number
  readonly errorCode?: number
  readonly aborted?: readonly [bigint, number][] | null
  readonly records?: Buffer | null
}

/** A Fetch response of version 11, field by field as kafkajs's decoder of it lists them. */
function response(answers: readonly Answer[], { errorCode = 0, throttle = 0 } = {}): Buffer {
  const encoder = new Encoder().writeInt32(throttle).writeInt16(errorCode).writeInt32(0)
  encoder.writeInt32(1).writeString('iris-features').writeInt32(answers.length)
  for (const { partition, errorCode = 0, aborted = [], records = Buffer.alloc(0) } of answers) {
    encoder
      .writeInt32(partition)
      .writeInt16(errorCode)
      .writeInt64(2n ** 40n)
      .writeInt64(1900)
      .writeInt64(17)
    encoder.writeInt32(aborted?.length ?? -1)
    for (const [producerId, firstOffset] of aborted ?? []) encoder.writeInt64(producerId).writeInt64(firstOffset)
    encoder.writeInt32(-1).writeBytes(records)
  }
  return encoder.buffer
}

test('requests are byte for byte those of kafkajs', async () => {
  const partition = fc.record({
    partition: fc.nat(),
    position: fc.maxSafeInteger().map(Math.abs),
    maxBytes: fc.nat(),
  })
  const options = fc.record({
    topic: fc.string({ unit: 'grapheme', maxLength: 249 }),
    maxWaitMs: fc.nat(),
    maxBytes: fc.nat(),
    partitions: fc.array(partition, { maxLength: 20 }),
  })
  await fc.assert(
    fc.asyncProperty(options, async options => {
      const { broker, requests } = stubBroker(response([]))
      await fetchRecords(broker, options)
      const { topic, maxWaitMs: maxWaitTime, maxBytes } = options
      const partitions = options.partitions.map(({ position, ...rest }) => ({ ...rest, fetchOffset: position }))
      const topics = [{ topic, partitions }]
      const stock = stockFetch({ replicaId: -1, minBytes: 1, maxWaitTime, maxBytes, topics })
      assert.deepEqual(await requests[0]!.framed(), await requests[0]!.framed(stock))
    }),
    propertyOptions,
  )
})

test('answers carry the records as they came, and what is needed to read them', async () => {
  const records = Buffer.from('record batches')
  const raw = response([
    { partition: 2, records, aborted: [[2n ** 62n, 1800]] },
    { partition: 0, errorCode: 1, records: null, aborted: null },
  ])
  const { broker } = stubBroker(raw)
  const answers = await fetchRecords(broker, OPTIONS)
  const positions = { topic: 'iris-features', highWatermark: 2 ** 40, lastStableOffset: 1900, logStartOffset: 17 }
  assert.deepEqual(answers, [
    { ...positions, partition: 2, errorCode: 0, aborted: [{ producerId: 2n ** 62n, firstOffset: 1800 }], records },
    { ...positions, partition: 0, errorCode: 1, aborted: [], records: Buffer.alloc(0) },
  ])
  assert.equal(answers[0]?.records.buffer, raw.buffer)
})

test('an error of the whole request is thrown with the name that the broker gives it', async () => {
  const { broker } = stubBroker(response([], { errorCode: 35 }))
  await assert.rejects(fetchRecords(broker, OPTIONS), { type: 'UNSUPPORTED_VERSION' })
})

test('the time for which the broker asks to hold back reaches the connection', async () => {
  const { broker, throttled } = stubBroker(response([], { throttle: 321 }))
  await fetchRecords(broker, OPTIONS)
  assert.deepEqual(throttled, [321])
})

test('an answer cut anywhere is refused', async () => {
  const raw = response([{ partition: 2, records: Buffer.from('records'), aborted: [[1n, 2]] }])
  for (let length = 0; length < raw.length; length++) {
    await assert.rejects(fetchRecords(stubBroker(raw.subarray(0, length)).broker, OPTIONS), RangeError)
  }
})
