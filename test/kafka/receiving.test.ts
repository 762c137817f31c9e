import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import createSocketFactory from 'kafkajs/src/network/socketFactory.js'
import { silentLog } from '../../src/core/log.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'

const BODY = Buffer.from(Array.from({ length: 600 }, (_, i) => i & 0xff))

interface Connection extends KafkajsConnection {
  readonly correlationId: number
  connect(): Promise<unknown>
  disconnect(): Promise<unknown>
}

/** A connection of kafkajs to a server that answers what the test says. */
async function connected(
  t: TestContext,
  socketFactory?: unknown,
): Promise<{ connection: Connection; next: () => Promise<Socket> }> {
  const server = createServer({ allowHalfOpen: true })
  const sockets: Socket[] = []
  server.on('connection', socket => {
    socket.setNoDelay(true).on('error', () => {})
    sockets.push(socket)
  })
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const options = { brokers: [], clientId: 'test', requestTimeoutMs: 5_000, metadataMaxAgeMs: 60_000 }
  const cluster = clusterTools(options, silentLog).create()
  const pool = await cluster.brokerPool.connectionPoolBuilder.build({ host: '127.0.0.1', port })
  if (socketFactory !== undefined) Object.assign(pool.pool[0]!, { socketFactory })
  const connection = pool.pool[0] as unknown as Connection
  const next = async () => {
    const [[socket]] = await Promise.all([once(server, 'connection'), connection.connect()])
    return socket as Socket
  }
  return { connection, next }
}

function ask(connection: Connection): Promise<Buffer> {
  const none = Buffer.alloc(0)
  const answer = connection.send({
    request: { apiKey: 18, apiVersion: 0, apiName: 'ApiVersions', encode: async () => ({ buf: none, buffer: none }) },
    response: {
      decode: async (raw: Buffer) => ({ raw: Buffer.from(raw) }),
      parse: async (decoded: { raw: Buffer }) => decoded.raw,
    },
  }) as Promise<Buffer>
  answer.catch(() => {}) // whoever asked hears of it
  return answer
}

function response(correlationId: number, body: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.writeInt32BE(4 + body.length, 0)
  head.writeInt32BE(correlationId, 4)
  return Buffer.concat([head, body])
}

/** Time for what was written to be read at the other end, of which nobody tells. */
const read = () => delay(15)

test('responses are whole wherever they are cut', async t => {
  const { connection, next } = await connected(t)
  const socket = await next()
  for (const cut of [1, 3, 4, 5, 7, 8, 9, 100, 607, 608, 609, 612, 613, 700]) {
    const id = connection.correlationId
    const answers = [ask(connection), ask(connection)]
    await once(socket, 'data')
    const both = Buffer.concat([response(id, BODY), response(id + 1, BODY)])
    socket.write(both.subarray(0, cut))
    await read()
    socket.write(both.subarray(cut))
    for (const answer of await Promise.all(answers)) assert.ok(answer.equals(BODY), `cut at ${cut}`)
  }
  await connection.disconnect()
})

test('what a socket that was given up says late does not reach the next one', async t => {
  const { connection, next } = await connected(t)
  const old = await next()
  await connection.disconnect()
  const now = await next()
  const id = connection.correlationId
  const answer = ask(connection)
  await once(now, 'data')
  const whole = response(id, BODY)
  now.write(whole.subarray(0, 100))
  await read()
  old.write(response(999, Buffer.from('late')))
  await read()
  now.write(whole.subarray(100))
  assert.ok((await answer).equals(BODY))
  await connection.disconnect()
})

test('an alert of TLS is not taken for the size of a response', async t => {
  const { connection, next } = await connected(t)
  const socket = await next()
  const answer = ask(connection)
  await once(socket, 'data')
  socket.write(Buffer.from('15030300020250', 'hex'))
  await assert.rejects(answer, /speaks TLS/)
})

test('connections that kafkajs makes for others beside ours get their own answers', async t => {
  const ours = await connected(t)
  const stock = await connected(t, createSocketFactory())
  const [ourSocket, stockSocket] = [await ours.next(), await stock.next()]
  for (let round = 0; round < 3; round++) {
    const ids = [ours.connection.correlationId, stock.connection.correlationId]
    const answers = [ask(ours.connection), ask(stock.connection)]
    await Promise.all([once(ourSocket, 'data'), once(stockSocket, 'data')])
    const [mine, other] = ids.map(id => response(id, BODY))
    ourSocket.write(mine!.subarray(0, 100))
    await read()
    stockSocket.write(other!)
    await read()
    ourSocket.write(mine!.subarray(100))
    for (const answer of await Promise.all(answers)) assert.ok(answer.equals(BODY))
  }
  await Promise.all([ours.connection.disconnect(), stock.connection.disconnect()])
})
