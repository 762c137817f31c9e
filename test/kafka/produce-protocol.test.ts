import assert from 'node:assert/strict'
import { test } from 'node:test'
import { produceBatches } from '../../src/kafka/produce-protocol.ts'
import { readRecordBatches } from '../../src/kafka/record-batch-reader.ts'
import type { SealedBatch } from '../../src/kafka/record-batch-writer.ts'
import { Encoder, stockBatch, stockProduce, type TestRecord } from './stock.ts'
import { stubBroker } from './stub-broker.ts'

const PRODUCER = { producerId: 9, producerEpoch: 2 }

/** A Produce response of version 7, field by field as kafkajs's decoder of it lists them. */
function response(topics: Record<string, [partition: number, errorCode: number][]>, throttle = 0): Buffer {
  const encoder = new Encoder().writeInt32(Object.keys(topics).length)
  for (const [topic, partitions] of Object.entries(topics)) {
    encoder.writeString(topic).writeInt32(partitions.length)
    for (const [partition, errorCode] of partitions) {
      encoder.writeInt32(partition).writeInt16(errorCode).writeInt64(1841).writeInt64(-1).writeInt64(0)
    }
  }
  return encoder.writeInt32(throttle).buffer
}

const messages = (value: string): TestRecord[] => [
  { timestamp: 1_700_000_000_000, key: Buffer.from('ü'), value: Buffer.from(value), headers: { h: Buffer.from('1') } },
  { timestamp: 1_700_000_000_007, key: null, value: Buffer.from(value.repeat(3_000)), headers: {} },
]

async function sealed(topic: string, partition: number, firstSequence: number): Promise<SealedBatch> {
  const options = { ...PRODUCER, firstSequence, transactional: topic !== 'plain' }
  const bytes = await stockBatch(messages(`${topic}-${partition}`), options)
  return { topic, partition, bytes, records: 2 }
}

test('requests are byte for byte those of kafkajs, for several topics and partitions', async () => {
  const batches = [await sealed('predictions', 2, 40), await sealed('dlq', 2, 0), await sealed('predictions', 0, 7)]
  const { broker, requests } = stubBroker(response({}))
  await produceBatches(broker, { transactionalId: 'gruppe.ü.2', timeoutMs: 1234, batches })
  const data = (topic: string, partition: number, firstSequence: number) => ({
    partition,
    firstSequence,
    messages: messages(`${topic}-${partition}`),
  })
  const stock = stockProduce({
    acks: -1,
    timeout: 1234,
    transactionalId: 'gruppe.ü.2',
    ...PRODUCER,
    topicData: [
      { topic: 'predictions', partitions: [data('predictions', 2, 40), data('predictions', 0, 7)] },
      { topic: 'dlq', partitions: [data('dlq', 2, 0)] },
    ],
  })
  assert.deepEqual(await requests[0]!.framed(), await requests[0]!.framed(stock))
})

test('without transactions there is no transactional id', async () => {
  const { broker, requests } = stubBroker(response({}))
  await produceBatches(broker, { timeoutMs: 1, batches: [await sealed('plain', 1, 3)] })
  const partitions = [{ partition: 1, firstSequence: 3, messages: messages('plain-1') }]
  const stock = stockProduce({ acks: -1, timeout: 1, ...PRODUCER, topicData: [{ topic: 'plain', partitions }] })
  assert.deepEqual(await requests[0]!.framed(), await requests[0]!.framed(stock))
})

test('the batches are in the request as they are', async () => {
  const batch = await sealed('predictions', 2, 0)
  const original = Buffer.from(batch.bytes)
  const { broker, requests } = stubBroker(response({}))
  await produceBatches(broker, { timeoutMs: 1, batches: [batch] })
  const request = await requests[0]!.framed()
  const bytes = request.subarray(request.length - original.length)
  assert.deepEqual(bytes, original)
  assert.equal(readRecordBatches({ topic: 't', partition: 2, bytes, fetchOffset: 0, aborted: [] }).nextOffset, 2)
})

test('answers of partitions are returned, errors too', async () => {
  const { broker, throttled } = stubBroker(
    response(
      {
        predictions: [
          [2, 0],
          [0, 47],
        ],
        dlq: [[2, 10]],
      },
      55,
    ),
  )
  const answers = await produceBatches(broker, { timeoutMs: 1, batches: [] })
  assert.deepEqual(answers, [
    { topic: 'predictions', partition: 2, errorCode: 0, baseOffset: 1841 },
    { topic: 'predictions', partition: 0, errorCode: 47, baseOffset: 1841 },
    { topic: 'dlq', partition: 2, errorCode: 10, baseOffset: 1841 },
  ])
  assert.deepEqual(throttled, [55])
})
