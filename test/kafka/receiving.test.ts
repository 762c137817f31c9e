import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import createSocketFactory from 'kafkajs/src/network/socketFactory.js'
import { silentLog } from '../../src/core/log.ts'
import { answerMemory, type Loan } from '../../src/kafka/answer-memory.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'

const BODY = Buffer.from(Array.from({ length: 600 }, (_, i) => i & 0xff))

/** What a socket reads at a time, unless it reads in place. */
const READ_BYTES = 64 * 1024

/** Bodies that are read in place, for the most part; no two are alike, and no two regions of one. */
const LARGE_BYTES = 250_001
let bodies = 0
function largeBody(bytes = LARGE_BYTES): Buffer {
  const step = 2 * ++bodies + 1
  const body = Buffer.alloc(bytes)
  for (let at = 0, state = bodies; at < bytes; at++) {
    state = (Math.imul(state, 1_664_525) + step) >>> 0 // a linear congruential generator (Numerical Recipes)
    body[at] = state >>> 24
  }
  return body
}

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

/** Resolves with a copy of the answer; `look` is shown the answer itself. */
function ask(connection: Connection, look: (raw: Buffer) => void = () => {}): Promise<Buffer> {
  const none = Buffer.alloc(0)
  const answer = connection.send({
    request: { apiKey: 18, apiVersion: 0, apiName: 'ApiVersions', encode: async () => ({ buf: none, buffer: none }) },
    response: {
      decode: async (raw: Buffer) => {
        look(raw)
        return { raw: Buffer.from(raw) }
      },
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

for (const [whose, socketFactory] of [
  ['ours', undefined],
  ['of others', createSocketFactory()],
] as const) {
  test(`large responses, and what follows them at once, are whole wherever they are cut (sockets: ${whose})`, async t => {
    const { connection, next } = await connected(t, socketFactory)
    const socket = await next()
    const [large, second, small] = [largeBody(), largeBody(), BODY]
    const end = 8 + LARGE_BYTES
    const cuts: readonly number[][] = [
      [],
      [3],
      [4],
      [8, 9],
      [100, 100 + READ_BYTES],
      [READ_BYTES - 1, READ_BYTES, READ_BYTES + 1],
      [2, 70_000, 140_000, 210_000],
      [end - READ_BYTES - 1, end - READ_BYTES + 1],
      [end - READ_BYTES, end - 1],
      [100_000, end],
      [end + 1],
      [150_000, end + 7],
      [150_000, end + 8],
      [end - 10, end + 300],
    ]
    for (const bodies of [
      [large, second],
      [large, small, second],
    ]) {
      for (const cutAt of cuts) {
        const id = connection.correlationId
        const answers = bodies.map(() => ask(connection))
        await once(socket, 'data')
        const stream = Buffer.concat(bodies.map((body, i) => response(id + i, body)))
        let from = 0
        for (const cut of cutAt) {
          socket.write(stream.subarray(from, cut))
          from = cut
          await read()
        }
        socket.write(stream.subarray(from))
        for (const [i, answer] of (await Promise.all(answers)).entries()) {
          assert.ok(answer.equals(bodies[i]!), `answer ${i}, cut at ${cutAt}`)
        }
      }
    }
    await connection.disconnect()
  })
}

test('two connections get large answers at the same time, each its own', async t => {
  const both = [await connected(t), await connected(t)]
  const sockets = [await both[0]!.next(), await both[1]!.next()]
  for (const piece of [10_000, 70_000, LARGE_BYTES]) {
    const bodies = [largeBody(), largeBody()]
    const streams = both.map(({ connection }, i) => response(connection.correlationId, bodies[i]!))
    const answers = both.map(({ connection }) => ask(connection))
    await Promise.all(sockets.map(socket => once(socket, 'data')))
    for (let at = 0; at < 8 + LARGE_BYTES; at += piece) {
      for (const [i, socket] of sockets.entries()) {
        socket.write(streams[i]!.subarray(at, at + piece))
        await read()
      }
    }
    for (const [i, answer] of (await Promise.all(answers)).entries()) {
      assert.ok(answer.equals(bodies[i]!), `connection ${i}, in pieces of ${piece}`)
    }
  }
  await Promise.all(both.map(({ connection }) => connection.disconnect()))
})

test('a large answer is read in place, into memory that is used again once it was let go of', async t => {
  const { connection, next } = await connected(t)
  const socket = await next()
  const memories: ArrayBufferLike[] = []
  const reads: ArrayBufferLike[] = []
  ;(connection as unknown as { socket: Socket }).socket.on('data', chunk => reads.push((chunk as Buffer).buffer))
  const fetch = async (bytes: number): Promise<Loan> => {
    const body = largeBody(bytes)
    let loan: Loan | undefined
    const answer = ask(connection, raw => {
      memories.push(raw.buffer)
      loan = answerMemory.loanOf(raw)
    })
    await once(socket, 'data')
    socket.write(response(connection.correlationId - 1, body))
    assert.ok((await answer).equals(body))
    return loan!
  }
  const first = await fetch(LARGE_BYTES)
  assert.ok(reads.includes(memories[0]!))
  const second = await fetch(LARGE_BYTES)
  assert.notEqual(memories[1], memories[0], 'the first answer is still to be read')
  first.letGo()
  await fetch(LARGE_BYTES - 50_000)
  assert.equal(memories[2], memories[0])
  second.letGo()
  await fetch(LARGE_BYTES)
  assert.equal(memories[3], memories[1])
  await connection.disconnect()
})

test('a connection that ends amid a large answer gets the next one whole when it is made again', async t => {
  const { connection, next } = await connected(t)
  for (const cut of [3, 100, READ_BYTES, 150_000, LARGE_BYTES + 7]) {
    const broken = await next()
    const lost = ask(connection)
    await once(broken, 'data')
    broken.write(response(connection.correlationId - 1, largeBody()).subarray(0, cut))
    await read()
    broken.destroy()
    await assert.rejects(lost, { name: 'KafkaJSConnectionClosedError' }, `cut at ${cut}`)
    const socket = await next()
    const bodies = [largeBody(), largeBody()]
    const answers = bodies.map(() => ask(connection))
    await once(socket, 'data')
    const id = connection.correlationId - 2
    socket.write(Buffer.concat(bodies.map((body, i) => response(id + i, body))))
    for (const [i, answer] of (await Promise.all(answers)).entries()) {
      assert.ok(answer.equals(bodies[i]!), `answer ${i} after a cut at ${cut}`)
    }
    await connection.disconnect()
  }
})

test('the rest of a large answer that comes late, on a socket that was given up, ends up in no other', async t => {
  const { connection, next } = await connected(t)
  const old = await next()
  const stale = response(999, largeBody()) // to a request that nobody waits for any more
  old.write(stale.subarray(0, 100_000))
  await read()
  await connection.disconnect()
  const now = await next()
  const body = largeBody()
  const answer = ask(connection)
  await once(now, 'data')
  const fresh = response(connection.correlationId - 1, body)
  for (const [from, to] of [
    [0, 100_000],
    [100_000, 180_000],
    [180_000, fresh.length],
  ] as const) {
    now.write(fresh.subarray(from, to))
    await read()
    old.write(stale.subarray(from + 100_000, to + 100_000))
    await read()
  }
  assert.ok((await answer).equals(body))
  await connection.disconnect()
})

test('a closed connection that is disconnected again and again keeps nothing of it', async t => {
  const { connection, next } = await connected(t)
  const server = await next()
  const { socket } = connection
  server.destroy()
  await once(socket, 'close')
  const before = socket.listenerCount('connect')
  for (let i = 0; i < 20; i++) await connection.disconnect()
  assert.equal(socket.listenerCount('connect'), before)
})
