import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Kafka, type KafkaConfig, logLevel, Partitioners } from 'kafkajs'
import { type Broker, startBroker, toolsClasspath } from '../../dev/broker.ts'
import type { BrokerUser } from '../../dev/broker-config.ts'
import { findJava, runJava } from '../../dev/java.ts'

describe('a broker', { timeout: 60_000 }, () => {
  let broker: Broker
  before(async () => {
    // A crashed broker is let in again when its session is over.
    const properties = { 'broker.session.timeout.ms': 3_000, 'broker.heartbeat.interval.ms': 500 }
    broker = await startBroker({ acls: true, properties, quickStart: true })
  })
  after(() => broker?.stop())

  it('commits and aborts transactions', async () => {
    await createTopic(broker, 'letters')
    await publish(broker, 'letters', 'a', 'commit')
    await publish(broker, 'letters', 'b', 'abort')
    await publish(broker, 'letters', 'c', 'commit')
    assert.deepEqual(await read(broker, 'letters', 2), ['a', 'c'])
  })

  it('talks to the command-line tools', async () => {
    const command = ['org.apache.kafka.tools.TransactionsCommand', '--bootstrap-server', broker.bootstrap, 'list']
    const transactions = await runJava(await findJava(), await toolsClasspath(), command)
    assert.match(transactions, /test-of-letters\s.*CompleteCommit/)
  })

  it('continues on the same port with the same records, after a stop and after a crash', async () => {
    const { bootstrap, pid } = broker
    await broker.stop({ keepData: true })
    assert.equal(broker.pid, undefined)
    await broker.start()
    assert.notEqual(broker.pid, pid)
    await publish(broker, 'letters', 'd', 'commit')
    assert.deepEqual(await read(broker, 'letters', 3), ['a', 'c', 'd'])

    await broker.kill('SIGKILL')
    await broker.start()
    assert.equal(broker.bootstrap, bootstrap)
    assert.deepEqual(await read(broker, 'letters', 3), ['a', 'c', 'd'])
  })

  it('lets the admin do everything and the restricted user nothing', async () => {
    const { bootstrap, admin, restricted } = broker.sasl!
    const denied = createTopic(broker, 'denied', { brokers: [bootstrap], ...login(restricted) })
    await assert.rejects(denied, (error: { errors: { type: string }[] }) => {
      assert.deepEqual(
        error.errors.map(({ type }) => type),
        ['TOPIC_AUTHORIZATION_FAILED'],
      )
      return true
    })
    await createTopic(broker, 'allowed', { brokers: [bootstrap], ...login(admin) })
    const wrong = { username: 'admin', password: 'wrong' }
    await assert.rejects(
      createTopic(broker, 'never', { brokers: [bootstrap], ...login(wrong) }),
      /SASL PLAIN authentication failed/,
    )
  })

  it('removes its folder when it stops, and may be stopped twice', async () => {
    const { pid, folder } = broker
    assert.ok(existsSync(folder))
    await broker.stop()
    await broker.stop()
    assert.ok(!existsSync(folder))
    assert.ok(!isAlive(pid!))
  })
})

describe('a broker whose parent', { timeout: 60_000 }, () => {
  // The parent reports what it started, and stays.
  const script = `
    import { startBroker } from ${JSON.stringify(new URL('../../dev/broker.ts', import.meta.url).href)}
    const { pid, folder } = await startBroker({ quickStart: true })
    console.log(JSON.stringify({ pid, folder }))
    setInterval(() => {}, 1e9)`

  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    it(`ends by ${signal} leaves neither process nor data`, async () => {
      const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const [line] = (await once(createInterface(parent.stdout), 'line')) as [string]
      const { pid, folder } = JSON.parse(line) as { pid: number; folder: string }
      assert.ok(isAlive(pid) && existsSync(folder))
      parent.kill(signal)
      await until(() => !isAlive(pid), 5_000, `Java (process ${pid}) is still there`)
      await until(() => !existsSync(folder), 5_000, `${folder} is still there`)
    })
  }
})

describe('a broker that cannot start', { timeout: 60_000 }, () => {
  it('says why, ending with its log', async t => {
    const squatter = createServer().listen(0, '127.0.0.1')
    t.after(() => squatter.close())
    await once(squatter, 'listening')
    const { port } = squatter.address() as { port: number }
    const taken = `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${port + 1}`
    await assert.rejects(startBroker({ properties: { listeners: taken } }), (error: Error) => {
      assert.match(error.message, /^Kafka on 127\.0\.0\.1:\d+ did not start: it ended: exit code 1 /)
      assert.match(error.message, /From its log:\n[^\n]*\[ERROR\][\s\S]*Address already in use/)
      return true
    })
  })

  it('says what to install without Java', async t => {
    const before = process.env.JAVA_HOME
    t.after(() => {
      if (before === undefined) delete process.env.JAVA_HOME
      else process.env.JAVA_HOME = before
    })
    process.env.JAVA_HOME = fileURLToPath(new URL('no-java-here', import.meta.url))
    await assert.rejects(
      startBroker(),
      /Java 17 or newer .*"[^"]*no-java-here\/bin\/java".* Install it .* KAFKA_BROKERS/,
    )
  })
})

type Outcome = 'commit' | 'abort'
type Access = Pick<KafkaConfig, 'brokers' | 'sasl'>

function kafka(broker: Broker, access: Access = { brokers: [broker.bootstrap] }): Kafka {
  return new Kafka({ clientId: 'test', logLevel: logLevel.NOTHING, retry: { initialRetryTime: 20 }, ...access })
}

function login(user: BrokerUser): Pick<KafkaConfig, 'sasl'> {
  return { sasl: { mechanism: 'plain', ...user } }
}

async function createTopic(broker: Broker, topic: string, access?: Access): Promise<void> {
  const admin = kafka(broker, access).admin()
  try {
    await admin.connect()
    await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: false })
  } finally {
    await admin.disconnect()
  }
}

async function publish(broker: Broker, topic: string, value: string, outcome: Outcome): Promise<void> {
  const producer = kafka(broker).producer({
    transactionalId: `test-of-${topic}`,
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: Partitioners.DefaultPartitioner,
  })
  try {
    await producer.connect()
    const transaction = await producer.transaction()
    await transaction.send({ topic, messages: [{ value }] })
    await transaction[outcome]()
  } finally {
    await producer.disconnect()
  }
}

/** The first `count` values that a read_committed consumer sees. */
async function read(broker: Broker, topic: string, count: number): Promise<string[]> {
  const consumer = kafka(broker).consumer({ groupId: `reader-${crypto.randomUUID()}`, readUncommitted: false })
  try {
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    return await new Promise((resolve, reject) => {
      const values: string[] = []
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
      const eachMessage = async ({ message }: { message: { value: Buffer | null } }) => {
        if (values.push(String(message.value)) === count) resolve(values)
      }
      consumer.run({ eachMessage }).catch(reject)
    })
  } finally {
    await consumer.disconnect()
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Processes and folders of others send no event when they go: look, until it is true or the time is up. */
async function until(holds: () => boolean, timeoutMs: number, complaint: string): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!holds()) {
    if (performance.now() > end) assert.fail(`${complaint} after ${timeoutMs / 1000} s`)
    await delay(20)
  }
}
