import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { CompressionTypes, Partitioners, type Producer } from 'kafkajs'
import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { parseLogPosition } from '../../src/core/log-position.ts'
import { offsetOf, type RecordBatch } from '../../src/core/record-batch.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'
import {
  endOffsets,
  resolvePosition,
  stableEndOffsets,
  startOffsets,
  type TopicView,
} from '../../src/kafka/log-offsets.ts'
import { partitionCount } from '../../src/kafka/offsets.ts'
import { TopicScan } from '../../src/kafka/topic-scan.ts'
import { openTransactions } from '../../src/kafka/transactions.ts'
import { brokers, createTopics, kafka, uniqueName, until, withAdmin } from '../support/broker.ts'

const LIMITS = { patienceMs: 300 }

suite('reading whole topics', { concurrency: true, timeout: 60_000 }, () => {
  test('everything that is committed, up to the ends, and then up to later ends', async t => {
    const { topic, view, producer } = await stage(t, 3)
    await send(producer, topic, [0, 1, 2], 400)
    const ends = await endOffsets(view)
    await send(producer, topic, [1], 50)
    const { scan, seen } = scanOf(view)
    assert.deepEqual(await scan.readTo(ends, LIMITS), [])
    assert.deepEqual(seen, [count(400), count(400), count(400)])
    assert.deepEqual(scan.positions, [400, 400, 400])
    assert.deepEqual(await scan.readTo(await endOffsets(view), LIMITS), [])
    assert.deepEqual(seen, [count(400), count(450), count(400)])
  })

  test('not what was aborted; what a transaction hides is said, and read when it has ended', async t => {
    const { topic, view, producer, id } = await stage(t, 1, true)
    const transaction = async (values: number) => {
      const open = await producer.transaction()
      await open.send({ topic, messages: messages(0, values) })
      return open
    }
    await (await transaction(3)).commit()
    await (await transaction(4)).abort()
    const open = await transaction(5)
    const { scan, seen } = scanOf(view)
    const unread = await scan.readTo(await endOffsets(view), LIMITS)
    assert.deepEqual(unread, [{ topic, partition: 0, position: 9, end: 14 }])
    assert.deepEqual(await stableEndOffsets(view), [9])
    assert.deepEqual(seen, [count(3)])

    const [found, ...others] = await openTransactions(view.cluster, id)
    assert.deepEqual([found?.transactionalId, found?.state, found?.timeoutMs, others], [id, 'Ongoing', 60_000, []])
    assert.ok(Math.abs(Date.now() - found!.startedAt) < 60_000)
    assert.deepEqual(await openTransactions(view.cluster, `${id}-of-nobody`), [])

    const reading = scan.readTo(await endOffsets(view), { patienceMs: 30_000 })
    await open.commit()
    assert.deepEqual(await reading, [])
    assert.deepEqual(seen, [[...count(3), 9, 10, 11, 12, 13]])
    await until(
      async () => (await openTransactions(view.cluster, id)).length === 0,
      () => 'the transaction is still open',
    )
  })

  test('on from where the log begins, when retention was faster', async t => {
    const { topic, view, producer } = await stage(t, 1)
    await send(producer, topic, [0], 10)
    const { scan, seen } = scanOf(view)
    await withAdmin(async admin => {
      await admin.fetchTopicOffsets(topic)
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '6' }] })
    })
    assert.deepEqual(await scan.readTo([10], LIMITS), [])
    assert.deepEqual(seen, [[6, 7, 8, 9]])
    assert.deepEqual(scan.gaps, [{ topic, partition: 0, from: 0, to: 6 }])
  })

  test('from the beginning, when the topic was made anew', async t => {
    const { topic, view, producer } = await stage(t, 1)
    await send(producer, topic, [0], 5)
    const { scan, seen } = scanOf(view)
    assert.deepEqual(await scan.readTo([3], LIMITS), [])
    await withAdmin(admin => admin.deleteTopics({ topics: [topic] }))
    const gone = async () => (await withAdmin(admin => admin.listTopics())).includes(topic) === false
    await until(gone, () => 'the topic is still there')
    await createTopics({ [topic]: 1 })
    await send(await producerOf(t), topic, [0], 7)
    assert.deepEqual(await scan.readTo([7], LIMITS), [])
    assert.deepEqual(seen, [[...count(5), ...count(7)]])
    assert.deepEqual(scan.gaps, [{ topic, partition: 0, from: 5, to: 0 }])
  })

  test('stops when it is told to, and hands on what the consumer throws', async t => {
    const { topic, view, producer } = await stage(t, 1)
    await send(producer, topic, [0], 5)
    const stop = new AbortController()
    const { scan } = scanOf(view)
    const reading = scan.readTo([100], { patienceMs: 60_000, signal: stop.signal })
    await delay(50)
    stop.abort()
    assert.equal((await reading).length, 1)
    const throwing = new TopicScan({
      ...view,
      start: [0],
      accept: () => {
        throw new Error('no room for these')
      },
    })
    await assert.rejects(throwing.readTo([5], LIMITS), /no room for these/)
  })

  test('places in the log by time, by offset and by name', async t => {
    const { topic, view, producer } = await stage(t, 2)
    const timestamp = (i: number) => String(Date.parse('2026-01-01T00:00:00Z') + i * 1000)
    const stamped = [0, 1, 2, 3].map(i => ({ value: `${i}`, partition: 0, timestamp: timestamp(i) }))
    await producer.send({ topic, messages: stamped })
    const at = (text: string) => resolvePosition(view, parseLogPosition('--from', text), [70, 71])
    assert.deepEqual(await at('earliest'), [0, 0])
    assert.deepEqual(await at('latest'), [4, 0])
    assert.deepEqual(await at('offset:1=3'), [70, 3])
    assert.deepEqual(await at('2026-01-01T00:00:01.500Z'), [2, 0])
    assert.deepEqual(await at('2027-01-01'), [4, 0])
  })
})

