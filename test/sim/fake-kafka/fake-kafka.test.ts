import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fetchRecords } from '../../../src/kafka/fetch-protocol.ts'
import { endOfEpoch } from '../../../src/kafka/leader-epochs.ts'
import { leaderOf } from '../../../src/kafka/offsets.ts'
import { produceBatches } from '../../../src/kafka/produce-protocol.ts'
import { topicIdOf } from '../../../src/kafka/topic-ids.ts'
import { FakeClock, settle } from '../../pipeline/fake-clock.ts'
import { encodeBatch } from './batch-encoder.ts'
import { FakeKafka, type Network } from './fake-kafka.ts'

// What only a test can do to a cluster. What any broker does is in test/conformance.

const record = (value: string) => ({
  key: null,
  value: Buffer.from(value),
  headers: [['h', Buffer.from(value)]] as const,
})

async function stage(network?: Network) {
  const clock = new FakeClock()
  const kafka = new FakeKafka({ clock, brokers: 3 })
  kafka.createTopic('t', 1)
  const cluster = kafka.cluster('client', network)
  await cluster.addMultipleTargetTopics(['t'])
  const values = () => kafka.readCommitted('t', 0).map(({ offset, value }) => `${offset}:${value}`)
  return { clock, kafka, cluster, values }
}

async function send(cluster: KafkajsCluster, sequence: number, value: string): Promise<number> {
  const producer = { producerId: 7n, producerEpoch: 0, baseSequence: sequence, transactional: false }
  const batch = { topic: 't', partition: 0, records: 1, bytes: encodeBatch([record(value)], producer, 0) }
  const broker = await leaderOf(cluster, 't', 0)
  const [answer] = await produceBatches(broker, { timeoutMs: 1, batches: [batch] })
  return answer!.errorCode
}

test('records appended from outside are what a reader sees', async () => {
  const { kafka, values } = await stage()
  assert.equal(kafka.append('t', 0, [record('a'), record('b')]), 0)
  assert.equal(kafka.append('t', 0, [{ ...record('c'), timestamp: 5 }]), 2)
  assert.deepEqual(values(), ['0:a', '1:b', '2:c'])
  const { headers, timestamp } = kafka.readCommitted('t', 0)[2]!
  assert.deepEqual([headers, timestamp], [[['h', Buffer.from('c')]], 5])
})

test('a log that lost its tail has another epoch from there on, and readers of the lost part diverge', async () => {
  const { kafka, cluster, values } = await stage()
  for (const value of ['a', 'b', 'c']) kafka.append('t', 0, [record(value)])
  kafka.truncate('t', 0, 1)
  kafka.append('t', 0, [record('d')])
  kafka.append('t', 0, [record('e')])
  assert.deepEqual(values(), ['0:a', '1:d', '2:e'])
  const leader = await leaderOf(cluster, 't', 0)
  assert.equal((await endOfEpoch(leader, 't', 0, 0))!.endOffset, 1)
  assert.equal((await endOfEpoch(leader, 't', 0, 1))!.endOffset, 3)
  const topicId = await topicIdOf(leader, 't')
  const partitions = [{ topicId, partition: 0, position: 2, lastFetchedEpoch: 0, maxBytes: 1_000 }]
  const [answer] = await fetchRecords(leader, { maxWaitMs: 1_000, maxBytes: 1_000, partitions })
  assert.deepEqual([answer!.diverging, answer!.records.length], [{ epoch: 0, endOffset: 1 }, 0])
})

test('a leader that moved refuses, and is found again through the metadata', async () => {
  const { kafka, cluster, values } = await stage()
  const NOT_LEADER = 6
  kafka.moveLeader('t', 0, 2)
  assert.equal(await send(cluster, 0, 'a'), NOT_LEADER)
  await cluster.refreshMetadata()
  assert.equal(await send(cluster, 0, 'a'), 0)
  assert.deepEqual(values(), ['0:a'])
})

test('the network may deliver a request twice, or late', async () => {
  let late: (() => Promise<unknown>) | undefined
  const { cluster, values } = await stage(async ({ api }, deliver) => {
    if (api !== 'Produce') return deliver()
    if (late !== undefined) {
      await deliver()
      return deliver()
    }
    late = deliver
    throw Object.assign(new Error('no answer'), { name: 'KafkaJSRequestTimeoutError' })
  })
  await assert.rejects(send(cluster, 0, 'a'), /no answer/)
  assert.deepEqual(values(), [])
  await late!()
  assert.equal(await send(cluster, 1, 'b'), 0)
  assert.deepEqual(values(), ['0:a', '1:b'])
})

