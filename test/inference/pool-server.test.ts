import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import { FakePool, type FakePoolOptions, LAYOUT, predictionFor } from '../pipeline/fake-pool.ts'
import { quiet, share, when } from './shared-pool.ts'

function rig(t: TestContext, options: FakePoolOptions & { clients?: number; mostHung?: number } = {}) {
  const { clients = 2, mostHung, ...rest } = options
  const pool = new FakePool({ slots: 2 * clients, ...rest })
  if (mostHung !== undefined) pool.hung.most = mostHung
  const shared = share(t, pool, LAYOUT, { clients })
  const woken = shared.clients.map(() => 0)
  for (const [i, client] of shared.clients.entries()) client.onAvailable(() => woken[i]!++)
  return { pool, ...shared, woken }
}

describe('a client of a pool', () => {
  it('has slots of its own, packs them and reads their outputs in place', async t => {
    const { pool, clients } = rig(t)
    const slots = clients.map(client => [client.acquire()!, client.acquire()!])
    assert.equal(new Set(slots.flat().map(({ id }) => id)).size, 4)
    assert.equal(clients[0]!.acquire(), undefined)

    const slot = slots[1]![0]!
    ;(slot.inputs[0]!.data as Float64Array).set([3, 4, 5, 6])
    const running = clients[1]!.run(slot, 1, 2)
    await when(() => pool.runs.length === 1)
    assert.deepEqual(pool.runs[0]!.features, [4, 5])
    pool.runs[0]!.succeed()
    const { waitMs, ...timings } = await running
    assert.deepEqual(timings, { computeMs: 1, provider: 'cpu', session: 0 })
    assert.ok(waitMs >= 0)
    assert.deepEqual([...(slot.outputs[0]!.data as Float64Array)].slice(1, 3), [predictionFor(4), predictionFor(5)])

    clients[1]!.release(slot)
    assert.equal(clients[1]!.acquire(), slot)
    clients[1]!.release(slot)
    assert.throws(() => clients[1]!.release(slot), { code: 'internal', message: /slot \d was released/ })
  })

  it('takes a session from the view of all others at once, before the message has arrived', async t => {
    const { pool, clients, woken } = rig(t)
    const [a, b] = clients as [(typeof clients)[0], (typeof clients)[0]]
    assert.deepEqual([a.idle, b.idle], [1, 1])
    const running = a.run(a.acquire()!, 0, 1)
    assert.equal(pool.runs.length, 0)
    assert.deepEqual([a.idle, b.idle], [0, 0])
    await when(() => pool.runs.length === 1)
    assert.deepEqual([a.idle, b.idle], [0, 0])
    await quiet()
    assert.deepEqual(woken, [0, 0])
    pool.runs[0]!.succeed()
    await running
    await quiet()
    assert.deepEqual([a.idle, b.idle], [1, 1])
    assert.deepEqual(woken, [1, 1])
  })

  it('is woken only if it found no session idle', async t => {
    const { pool, clients, woken } = rig(t, { clients: 3 })
    const [a, b] = clients
    const running = a!.run(a!.acquire()!, 0, 1)
    assert.equal(b!.idle, 0)
    await when(() => pool.runs.length === 1)
    pool.runs[0]!.succeed()
    await running
    await quiet()
    assert.deepEqual(woken, [0, 1, 0])
  })

  it('is woken when a run that took a session from its view was refused', async t => {
    const { pool, clients, woken } = rig(t)
    const [a, b] = clients
    pool.run = () => Promise.reject(new SluiceError('session-crashed', 'no session is left'))
    const refused = assert.rejects(a!.run(a!.acquire()!, 0, 1), (error: SluiceError) => {
      return (
        error.constructor === SluiceError &&
        error.code === 'session-crashed' &&
        /no session is left/.test(error.message)
      )
    })
    assert.equal(b!.idle, 0)
    await refused
    await quiet()
    assert.equal(b!.idle, 1)
    assert.deepEqual(woken, [0, 1])
  })

  it('cannot run a slot that is not its own', async t => {
    const { clients } = rig(t)
    const foreign = clients[0]!.acquire()!
    await assert.rejects(clients[1]!.run(foreign, 0, 1), { code: 'internal', message: /is not lent to/ })
  })

  it('has what it says of a session done by the pool', async t => {
    const { pool, clients } = rig(t)
    clients[1]!.distrust(0, 'it fails on a good row')
    await when(() => pool.distrusted.length > 0)
    assert.deepEqual(pool.distrusted, [{ session: 0, reason: 'it fails on a good row' }])
  })

  it('hears of too many that hang, though it has not looked, and though it came late', async t => {
    const { pool, clients, woken } = rig(t, { mostHung: 16 })
    const running = clients[0]!.run(clients[0]!.acquire()!, 0, 1)
    await when(() => pool.runs.length === 1)
    pool.hung = { count: 16, most: 16 }
    pool.runs[0]!.fail('session-hung')
    // It asks at once what that leaves.
    await assert.rejects(running, { code: 'session-hung', session: 0 })
    await quiet()
    assert.equal(woken[1], 1)
    const late = Promise.withResolvers<void>()
    clients[1]!.onAvailable(late.resolve)
    await late.promise
  })

  it('is done with when it is closed: what it waits for is rejected', async t => {
    const { pool, clients } = rig(t)
    const [a, b] = clients
    const slot = a!.acquire()!
    const running = assert.rejects(a!.run(slot, 0, 1), { code: 'session-crashed', message: /was closed/ })
    await when(() => pool.runs.length === 1)
    await a!.close()
    await running
    await assert.rejects(a!.run(slot, 0, 1), { code: 'session-crashed' })
    await assert.rejects(a!.reserve(), { code: 'session-crashed' })
    assert.equal(a!.idle, 0)
    assert.equal(a!.acquire(), undefined)
    // The run that it left behind ends, and the others go on.
    pool.runs[0]!.succeed()
    const next = b!.run(b!.acquire()!, 0, 1)
    await when(() => pool.runs.length === 1)
    pool.runs[0]!.succeed()
    assert.equal((await next).session, 0)
  })
})

describe('the server of a pool', () => {
  it('reports how many sessions are busy, whenever that changes', async t => {
    const { pool, clients, reports } = rig(t, { sessions: 2 })
    const [a, b] = clients
    const runs = [a!, b!].map(client => client.run(client.acquire()!, 0, 1))
    await when(() => pool.runs.length === 2)
    pool.runs[0]!.succeed()
    await runs[0]
    pool.runs[0]!.succeed()
    await runs[1]
    assert.deepEqual(reports, ['0 of 2', '1 of 2', '2 of 2', '1 of 2', '0 of 2'])
  })

  it('refuses more clients than there are slots for', t => {
    const { server } = rig(t)
    assert.throws(() => server.lend(), { code: 'internal', message: /too few slots/ })
  })
})
