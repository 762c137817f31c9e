import assert from 'node:assert/strict'
import { once } from 'node:events'
import { suite, type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { KafkaProxy } from '../../faults/proxy/kafka-proxy.ts'
import { EchoBroker, FrameClient } from './frame-peers.ts'

interface Line {
  readonly proxy: KafkaProxy
  readonly broker: EchoBroker
  client(clientId?: string): FrameClient
}

async function line(t: TestContext): Promise<Line> {
  const [proxy, broker] = await Promise.all([KafkaProxy.listen(), EchoBroker.start()])
  proxy.forwardTo(broker.address)
  const clients: FrameClient[] = []
  t.after(async () => {
    for (const client of clients) client.socket.destroy()
    await proxy.close()
    await broker.close()
  })
  const client = (clientId?: string) => {
    const made = new FrameClient(proxy.address, clientId)
    clients.push(made)
    return made
  }
  return { proxy, broker, client }
}

/** A request and its answer, after which everything that was sent before on this connection has arrived. */
async function roundTrip(client: FrameClient, correlationId: number): Promise<void> {
  client.send('Metadata', correlationId)
  const ids = await client.answered(client.answers.length + 1)
  assert.equal(ids.at(-1), correlationId)
}

/** The figure, once it has stayed the same for half a second, and is more than nothing. */
async function steady(figure: () => number): Promise<number> {
  let seen = 0
  for (let same = 0; same < 5; await delay(100)) {
    const now = figure()
    same = now > 0 && now === seen ? same + 1 : 0
    seen = now
  }
  return seen
}

suite('a proxy without faults', { timeout: 20_000 }, () => {
  test('passes frames in order, whole, however they are cut', async t => {
    const { client } = await line(t)
    const peer = client()
    const sizes = [0, 1, 70_000, 3, 1_500_000, 12]
    const payloads = sizes.map((size, i) => Buffer.alloc(size, i + 1))
    for (const [i, payload] of payloads.entries()) peer.send('Produce', i, payload)
    assert.deepEqual(await peer.answered(sizes.length), [0, 1, 2, 3, 4, 5])
    for (const [i, { body }] of peer.answers.entries()) assert.ok(body.equals(payloads[i]!), `answer ${i} differs`)
  })

  test('passes ends on: of the client, of the broker, and of a broker that is not there', async t => {
    const { proxy, broker, client } = await line(t)
    const leaving = client()
    await roundTrip(leaving, 1)
    const [served] = [...broker.sockets]
    leaving.socket.end()
    await once(served!, 'close')

    const left = client()
    await roundTrip(left, 1)
    for (const socket of broker.sockets) socket.end()
    assert.equal(await left.ended, 'end')

    const gone = await EchoBroker.start()
    proxy.forwardTo(gone.address)
    await gone.close()
    assert.equal(await client().ended, 'end')
  })

  test('makes a sender wait whose receiver does not read', async t => {
    const { client } = await line(t)
    const peer = client()
    peer.socket.pause()
    const payload = Buffer.alloc(256 * 1024)
    const frames = 400
    for (let i = 0; i < frames; i++) peer.send('Produce', i, payload)
    const taken = await steady(() => frames * payload.length - peer.socket.writableLength)
    // The kernel's buffers of four sockets, and a megabyte and a frame in each lane; it sends 100 MB.
    assert.ok(taken < 48 * 1024 * 1024, `${taken} bytes were taken from a client that reads none`)
    peer.socket.resume()
    await peer.answered(frames)
  })

  test('closes with connections open, and may be closed twice', async t => {
    const { proxy, client } = await line(t)
    const peer = client()
    await roundTrip(peer, 1)
    proxy.block()
    const held = proxy.strikeNext('hold', { api: 'EndTxn' })
    await proxy.close()
    await proxy.close()
    assert.equal(proxy.connections, 0)
    assert.equal(held.hits, 0)
    assert.match(await peer.ended, /end|ECONNRESET/)
  })
})

suite('a faulty line', { timeout: 20_000 }, () => {
  test('cut by reset or by end, for all clients or for one', async t => {
    const { proxy, client } = await line(t)
    const [one, other, third] = [client('one'), client('other'), client('third')]
    await Promise.all([one, other, third].map(peer => roundTrip(peer, 1)))
    assert.equal(proxy.cut('reset', { clientId: 'one' }), 1)
    assert.equal(await one.ended, 'ECONNRESET')
    assert.equal(proxy.cut('end', { clientId: /^oth/ }), 1)
    assert.equal(await other.ended, 'end')
    await roundTrip(third, 2)
    assert.equal(proxy.cut(), 1)
    assert.equal(await third.ended, 'ECONNRESET')
  })

  test('refusing new connections, while the open ones go on', async t => {
    const { proxy, client } = await line(t)
    const old = client()
    await roundTrip(old, 1)
    const refusal = proxy.refuse()
    assert.equal(await client().ended, 'ECONNRESET')
    await refusal.hit
    assert.equal(refusal.hits, 1)
    await roundTrip(old, 2)
    refusal.lift()
    await roundTrip(client(), 1)
  })

  test('half-open in one direction or both: what was sent arrives when it is lifted', async t => {
    const { proxy, broker, client } = await line(t)
    const peer = client()
    const answers = proxy.block('answers')
    peer.send('Metadata', 1)
    await answers.hit
    assert.deepEqual([broker.received, peer.answers], [[1], []])
    answers.lift()
    await peer.answered(1)

    const requests = proxy.block('requests', { api: 'Produce' })
    await roundTrip(peer, 2)
    assert.equal(requests.hits, 0)
    peer.send('Produce', 3)
    peer.socket.end()
    await requests.hit
    // A connection that was made later is a different one: its frames pass only as far as the fault lets them.
    await roundTrip(client(), 4)
    assert.deepEqual(broker.received, [1, 2, 4])
    requests.lift()
    await broker.until(4)
    assert.deepEqual(broker.received, [1, 2, 4, 3])
  })

  test('half-open: the end of a connection does not pass either', async t => {
    const { proxy, broker, client } = await line(t)
    const leaving = client()
    await roundTrip(leaving, 1)
    // The other one comes later: of two that connect at once, either may be the broker's first.
    const [served] = [...broker.sockets]
    const left = client()
    await roundTrip(left, 1)
    const block = proxy.block('requests')
    leaving.socket.end()
    await block.hit
    assert.equal(broker.sockets.size, 2)
    const closed = once(served!, 'close')
    block.lift()
    await closed

    const answers = proxy.block('answers')
    for (const socket of broker.sockets) socket.end()
    await answers.hit
    assert.equal(left.socket.readableEnded, false)
    answers.lift()
    assert.equal(await left.ended, 'end')
  })

  test('slow: frames that come together are late together', async t => {
    const { proxy, client } = await line(t)
    const peer = client()
    await roundTrip(peer, 0)
    const late = proxy.delay(150)
    const begun = performance.now()
    for (let i = 1; i <= 20; i++) peer.send('Metadata', i)
    assert.deepEqual(
      (await peer.answered(21)).slice(1),
      Array.from({ length: 20 }, (_, i) => i + 1),
    )
    const tookMs = performance.now() - begun
    // 150 ms there and 150 ms back; one after another they would need 6 s.
    assert.ok(tookMs >= 290 && tookMs < 3_000, `${tookMs} ms`)
    assert.equal(late.hits, 40)
  })

  test('narrow: as many bytes a second as it says, over all connections, until it is lifted', async t => {
    const { proxy, client } = await line(t)
    const peers = [client(), client()]
    await Promise.all(peers.map(peer => roundTrip(peer, 0)))
    const throttle = proxy.throttle(100_000)
    const begun = performance.now()
    for (const peer of peers) peer.send('Produce', 1, Buffer.alloc(15_000))
    await Promise.all(peers.map(peer => peer.answered(2)))
    const tookMs = performance.now() - begun
    // 30 kB one way need 300 ms; the first answer travels beside the second request, the second takes 150 ms more.
    assert.ok(tookMs >= 440 && tookMs < 3_000, `${tookMs} ms`)
    for (const peer of peers) peer.send('Produce', 2, Buffer.alloc(1_000_000))
    throttle.lift()
    await Promise.all(peers.map(peer => peer.answered(3)))
    assert.ok(performance.now() - begun < 8_000, 'what was throttled goes on when the fault is lifted')
  })
})

suite('the next request', { timeout: 20_000 }, () => {
  test('is held, with all behind it, also after its client has gone', async t => {
    const { proxy, broker, client } = await line(t)
    const hold = proxy.strikeNext('hold', { api: 'EndTxn', clientId: 'client' })
    const bystander = client('other')
    bystander.send('EndTxn', 7)
    await bystander.answered(1)
    const zombie = client()
    await roundTrip(zombie, 1)
    zombie.send('EndTxn', 2, Buffer.from('late'))
    zombie.send('Heartbeat', 3)
    await hold.hit
    zombie.socket.destroy()
    await roundTrip(client(), 4)
    assert.deepEqual(broker.received, [7, 1, 4])
    hold.lift()
    assert.equal(String(await hold.answer), 'late')
    await broker.until(5)
    assert.deepEqual(broker.received, [7, 1, 4, 2, 3])
  })

  test('is held for a time, and survives that its connection is cut', async t => {
    const { proxy, broker, client } = await line(t)
    const hold = proxy.strikeNext('hold', {}, 200)
    const peer = client()
    const begun = performance.now()
    peer.send('EndTxn', 1)
    await hold.hit
    proxy.cut()
    assert.equal(await peer.ended, 'ECONNRESET')
    assert.deepEqual(broker.received, [])
    assert.ok(await hold.answer)
    assert.ok(performance.now() - begun >= 195)
    assert.deepEqual(broker.received, [1])
  })

  test('is doubled, and answered once', async t => {
    const { proxy, broker, client } = await line(t)
    const twice = proxy.strikeNext('double', { api: 'EndTxn' })
    const peer = client()
    for (const id of [1, 2]) peer.send('Metadata', id)
    peer.send('EndTxn', 3, Buffer.from('once'))
    for (const id of [4, 5]) peer.send('EndTxn', id)
    assert.deepEqual(await peer.answered(5), [1, 2, 3, 4, 5])
    assert.deepEqual(broker.received, [1, 2, 3, 3, 4, 5])
    assert.equal(String(await twice.answer), 'once')
    assert.equal(twice.hits, 1)
  })

  test('is not answered, and those around it are; two faults strike one request each', async t => {
    const { proxy, broker, client } = await line(t)
    const drops = [1, 2].map(() => proxy.strikeNext('drop-answer', { api: 'EndTxn' }))
    const peer = client()
    peer.send('Metadata', 1)
    for (const id of [2, 3, 4]) peer.send('EndTxn', id)
    assert.deepEqual(await peer.answered(2), [1, 4])
    await Promise.all(drops.map(drop => drop.answer))
    assert.deepEqual(broker.received, [1, 2, 3, 4])
  })

  test('reaches the broker though its client is cut off at once', async t => {
    const { proxy, broker, client } = await line(t)
    const fault = proxy.strikeNext('cut-after-request', { api: 'EndTxn' })
    const peer = client()
    peer.send('EndTxn', 1)
    assert.equal(await peer.ended, 'ECONNRESET')
    assert.ok(await fault.answer)
    assert.deepEqual([broker.received, peer.answers], [[1], []])
  })

  test('is answered, and its client cut off before it hears', async t => {
    const { proxy, broker, client } = await line(t)
    const fault = proxy.strikeNext('cut-before-answer', { api: 'EndTxn' })
    const peer = client()
    peer.send('Metadata', 1)
    peer.send('EndTxn', 2)
    assert.equal(await peer.ended, 'ECONNRESET')
    assert.ok(await fault.answer)
    assert.deepEqual(broker.received, [1, 2])
    assert.deepEqual(await peer.answered(1), [1])
  })

  test('is spared when the fault was called off', async t => {
    const { proxy, client } = await line(t)
    const fault = proxy.strikeNext('drop-answer', {})
    fault.lift()
    await roundTrip(client(), 1)
    assert.equal(fault.hits, 0)
  })
})

test('a connection that does not speak Kafka is given up, and says why', { timeout: 10_000 }, async t => {
  const { proxy, client } = await line(t)
  const warned = once(process, 'warning')
  const peer = client()
  peer.socket.write('GET / HTTP/1.1\r\n\r\n')
  const [warning] = (await warned) as [Error]
  assert.match(warning.message, /gave a connection up: A frame of \d+ bytes is not Kafka's protocol/)
  await peer.ended
  await roundTrip(client(), 1)
  assert.ok(proxy.connections >= 1)
})
