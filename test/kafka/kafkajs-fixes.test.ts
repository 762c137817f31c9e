import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { silentLog } from '../../src/core/log.ts'
import { clusterTools, forgetAllBrokers, forgetBroker } from '../../src/kafka/cluster.ts'

const require = createRequire(import.meta.url)

function createCluster(port = 1): KafkajsCluster {
  const brokers = [`127.0.0.1:${port}`]
  return clusterTools(
    { brokers, clientId: 'test', requestTimeoutMs: 1_000, metadataMaxAgeMs: 1_000 },
    silentLog,
  ).create()
}

/** A broker of the cluster's pool that was never connected. */
async function addBroker(cluster: KafkajsCluster, nodeId: number): Promise<KafkajsBroker> {
  const { brokerPool: pool } = cluster
  const connectionPool = await pool.connectionPoolBuilder.build({ host: '127.0.0.1', port: nodeId })
  const broker = pool.createBroker({ connectionPool, logger: pool.rootLogger, nodeId })
  pool.brokers[nodeId] = broker
  return broker
}

/** A server that takes connections and never says a word. */
async function silentServer(t: TestContext): Promise<{ server: Server; accepted: readonly Socket[]; port: number }> {
  const accepted: Socket[] = []
  const server = createServer(socket => accepted.push(socket))
  t.after(() => {
    server.close()
    for (const socket of accepted) socket.destroy()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return { server, accepted, port: (server.address() as { port: number }).port }
}

const partition = (partitionId: number, partitionErrorCode: number) => ({ partitionId, partitionErrorCode, leader: 1 })

for (let version = 0; version <= 6; version++) {
  const { parse } = require(`kafkajs/src/protocol/requests/metadata/v${version}/response`)

  test(`metadata v${version} of a topic with a partition that has no leader is taken for the others`, async () => {
    const topicMetadata = [{ topicErrorCode: 0, partitionMetadata: [partition(0, 0), partition(1, 5)] }]
    const { topicMetadata: parsed } = await parse({ topicMetadata })
    assert.deepEqual(
      parsed[0].partitionMetadata.map((p: { leader: number }) => p.leader),
      [1, -1],
    )
  })

  test(`metadata v${version} of a topic that does not exist is refused`, async () => {
    const topicMetadata = [{ topic: 'dlq', topicErrorCode: 3, partitionMetadata: [] }]
    await assert.rejects(parse({ topicMetadata }), { type: 'UNKNOWN_TOPIC_OR_PARTITION', topic: 'dlq' })
  })
}

for (const version of [0, 1]) {
  const { parse } = require(`kafkajs/src/protocol/requests/addPartitionsToTxn/v${version}/response`)

  test(`of partitions that may not be in a transaction, the one at fault is named (v${version})`, async () => {
    const answer = (...codes: number[]) => ({
      errors: [
        { topic: 'out', partitionErrors: [{ partition: 2, errorCode: codes[0] }] },
        { topic: 'dlq', partitionErrors: [{ partition: 0, errorCode: codes[1] }] },
      ],
    })
    await assert.rejects(parse(answer(55, 3)), { type: 'UNKNOWN_TOPIC_OR_PARTITION', topic: 'dlq/0' })
    await assert.rejects(parse(answer(47, 47)), { type: 'INVALID_PRODUCER_EPOCH' })
    assert.deepEqual(await parse(answer(0, 0)), answer(0, 0))
  })
}

test('a broker that takes the connection and does not answer the handshake is not connected', async t => {
  const { accepted, port } = await silentServer(t)
  const broker = await addBroker(createCluster(), port)
  await assert.rejects(broker.connect(), { name: 'KafkaJSRequestTimeoutError' })
  assert.equal(accepted.length, 1)
  assert.equal(broker.isConnected(), false)
  await broker.disconnect()
})

test('two that need a closed connection at once open one socket', async t => {
  const { server, accepted, port } = await silentServer(t)
  const connectionPool = (await createCluster().brokerPool.connectionPoolBuilder.build({
    host: '127.0.0.1',
    port,
  })) as unknown as { getConnection(): Promise<{ disconnect(): Promise<void> }> }
  const [one] = await Promise.all([connectionPool.getConnection(), connectionPool.getConnection()])
  // Sockets are accepted in the order in which they connect: with this one all before it have been counted.
  const last = createConnection(port, '127.0.0.1')
  await once(last, 'connect')
  while (accepted.at(-1)?.remotePort !== last.localPort) await once(server, 'connection')
  last.destroy()
  await one.disconnect()
  assert.equal(accepted.length, 2)
})

test('a broker that is forgotten leaves a seed to begin with, also when it was the last', async () => {
  const cluster = createCluster()
  const { brokerPool: pool } = cluster
  const broker = await addBroker(cluster, 1)
  pool.seedBroker = broker
  await forgetBroker(cluster, broker)
  assert.equal(pool.brokers[1], undefined)
  assert.ok(pool.seedBroker !== undefined && pool.seedBroker !== broker)
  assert.equal(pool.seedBroker.connectionPool.port, 1)
})

test('a broker that another has forgotten and replaced already is left alone', async () => {
  const cluster = createCluster()
  const old = await addBroker(cluster, 1)
  const fresh = await addBroker(cluster, 1)
  await forgetBroker(cluster, old)
  assert.equal(cluster.brokerPool.brokers[1], fresh)
  await forgetAllBrokers(cluster)
  assert.equal(cluster.brokerPool.brokers[1], undefined)
})
