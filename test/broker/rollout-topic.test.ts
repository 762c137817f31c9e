import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { reportRecord, stateRecord } from '../../src/core/rollout-records.ts'
import { TransactionalWriter } from '../../src/kafka/transactional-writer.ts'
import { brokers, createTopics, kafka, uniqueName, until, withAdmin } from '../support/broker.ts'
import type { LogRecord } from '../support/record-log.ts'
import { append, Followed, reportOf, stateOf, toolsFor } from '../support/rollout.ts'
import { readTopic } from '../support/topic-reader.ts'

const HEARD_MS = 20_000

suite('following the rollout topic', { concurrency: true, timeout: 60_000 }, () => {
  test('begins with the last state of its model, and hears every later one at once', async t => {
    const topic = await newTopic()
    await write(topic, stateRecord(stateOf(1)), stateRecord(stateOf(2)), stateRecord(stateOf(9, { model: 'other' })))
    const { follower, states, ...followed } = follow(t, topic)
    assert.deepEqual(await follower.start(), stateOf(2))
    assert.deepEqual(states, [])
    await write(topic, stateRecord(stateOf(3)), stateRecord(stateOf(10, { model: 'other' })))
    await followed.heard(3)
    await write(topic, stateRecord(stateOf(4)))
    await followed.heard(4)
    assert.deepEqual(states, [stateOf(3), stateOf(4)])
    assert.deepEqual(follower.state, stateOf(4))
  })

  test('an empty topic has no state, and says so at once', async t => {
    const { follower } = follow(t, await newTopic())
    const began = performance.now()
    assert.equal(await follower.start(), undefined)
    assert.ok(performance.now() - began < HEARD_MS)
  })

  test('a topic that is created later is heard of, and is not created by looking for it', async t => {
    const topic = uniqueName('rollout')
    const { follower, states, troubles, heard } = follow(t, topic)
    assert.equal(await follower.start(), undefined)
    follower.report(reportOf())
    assert.ok(!(await withAdmin(admin => admin.listTopics())).includes(topic))
    await createTopics({ [topic]: 1 })
    await write(topic, stateRecord(stateOf(1)))
    await heard(1)
    assert.deepEqual(states, [stateOf(1)])
    assert.deepEqual(troubles, [])
    await reports(topic, record => record.value?.toString() === reportRecord(reportOf()).value)
  })

  test('damaged records and unknown formats are warned of once, and change nothing', async t => {
    const topic = await newTopic()
    const { key } = stateRecord(stateOf(1))
    const broken = [
      { key, value: '{"format":1,' },
      { key, value: JSON.stringify({ format: 2, model: 'iris', plans: [] }) },
      { key, value: JSON.stringify({ format: 1, ...stateOf(7), live: { shadows: [] } }) },
      { key, value: stateRecord(stateOf(8, { model: 'other' })).value },
      { key: 'models/iris', value: stateRecord(stateOf(8)).value },
      { key: 'replica/g/r2', value: JSON.stringify({ format: 1 }) },
    ]
    await write(topic, stateRecord(stateOf(1)), ...broken)
    const { follower, states, log, heard } = follow(t, topic)
    assert.deepEqual(await follower.start(), stateOf(1))
    await write(topic, broken.at(-1)!, stateRecord(stateOf(2)))
    await heard(2)
    assert.deepEqual(states, [stateOf(2)])
    const reasons = [/not JSON/, /format is 2/, /live\.stable is missing/, /about model .+other/, /neither model\/ nor/]
    for (const reason of reasons) assert.equal(log.warnings.filter(text => reason.test(text)).length, 1, String(reason))
    assert.equal(log.warnings.length, broken.length)
  })

  test('a state that is deleted, and a topic that is deleted and made anew, unload nothing', async t => {
    const topic = await newTopic()
    await write(topic, stateRecord(stateOf(3)))
    const { follower, states, heard } = follow(t, topic)
    assert.deepEqual(await follower.start(), stateOf(3))
    follower.report(reportOf())
    await reports(topic, record => record.value !== null)
    await write(topic, { key: stateRecord(stateOf(3)).key, value: null })
    await withAdmin(admin => admin.deleteTopics({ topics: [topic] }))
    await until(
      async () => !(await withAdmin(admin => admin.listTopics())).includes(topic),
      () => 'the topic is still there',
    )
    assert.deepEqual(states, [])
    await createTopics({ [topic]: 1 })
    await write(topic, stateRecord(stateOf(1)))
    await heard(1)
    assert.deepEqual(states, [stateOf(1)])
    await reports(topic, record => record.value?.toString() === reportRecord(reportOf()).value)
  })

  test('reports the last of what it is told, and takes it back when it is closed', async t => {
    const topic = await newTopic()
    const { follower } = follow(t, topic)
    await follower.start()
    const told = Array.from({ length: 50 }, (_, at) => reportOf({ at }))
    for (const report of told) follower.report(report)
    const records = await reports(topic, record => record.value?.toString() === reportRecord(told.at(-1)!).value)
    assert.ok(records.length < told.length, `${records.length} requests for ${told.length} reports at once`)
    await follower.close()
    const last = (await readTopic(topic)).at(-1)!
    assert.deepEqual([last.key?.toString(), last.value], ['replica/g/r1', null])
  })

  test('a late attempt that writes over the last report is written over', async t => {
    const topic = await newTopic()
    const { follower } = follow(t, topic)
    await follower.start()
    follower.report(reportOf({ at: 2 }))
    await reports(topic, record => record.value?.toString() === reportRecord(reportOf({ at: 2 })).value)
    await write(topic, reportRecord(reportOf({ at: 1 })))
    const values = await readTopic(topic, { until: records => records.length === 3 })
    assert.deepEqual(values.map(atOf), [2, 1, 2])
  })

  test('a transaction that is open is not heard of, one that was aborted never', async t => {
    const topic = await newTopic()
    const producer = kafka().producer({
      transactionalId: uniqueName('writer'),
      idempotent: true,
      maxInFlightRequests: 1,
    })
    await producer.connect()
    t.after(() => producer.disconnect())
    const { follower, states, heard } = follow(t, topic)
    await follower.start()
    const aborted = await producer.transaction()
    await aborted.send({ topic, messages: [stateRecord(stateOf(1))] })
    await aborted.abort()
    const committed = await producer.transaction()
    await committed.send({ topic, messages: [stateRecord(stateOf(2))] })
    assert.deepEqual(states, [])
    await committed.commit()
    await heard(2)
    assert.deepEqual(states, [stateOf(2)])
  })
})

