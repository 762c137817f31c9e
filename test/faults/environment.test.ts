import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import kafkajs from 'kafkajs'
import { type Broker, startBroker } from '../../dev/broker.ts'
import { assertExactlyOnce } from '../support/audit.ts'
import { committedOffsets, createTopics, endOffsets, until, withAdmin } from '../support/broker.ts'
import { frame, goldenSamples, IRIS_SCHEMA_ID } from '../support/models.ts'
import { Testbed, type TestbedOptions } from '../support/testbed.ts'
import { StubRegistry } from './stub-registry.ts'
import { assertExits, assertWaits, health, schemaFolder } from './support.ts'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ConfigResourceTypes, ResourcePatternTypes } = kafkajs

const IRIS = {
  type: 'record',
  name: 'Iris',
  fields: ['sepal_length', 'sepal_width', 'petal_length', 'petal_width'].map(name => ({ name, type: 'float' })),
}

const FLOWERS = goldenSamples('iris-classifier').map(({ input }) => ({ value: frame(IRIS_SCHEMA_ID, input) }))

/** One broker of our own for all of this file: it is stopped, and asked for things that it refuses. */
let broker: Broker
before(async () => {
  broker = await startBroker({ acls: true, properties: { 'transaction.max.timeout.ms': 60_000 } })
  process.env.KAFKA_BROKERS = broker.bootstrap
})
after(() => broker?.stop())

async function testbed(t: TestContext, name: string, options: TestbedOptions = {}): Promise<Testbed> {
  const env = { SCHEMA_DIR: schemaFolder(t, { [IRIS_SCHEMA_ID]: IRIS }), REQUEST_TIMEOUT_MS: '2000', ...options.env }
  const bed = await Testbed.create(name, { partitions: 1, ...options, env })
  t.after(() => bed.close())
  return bed
}

/** Nothing was lost, nothing came twice, and nothing was called bad for what was none of its fault. */
async function assertAllPredicted(bed: Testbed): Promise<void> {
  await bed.caughtUp()
  const outcome = await bed.outcome()
  assertExactlyOnce(await bed.audit(outcome))
  assert.deepEqual(outcome.deadLetters, [])
  assert.equal(outcome.predictions.length, outcome.inputs.length)
}

/** Expects that a worker keeps saying for a while that it is not ready, rather than changing its mind. */
async function assertStaysUnready(worker: Parameters<typeof health>[0]): Promise<void> {
  for (let sample = 0; sample < 20; sample++) {
    const { status, body } = await health(worker, 'ready')
    assert.equal(status, 503, `ready in between, sample ${sample}: ${JSON.stringify(body)}`)
    await delay(50)
  }
}

