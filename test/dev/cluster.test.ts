import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import kafkajs, { Kafka, logLevel } from 'kafkajs'
import { retry } from '../../dev/ready.ts'
import { type ProxiedCluster, startClusterBehindProxies } from '../../faults/proxy/behind-proxy.ts'
import '../../src/kafka/kafkajs-fixes.ts'

const TOPIC = 'letters'
const PARTITIONS = 6
// Not among the names that Node finds in a CommonJS module.
const { TOPIC: TOPIC_RESOURCE } = kafkajs.ConfigResourceTypes
suite('a cluster of three nodes, each behind a proxy', { timeout: 120_000 }, () => {
  let stage: ProxiedCluster
  before(async () => {
    stage = await startClusterBehindProxies()
  })
  after(() => stage?.close())

  test('keeps three replicas of every topic, of which two must have a record', async () => {
    const admin = client(stage.cluster.bootstrap).admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: PARTITIONS }], waitForLeaders: false })
    await stage.cluster.inSync()
    const { topics } = await admin.fetchTopicMetadata()
    const replicas = Object.fromEntries(topics.map(({ name, partitions }) => [name, replicasOf(partitions)]))
    assert.deepEqual(replicas, { [TOPIC]: [3], __consumer_offsets: [3], __transaction_state: [3] })
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [
        { type: TOPIC_RESOURCE, name: TOPIC, configNames: ['min.insync.replicas'] },
        { type: TOPIC_RESOURCE, name: '__transaction_state', configNames: ['min.insync.replicas'] },
      ],
    })
    assert.deepEqual(
      resources.map(({ configEntries }) => configEntries[0]!.configValue),
      ['2', '2'],
    )
    await admin.disconnect()
  })

  test('takes records with acks=all while a node is dead, and has that node in sync again after its restart', async () => {
    const [, victim] = stage.cluster.nodes
    const { bootstrap, pid } = victim!
    await victim!.kill()
    assert.equal(victim!.pid, undefined)
    await publishEverywhere('while dead')
    await assert.rejects(
      stage.cluster.inSync(500),
      /^Error: Not in sync after 0.5 s: \d+ partitions, among them .*in sync/,
    )
    await victim!.start()
    await stage.cluster.inSync()
    assert.equal(victim!.bootstrap, bootstrap)
    assert.notEqual(victim!.pid, pid)
  })

  test('takes records with acks=all while a node is paused, and has that node in sync again when it goes on', async () => {
    const [paused] = stage.cluster.nodes
    paused!.pause()
    await publishEverywhere('while paused')
    paused!.resume()
    await stage.cluster.inSync()
    const expected = ['while dead', 'while paused'].flatMap(value =>
      Array.from({ length: PARTITIONS }, (_, partition) => `${value} of ${partition}`),
    )
    assert.deepEqual(await readAll(expected.length), expected)
  })

  test('closes with a node paused, and leaves no data', async () => {
    const folders = stage.cluster.nodes.map(({ folder }) => folder)
    stage.cluster.nodes[2]!.pause()
    await stage.close()
    assert.deepEqual(
      folders.filter(folder => existsSync(folder)),
      [],
    )
    assert.throws(() => stage.cluster.nodes[2]!.resume(), /does not run/)
  })

  /** Publishes a record into each partition, by way of the proxies, until two replicas have each of them. */
  async function publishEverywhere(value: string): Promise<void> {
    // A client of its own for each try, by way of node 3, which is not struck: kafkajs goes on asking a node that takes
    // its connection and does not answer.
    const publish = async () => {
      const producer = client(stage.proxies[2]!.bootstrap).producer()
      await producer.connect()
      try {
        const messages = Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, value }))
        await producer.send({ topic: TOPIC, acks: -1, messages })
      } finally {
        await producer.disconnect()
      }
    }
    await retry(publish, AbortSignal.timeout(20_000))
  }

  /** The first `count` different records, as `value of partition`. */
  async function readAll(count: number): Promise<string[]> {
    const consumer = client(stage.cluster.bootstrap).consumer({ groupId: 'readers' })
    await consumer.connect()
    await consumer.subscribe({ topic: TOPIC, fromBeginning: true })
    const records = new Set<string>()
    const { promise, resolve } = Promise.withResolvers<void>()
    await consumer.run({
      eachMessage: async ({ partition, message }) => {
        if (records.add(`${message.value} of ${partition}`).size === count) resolve()
      },
    })
    await promise
    await consumer.disconnect()
    return [...records].sort()
  }
})

function client(bootstrap: string): Kafka {
  return new Kafka({
    clientId: 'sluice-test',
    brokers: bootstrap.split(','),
    connectionTimeout: 1_000,
    requestTimeout: 1_000,
    enforceRequestTimeout: true,
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 200, retries: 3 },
  })
}

function replicasOf(partitions: readonly { readonly replicas: readonly number[] }[]): number[] {
  return [...new Set(partitions.map(({ replicas }) => replicas.length))]
}