suite('writing to the rollout topic', { concurrency: true, timeout: 60_000 }, () => {
  test('whoever initialises the id later fences the one before, whose record is never seen', async t => {
    const topic = await newTopic()
    const id = uniqueName('sluice.rollout')
    const [first, second] = [await writer(t, topic, id), await writer(t, topic, id)]
    await first.initialise()
    await first.write({ key: 'a', value: '1', timestamp: 1 })
    await first.write({ key: 'a', value: '2', timestamp: 1 })
    await second.initialise()
    await assert.rejects(first.write({ key: 'a', value: 'of a zombie', timestamp: 1 }), { name: 'FencedError' })
    await second.write({ key: 'a', value: null, timestamp: 1 })
    await assert.rejects(first.write({ key: 'a', value: '3', timestamp: 1 }), /write before initialise/)
    const values = (await readTopic(topic)).map(({ value }) => value?.toString() ?? null)
    assert.deepEqual(values, ['1', '2', null])
  })

  test('another id is another right: commands for other models go on', async t => {
    const topic = await newTopic()
    const [iris, shop] = [await writer(t, topic, uniqueName('iris')), await writer(t, topic, uniqueName('shop'))]
    await iris.initialise()
    await shop.initialise()
    await iris.write({ key: 'iris', value: '1', timestamp: 1 })
    await shop.write({ key: 'shop', value: '1', timestamp: 1 })
    assert.equal((await readTopic(topic)).length, 2)
  })
})

async function writer(t: TestContext, topic: string, transactionalId: string): Promise<TransactionalWriter> {
  const cluster = toolsFor(brokers()).create()
  await cluster.connect()
  t.after(() => cluster.disconnect())
  await cluster.addMultipleTargetTopics([topic])
  const requestTimeoutMs = 10_000
  return new TransactionalWriter({ cluster, topic, transactionalId, clock: systemClock, requestTimeoutMs })
}

async function newTopic(): Promise<string> {
  const topic = uniqueName('rollout')
  await createTopics({ [topic]: 1 })
  return topic
}

function follow(t: TestContext, topic: string) {
  const followed = new Followed({ brokers: brokers(), topic })
  t.after(() => followed.follower.close())
  const { follower, states, troubles, log } = followed
  return { follower, states, troubles, log, heard: (revision: number) => followed.hearsRevision(revision) }
}

async function write(topic: string, ...records: { key: string; value: string | null }[]): Promise<void> {
  for (const record of records) await append(brokers(), topic, record)
}

/** The reports in the topic, once one of them is the one. */
async function reports(topic: string, isTheOne: (record: LogRecord) => boolean): Promise<LogRecord[]> {
  const own = (records: readonly LogRecord[]) => records.filter(({ key }) => key?.toString() === 'replica/g/r1')
  return own(await readTopic(topic, { until: records => own(records).some(isTheOne) }))
}

function atOf({ value }: LogRecord): number {
  return (JSON.parse(value!.toString()) as { at: number }).at
}