describe('a worker waits for the world around it, says why, and goes on by itself', { timeout: 180_000 }, () => {
  it('topics that do not exist', async t => {
    const bed = await testbed(t, 'topics')
    const { input, output, deadLetter } = bed
    await withAdmin(admin => admin.deleteTopics({ topics: [input, output, deadLetter] }))
    const worker = bed.startWorker()
    await assertWaits(worker, 'topic-missing', new RegExp(`Topics ${input}, ${output}, ${deadLetter} do not exist`))
    await createTopics({ [input]: 1 })
    await bed.produce(FLOWERS)
    await assertReason(worker, new RegExp(`Topics ${output}, ${deadLetter} do not exist`))
    await createTopics({ [output]: 1 })
    await assertReason(worker, new RegExp(`Topic ${deadLetter} does not exist`))
    await createTopics({ [deadLetter]: 1 })
    await worker.ready()
    await assertAllPredicted(bed)
  })

  it('brokers away at the start, and again while it runs', async t => {
    const bed = await testbed(t, 'broker')
    await bed.produce(FLOWERS)
    await broker.stop({ keepData: true })
    const worker = bed.startWorker()
    await assertWaits(worker, 'broker-unreachable', /ECONNREFUSED/s)
    await broker.start()
    await worker.ready()
    await bed.caughtUp()

    await bed.produce(FLOWERS)
    await broker.stop({ keepData: true })
    await assertWaits(worker, 'broker-unreachable', /fetching from|joining group/)
    await broker.start()
    await bed.produce(FLOWERS)
    await worker.ready()
    await assertAllPredicted(bed)
  })

  it('rights that it lacks, one after another', async t => {
    const { bootstrap, restricted } = broker.sasl!
    const login = { KAFKA_SASL_USERNAME: restricted.username, KAFKA_SASL_PASSWORD: restricted.password }
    const env = { KAFKA_BROKERS: bootstrap, KAFKA_SASL_MECHANISM: 'plain', ...login }
    const bed = await testbed(t, 'rights', { env })
    const { input, output, deadLetter, group, rollout, timeline } = bed
    await bed.produce([...FLOWERS, { value: 'a dead letter' }])
    const worker = bed.startWorker()
    await assertWaits(worker, 'not-authorised', new RegExp(`${rollout}.*TOPIC_AUTHORIZATION_FAILED`))
    await grant(AclResourceTypes.TOPIC, rollout, AclOperationTypes.READ)
    await assertWaits(worker, 'not-authorised', new RegExp(`[Dd]escribing topic ${input}.*TOPIC_AUTHORIZATION_FAILED`))

    await grant(AclResourceTypes.TOPIC, input, AclOperationTypes.READ)
    await assertReason(worker, new RegExp(`topic ${output}`))
    await grant(AclResourceTypes.TOPIC, output, AclOperationTypes.DESCRIBE)
    await grant(AclResourceTypes.TOPIC, deadLetter, AclOperationTypes.DESCRIBE)
    await assertReason(worker, new RegExp(`topic ${timeline}`))
    await createTopics({ [timeline]: 1 })
    await grant(AclResourceTypes.TOPIC, timeline, AclOperationTypes.WRITE)
    await assertReason(worker, new RegExp(`group ${group}.*GROUP_AUTHORIZATION_FAILED`))
    await grant(AclResourceTypes.GROUP, group, AclOperationTypes.READ)
    await assertReason(
      worker,
      new RegExp(`transactional id ${group}\\.${input}\\.0.*TRANSACTIONAL_ID_AUTHORIZATION_FAILED`),
    )
    await grant(AclResourceTypes.TRANSACTIONAL_ID, group, AclOperationTypes.WRITE, ResourcePatternTypes.PREFIXED)
    await assertReason(worker, new RegExp(`${output}.*TOPIC_AUTHORIZATION_FAILED`))
    await assertStaysUnready(worker)
    await grant(AclResourceTypes.TOPIC, output, AclOperationTypes.WRITE)
    await grant(AclResourceTypes.TOPIC, deadLetter, AclOperationTypes.WRITE)
    await worker.ready()
    await bed.caughtUp()
    const outcome = await bed.outcome()
    assertExactlyOnce(await bed.audit(outcome))
    assert.equal(outcome.deadLetters.length, 1)
  })

  it('a registry away at the start, and again when a new schema comes', async t => {
    const registry = new StubRegistry({ 1: IRIS, 2: IRIS })
    t.after(() => registry.close())
    const url = `${await registry.open()}/apis/ccompat`
    await registry.close()
    const bed = await testbed(t, 'registry', { partitions: 2, env: { SCHEMA_REGISTRY_URL: url } })
    const flowers = (id: number, partition: number) =>
      FLOWERS.map(({ value }) => ({ value: reframe(value, id), partition }))
    await bed.produce([...flowers(1, 0), ...flowers(1, 1)])
    const worker = bed.startWorker()
    await assertWaits(
      worker,
      'registry-unreachable',
      /registry at http:.*\/apis\/ccompat cannot be asked: .*ECONNREFUSED/,
    )
    await registry.open()
    await worker.ready()
    await bed.caughtUp()

    registry.broken = true
    await bed.produce([...flowers(2, 0), ...flowers(1, 1)])
    await assertWaits(worker, 'registry-unreachable', /did not give schema 2, but answered 404: .*no such page/)
    const [, other] = await endOffsets(bed.input)
    const goesOn = async () => (await committedOffsets(bed.group, bed.input))[1] === other
    await until(goesOn, () => `the partition with a known schema waits, too. ${worker.describe()}`)
    registry.broken = false
    await worker.ready()
    await assertAllPredicted(bed)
    assert.equal(registry.lookups.get(1), 1, 'a schema that is known is not asked for again')
  })

  it('an output topic that refuses what is published', async t => {
    const bed = await testbed(t, 'refused')
    await setTopic(bed.output, { 'max.message.bytes': '200' })
    await bed.produce(FLOWERS)
    const worker = bed.startWorker()
    const message = new RegExp(`records \\(\\d+ bytes\\) to ${bed.output}/0.*(MESSAGE_TOO_LARGE|RECORD_LIST_TOO_LARGE)`)
    await assertWaits(worker, 'output-refused', message)
    await assertStaysUnready(worker)
    assert.equal(worker.log.filter(line => line.code === 'output-refused' && line.condition).length, 1)
    await setTopic(bed.output, { 'max.message.bytes': '1000000' })
    await worker.ready()
    await assertAllPredicted(bed)
  })
})

