import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it, type TestContext } from 'node:test'
import { Worker } from 'node:worker_threads'
import { systemClock } from '../../src/core/clock.ts'
import { RunError } from '../../src/core/inference.ts'
import type { TensorSlot } from '../../src/core/tensor.ts'
import { PoolServer } from '../../src/inference/pool-server.ts'
import { MARK } from '../faults/marked-rows.ts'
import { type Fixture, fixture, lookup, ManualTimers, openPool, rowSums } from './fixtures.ts'
import { quiet, share, when } from './shared-pool.ts'

const SLOTS = 4

/** A pool of ONNX Runtime, shared by two clients. */
async function open(t: TestContext, model: Fixture, sessions = 'cpu', options: Parameters<typeof openPool>[2] = {}) {
  const pool = await openPool(model, sessions, { slots: SLOTS, maxBatchSize: 8, ...options })
  t.after(() => pool.close())
  const { clients } = share(t, pool, model.spec)
  return { pool, a: clients[0]!, b: clients[1]! }
}

function fill(slot: TensorSlot, ...elements: readonly unknown[]): void {
  for (const [i, element] of elements.entries()) slot.inputs[0]!.data[i] = element as never
}

describe('a client of a pool of ONNX Runtime', () => {
  it('gets outputs into its own view of the slot', async t => {
    const { a, b } = await open(t, rowSums(), 'cpu*2')
    const slots = [a.acquire()!, b.acquire()!] as const
    for (const slot of slots) fill(slot, 0, 0, 0, slot.id, 1, 2, 3, slot.id)
    const ran = await Promise.all([a.run(slots[0], 0, 2), b.run(slots[1], 0, 2)])
    assert.deepEqual(ran.map(({ session }) => session).sort(), [0, 1])
    for (const { id, outputs } of slots) {
      assert.deepEqual([...(outputs[0]!.data as Float32Array)].slice(0, 2), [id, 6 + id])
    }
  })

  it('takes strings in and out, the rows asked for and no others', async t => {
    const model = fixture('strings', { words: ['string', [2]] }, { code: ['int64', [2]], echo: ['string', [2]] })
    const { a } = await open(t, model)
    const slot = a.acquire()!
    fill(slot, 'ant', 'bee', 'cat', 'dog', 'ant', 'bee')
    await a.run(slot, 1, 2)
    assert.deepEqual((slot.outputs[1]!.data as string[]).slice(0, 8), ['', '', 'cat', 'dog', 'ant', 'bee', '', ''])
  })

  it('is told what the runtime refuses as the same error, and runs on', async t => {
    const { a } = await open(t, lookup())
    const slot = a.acquire()!
    fill(slot, 1n, 99n)
    await assert.rejects(a.run(slot, 0, 2), (error: RunError) => {
      assert.ok(error instanceof RunError)
      assert.deepEqual([error.code, error.session], ['inference-failed', 0])
      assert.match(error.message, /Gather.*idx=99/s)
      return true
    })
    await a.run(slot, 0, 1)
    assert.equal(slot.outputs[0]!.data[0], 10)
    await assert.rejects(a.run(slot, 0, 9), { code: 'internal', message: /out of range/ })
  })

  it('keeps a session that it has reserved from the others, until it releases it', async t => {
    const { a, b } = await open(t, rowSums())
    const by = await a.reserve()
    assert.deepEqual([a.idle, b.idle], [0, 0])
    const order: string[] = []
    const stranger = b.run(b.acquire()!, 0, 1).then(() => order.push('stranger'))
    const slot = a.acquire()!
    for (let i = 0; i < 3; i++) {
      await a.run(slot, 0, 1, { only: by.session, by })
      order.push('own')
    }
    by.release()
    by.release()
    await stranger
    assert.deepEqual(order, ['own', 'own', 'own', 'stranger'])
    await when(() => a.idle === 1)
  })

  it('gives back what it has reserved when it ends, and what it has asked for', async t => {
    const { pool, a, b } = await open(t, rowSums())
    await a.reserve()
    const asked = assert.rejects(a.reserve(), { code: 'session-crashed' })
    const next = b.reserve()
    await quiet()
    await a.close()
    await asked
    const by = await next
    await b.run(b.acquire()!, 0, 1, { only: by.session, by })
    by.release()
    await when(() => pool.idle === 1)
  })

  it('gets another slot for one that a hanging thread may still read', async t => {
    const clock = new ManualTimers()
    const threadUrl = new URL('./marked-thread.ts', import.meta.url)
    const { a } = await open(t, rowSums(), 'cpu', { clock, threadUrl, runTimeoutMs: 60_000 })
    const [haunted, other] = [a.acquire()!, a.acquire()!]
    fill(haunted, MARK.hangs)
    const rejected = assert.rejects(a.run(haunted, 0, 1), { code: 'session-hung', session: 0 })
    const rows = haunted.inputs[0]!.data as Float32Array<SharedArrayBuffer>
    await when(() => rows[1] === MARK.hanging)
    await clock.fire(60_000)
    await rejected
    assert.equal(a.hung.count, 1)
    t.after(() => {
      rows[0] = 1
      Atomics.notify(new Int32Array(rows.buffer), 0)
    })

    const lent = new Promise<void>(resolve => a.onAvailable(() => a.idle >= 0 && resolve()))
    a.release(haunted)
    a.release(other)
    await lent
    await quiet()
    const slots = [a.acquire()!, a.acquire()!]
    assert.equal(a.acquire(), undefined)
    assert.ok(!slots.some(({ id }) => id === haunted.id), 'the haunted slot is not packed again')
    // It is a slot like any other.
    assert.equal(await clock.fire(), 100)
    const slot = slots.find(({ id }) => id !== other.id)!
    fill(slot, 1, 2, 3, 4)
    await a.run(slot, 0, 1)
    assert.equal(slot.outputs[0]!.data[0], 10)
  })
})

describe('threads that share a pool', () => {
  it('run each row once, wake one another, and leave nothing behind when one dies', { timeout: 60_000 }, async t => {
    const THREADS = 3
    const RUNS = 400
    const model = rowSums()
    const pool = await openPool(model, 'cpu*2', { slots: 2 * THREADS, maxBatchSize: 4 })
    t.after(() => pool.close())
    const server = new PoolServer({ pool, clock: systemClock, layout: model.spec, clients: THREADS, slotsEach: 2 })
    t.after(() => server.close())
    const threads = Array.from({ length: THREADS }, (_, i) => {
      const loan = server.lend()
      // The last one dies amid its runs, with a session reserved.
      const workerData = { loan, runs: RUNS, dies: i === THREADS - 1 }
      return new Worker(new URL('./pool-client-thread.ts', import.meta.url), { workerData, transferList: [loan.port] })
    })
    const exits = threads.map(thread => once(thread, 'exit'))
    const ends = await Promise.all(threads.map(thread => once(thread, 'message')))
    assert.deepEqual(
      ends.map(([end]) => end),
      [`${RUNS} right`, `${RUNS} right`, 'dies'],
    )
    await Promise.all(exits)
    await when(() => pool.idle === 2)
  })
})
