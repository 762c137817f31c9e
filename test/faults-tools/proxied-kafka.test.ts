import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { Kafka, logLevel, type Producer } from 'kafkajs'
import { type ProxiedBroker, startBrokerBehindProxy } from '../../faults/proxy/behind-proxy.ts'
import '../../src/kafka/kafkajs-fixes.ts'

/** Codes of the protocol (https://kafka.apache.org/protocol#protocol_error_codes). */
const NONE = 0
const INVALID_PRODUCER_EPOCH = 47
const CONCURRENT_TRANSACTIONS = 51
const PRODUCER_FENCED = 90

suite('a real broker behind the proxy', { timeout: 60_000 }, () => {
  let stage: ProxiedBroker
  before(async () => {
    stage = await startBrokerBehindProxy({ quickStart: true })
  })
  after(() => stage?.close())

  const proxied = () => client(stage.proxy.bootstrap)
  const plain = () => client(stage.broker.bootstrap)

  test('clients that come by the proxy stay behind it, others never meet it', async () => {
    for (const [kafka, bootstrap] of [
      [proxied(), stage.proxy.bootstrap],
      [plain(), stage.broker.bootstrap],
    ] as const) {
      const admin = kafka.admin()
      await admin.connect()
      const { brokers } = await admin.describeCluster()
      assert.deepEqual(
        brokers.map(({ host, port }) => `${host}:${port}`),
        [bootstrap],
      )
      await admin.disconnect()
    }
  })

  test('an EndTxn that comes after its client has gone, and another has initialised, ends nothing', async t => {
    await createTopic(plain(), 'held')
    const zombie = transactional(proxied(), 'held')
    const heir = transactional(plain(), 'held')
    t.after(() => Promise.all([zombie.disconnect(), heir.disconnect()]))

    await zombie.connect()
    const torn = await zombie.transaction()
    await torn.send({ topic: 'held', messages: [{ value: 'of the zombie' }] })
    const hold = stage.proxy.strikeNext('hold', { api: 'EndTxn', clientId: 'sluice-test' })
    const commit = torn.commit()
    await hold.hit
    // kafkajs would send the EndTxn again over a new connection, and come first with it.
    const refusal = stage.proxy.refuse()
    stage.proxy.cut()
    await assert.rejects(commit)
    refusal.lift()

    await heir.connect()
    const transaction = await heir.transaction()
    await transaction.send({ topic: 'held', messages: [{ value: 'of the heir' }] })
    hold.lift()
    assert.ok([INVALID_PRODUCER_EPOCH, PRODUCER_FENCED].includes(endTxnError(await hold.answer)))
    await transaction.send({ topic: 'held', messages: [{ value: 'of the heir, later' }] })
    await transaction.commit()
    assert.deepEqual(await read(plain(), 'held', 2), ['of the heir', 'of the heir, later'])
  })

  test('a doubled EndTxn is answered once, and the next transaction is whole', async t => {
    await createTopic(plain(), 'doubled')
    const producer = transactional(proxied(), 'doubled')
    t.after(() => producer.disconnect())
    await producer.connect()
    for (const value of ['first', 'second']) {
      const twice = stage.proxy.strikeNext('double', { api: 'EndTxn' })
      const transaction = await producer.transaction()
      await transaction.send({ topic: 'doubled', messages: [{ value }] })
      await transaction.commit()
      assert.ok([NONE, CONCURRENT_TRANSACTIONS].includes(endTxnError(await twice.answer)))
    }
    assert.deepEqual(await read(plain(), 'doubled', 2), ['first', 'second'])
  })
})

function client(bootstrap: string): Kafka {
  return new Kafka({
    clientId: 'sluice-test',
    brokers: [bootstrap],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 20, maxRetryTime: 200, retries: 5 },
  })
}

function transactional(kafka: Kafka, transactionalId: string): Producer {
  return kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
}

async function createTopic(kafka: Kafka, topic: string): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: false })
  await admin.disconnect()
}

/** EndTxn Response (Version: 0-3) => throttle_time_ms error_code */
function endTxnError(answer: Buffer | undefined): number {
  assert.ok(answer, 'the broker did not answer')
  return answer.readInt16BE(4)
}

/** The first `count` values that a read_committed consumer sees. */
async function read(kafka: Kafka, topic: string, count: number): Promise<string[]> {
  const consumer = kafka.consumer({ groupId: `reader-of-${topic}`, readUncommitted: false })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const values: string[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  await consumer.run({
    eachMessage: async ({ message }) => {
      if (values.push(String(message.value)) === count) resolve()
    },
  })
  await promise
  await consumer.disconnect()
  return values
}