async function assertReason(worker: Parameters<typeof health>[0], message: RegExp): Promise<void> {
  const deadline = performance.now() + 20_000
  for (;;) {
    const { body } = await health(worker, 'ready')
    if (body.reasons.some(reason => message.test(reason.message))) return
    if (performance.now() > deadline) assert.fail(`no reason ${message}: ${JSON.stringify(body)}\n${worker.describe()}`)
    await delay(25)
  }
}

async function grant(
  resourceType: kafkajs.AclResourceTypes,
  resourceName: string,
  operation: kafkajs.AclOperationTypes,
  resourcePatternType = ResourcePatternTypes.LITERAL,
): Promise<void> {
  const who = { principal: `User:${broker.sasl!.restricted.username}`, host: '*' }
  const what = { resourceType, resourceName, resourcePatternType, operation }
  await withAdmin(admin => admin.createAcls({ acl: [{ ...who, ...what, permissionType: AclPermissionTypes.ALLOW }] }))
}

async function setTopic(topic: string, config: Readonly<Record<string, string>>): Promise<void> {
  const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }]
  await withAdmin(admin => admin.alterConfigs({ validateOnly: false, resources }))
}

/** The same value under another schema id. */
function reframe(value: Buffer, id: number): Buffer {
  const copy = Buffer.from(value)
  copy.writeInt32BE(id, 1)
  return copy
}

describe('what waiting cannot mend ends the worker with exit code 1 and one line', { timeout: 60_000 }, () => {
  it('a password that is wrong', async t => {
    const { bootstrap, restricted } = broker.sasl!
    const login = { KAFKA_SASL_USERNAME: restricted.username, KAFKA_SASL_PASSWORD: 'not-the-secret' }
    const bed = await testbed(t, 'password', {
      env: { KAFKA_BROKERS: bootstrap, KAFKA_SASL_MECHANISM: 'plain', ...login },
    })
    const worker = bed.startWorker()
    await assertExits(worker, 1, 'authentication-failed', /SASL PLAIN authentication failed/)
    assert.doesNotMatch(JSON.stringify(worker.log), /not-the-secret/)
  })

  it('a registry that refuses the schema of the predictions', async t => {
    const registry = new StubRegistry({}, 409)
    t.after(() => registry.close())
    const bed = await testbed(t, 'refusal', { env: { SCHEMA_REGISTRY_URL: await registry.open() } })
    const message = new RegExp(`did not register the schema of ${bed.output}-value, but answered 409: incompatible`)
    await assertExits(bed.startWorker(), 1, 'registry-refused', message)
  })

  it('a transaction timeout above the limit of the broker', async t => {
    const bed = await testbed(t, 'timeout', { env: { TRANSACTION_TIMEOUT_MS: '60001' } })
    const worker = bed.startWorker()
    await assertExits(worker, 1, 'transaction-timeout-refused', /TRANSACTION_TIMEOUT_MS.*60001|60001/)
  })
})