/** A topic of its own, a view of it, and somebody who writes to it. */
async function stage(t: TestContext, partitions: number, transactional = false) {
  const topic = uniqueName('scan')
  await createTopics({ [topic]: partitions })
  const options = { clientId: 'scan-test', requestTimeoutMs: 10_000, metadataMaxAgeMs: 60_000, brokers: brokers() }
  const cluster = clusterTools(options, silentLog).create()
  await cluster.connect()
  t.after(() => cluster.disconnect())
  assert.equal(await partitionCount(cluster, topic), partitions)
  const view: TopicView = { cluster, topic, partitions, clock: systemClock }
  assert.deepEqual(await startOffsets(view), Array(partitions).fill(0))
  const id = `${topic}-writer`
  return { topic, view, id, producer: await producerOf(t, transactional ? id : undefined) }
}

async function producerOf(t: TestContext, transactionalId?: string): Promise<Producer> {
  const createPartitioner = Partitioners.DefaultPartitioner
  const exact = transactionalId === undefined ? {} : { transactionalId, idempotent: true, maxInFlightRequests: 1 }
  const producer = kafka().producer({ createPartitioner, ...exact })
  await producer.connect()
  t.after(() => producer.disconnect())
  return producer
}

/** In several batches, one of them compressed. */
async function send(producer: Producer, topic: string, partitions: readonly number[], records: number): Promise<void> {
  const half = Math.floor(records / 2)
  const both = (each: number) => partitions.flatMap(partition => messages(partition, each))
  await producer.send({ topic, messages: both(half) })
  await producer.send({ topic, messages: both(records - half), compression: CompressionTypes.GZIP })
}

function messages(partition: number, records: number) {
  return count(records).map(i => ({ partition, value: `record ${i} of partition ${partition}` }))
}

/** A scan from the beginning, and the offsets that it has seen of each partition. */
function scanOf(view: TopicView) {
  const seen = Array.from({ length: view.partitions }, (): number[] => [])
  const accept = (batch: RecordBatch) => {
    for (let i = 0; i < batch.count; i++) seen[batch.partition]!.push(offsetOf(batch, i))
  }
  return { scan: new TopicScan({ ...view, start: Array(view.partitions).fill(0), accept }), seen }
}

/** 0, 1, … below `end`. */
function count(end: number): number[] {
  return Array.from({ length: end }, (_, i) => i)
}