test('a connection serves one request at a time, others go on', async () => {
  const { kafka, cluster, clock } = await stage()
  const leader = await leaderOf(cluster, 't', 0)
  const partitions = [{ topicId: await topicIdOf(leader, 't'), partition: 0, position: 0, maxBytes: 1_000 }]
  const waiting = fetchRecords(leader, { maxWaitMs: 1_000, maxBytes: 1_000, partitions })
  let answered = false
  const behind = endOfEpoch(leader, 't', 0, 0).then(() => {
    answered = true
  })
  await settle()
  assert.equal(answered, false)
  const other = kafka.cluster('other')
  await other.addMultipleTargetTopics(['t'])
  assert.equal((await endOfEpoch(await leaderOf(other, 't', 0), 't', 0, 0))!.endOffset, 0)
  await clock.advance(1_000)
  await Promise.all([waiting, behind])
})

test('what lost its markers in a crash stays open, and the next marker of its producer id ends it, too', async () => {
  const { kafka, cluster, clock, values } = await stage()
  const coordinator = await cluster.findGroupCoordinator({ groupId: 'id', coordinatorType: 1 })
  const groupCoordinator = await cluster.findGroupCoordinator({ groupId: 'g' })
  const given = await coordinator.initProducerId({ transactionalId: 'id', transactionTimeout: 10_000 })
  const state = { transactionalId: 'id', ...given }
  const begin = async () => {
    await coordinator.addPartitionsToTxn({ ...state, topics: [{ topic: 't', partitions: [0] }] })
    await coordinator.addOffsetsToTxn({ ...state, groupId: 'g' })
  }
  const broker = await leaderOf(cluster, 't', 0)
  const write = async (sequence: number, value: string) => {
    const producer = {
      producerId: BigInt(given.producerId),
      producerEpoch: 0,
      baseSequence: sequence,
      transactional: true,
    }
    const batch = { topic: 't', partition: 0, records: 1, bytes: encodeBatch([record(value)], producer, 0) }
    const [answer] = await produceBatches(broker, { transactionalId: 'id', timeoutMs: 1, batches: [batch] })
    assert.equal(answer!.errorCode, 0)
    const topics = [{ topic: 't', partitions: [{ partition: 0, offset: String(sequence + 1) }] }]
    await groupCoordinator.txnOffsetCommit({ ...state, groupId: 'g', topics })
  }
  await begin()
  await write(0, 'a')
  await coordinator.endTxn({ ...state, transactionResult: true })
  kafka.crash({ losesAll: () => true, losesOne: () => true, leaderlessMs: 0 })
  await clock.advance(100)
  assert.deepEqual([kafka.openTransactions(), values(), kafka.committedOffset('g', 't', 0)], [['id'], [], undefined])
  await begin()
  await write(1, 'b')
  await coordinator.endTxn({ ...state, transactionResult: true })
  await clock.advance(100)
  assert.deepEqual([kafka.openTransactions(), values(), kafka.committedOffset('g', 't', 0)], [[], ['0:a', '1:b'], 2])
})

test('markers are written one after another, and the offsets of an expired group are gone', async () => {
  const { kafka, cluster, clock } = await stage()
  const coordinator = await cluster.findGroupCoordinator({ groupId: 'id', coordinatorType: 1 })
  const groupCoordinator = await cluster.findGroupCoordinator({ groupId: 'g' })
  const given = await coordinator.initProducerId({ transactionalId: 'id', transactionTimeout: 10_000 })
  const state = { transactionalId: 'id', ...given }
  await coordinator.addPartitionsToTxn({ ...state, topics: [{ topic: 't', partitions: [0] }] })
  await coordinator.addOffsetsToTxn({ ...state, groupId: 'g' })
  const topics = [{ topic: 't', partitions: [{ partition: 0, offset: '4' }] }]
  await groupCoordinator.txnOffsetCommit({ ...state, groupId: 'g', topics })
  await coordinator.endTxn({ ...state, transactionResult: true })
  assert.deepEqual([kafka.openTransactions(), kafka.logEnd('t', 0).end], [['id'], 0])
  await clock.advance(1)
  assert.deepEqual([kafka.logEnd('t', 0).end, kafka.committedOffset('g', 't', 0)], [1, undefined])
  await clock.advance(1)
  assert.deepEqual([kafka.openTransactions(), kafka.committedOffset('g', 't', 0)], [[], 4])
  kafka.expireGroup('g')
  assert.equal(kafka.committedOffset('g', 't', 0), undefined)
})
