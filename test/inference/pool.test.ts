import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { TensorSlot } from '../../src/core/tensor.ts'
import { type Fixture, fixture, half, lookup, openPool, recordingLog, rowSums } from './fixtures.ts'

/** A pool that closes with the test, and a slot of it. */
async function open(t: TestContext, model: Fixture, sessions = 'cpu', options: Parameters<typeof openPool>[2] = {}) {
  const pool = await openPool(model, sessions, options)
  t.after(() => pool.close())
  return { pool, slot: pool.acquire()! }
}

const numbers = (slot: TensorSlot, index = 0) => slot.outputs[index]!.data as Float32Array

function fill(slot: TensorSlot, input: number, values: readonly (number | bigint | string)[]): void {
  for (let i = 0; i < values.length; i++) slot.inputs[input]!.data[i] = values[i]!
}

describe('the session pool', () => {
  it('computes the rows asked for and touches no others', async t => {
    const { pool, slot } = await open(t, rowSums())
    fill(slot, 0, [1, 1, 1, 1, 1, 2, 3, 4, 10, 20, 30, 40, 9, 9, 9, 9])
    numbers(slot).fill(-1)
    const timings = await pool.run(slot, 1, 2)
    assert.deepEqual([...numbers(slot).subarray(0, 4)], [-1, 10, 100, -1])
    assert.equal(timings.provider, 'cpu')
    assert.ok(timings.computeMs > 0 && timings.waitMs >= 0)
  })

  it('takes all element types and several inputs and outputs', async t => {
    const model = fixture(
      'types',
      { long: ['int64', [1]], flag: ['bool', []], double: ['float64', [2]], int: ['int32', [3]] },
      { next_int: ['int32', [3]], twice: ['float64', [2]], not_flag: ['bool', []], next_long: ['int64', [1]] },
    )
    const { pool, slot } = await open(t, model)
    fill(slot, 0, [2n ** 62n, -1n])
    fill(slot, 1, [1, 0])
    fill(slot, 2, [0.1, Number.NaN, 1e300, Number.POSITIVE_INFINITY])
    fill(slot, 3, [1, 2, 3, -1, -2, -3])
    await pool.run(slot, 0, 2)
    const outputs = slot.outputs.map(({ data, spec }) => [...data.slice(0, 2 * spec.width)])
    assert.deepEqual(outputs, [
      [2, 3, 4, 0, -1, -2],
      [0.2, Number.NaN, 2e300, Number.POSITIVE_INFINITY],
      [0, 1],
      [2n ** 62n + 1n, 0n],
    ])
  })

  it('carries 16-bit floats', async t => {
    const { pool, slot } = await open(t, half())
    fill(slot, 0, [0.1, -1.5, 65_504, 1e-8, 1, 2, Number.NaN, Number.NEGATIVE_INFINITY])
    await pool.run(slot, 0, 2)
    const twice = [...slot.outputs[0]!.data.slice(0, 8)]
    const tenth = 2 * Math.f16round(0.1)
    assert.deepEqual(twice, [tenth, -3, Number.POSITIVE_INFINITY, 0, 2, 4, Number.NaN, Number.NEGATIVE_INFINITY])
  })

  it('takes strings in and out', async t => {
    const model = fixture('strings', { words: ['string', [2]] }, { code: ['int64', [2]], echo: ['string', [2]] })
    const { pool, slot } = await open(t, model)
    fill(slot, 0, ['not', 'these', 'one', 'Zwölf ✓', '', 'two'])
    await pool.run(slot, 1, 2)
    assert.deepEqual([...slot.outputs[0]!.data.slice(2, 6)], [1n, -1n, -1n, 2n])
    assert.deepEqual(slot.outputs[1]!.data.slice(0, 8), ['', '', 'one', 'Zwölf ✓', '', 'two', '', ''])
  })

  for (const batch of [1, 4]) {
    it(`runs a graph with a fixed batch of ${batch} in chunks, the last one padded`, async t => {
      const shapes = [{ x: ['float32', [4]] }, { sum: ['float32', [1]] }] as const
      const { pool, slot } = await open(t, fixture(`row-sums-of-${batch}`, ...shapes, batch))
      fill(
        slot,
        0,
        Array.from({ length: 64 * 4 }, (_, i) => i),
      )
      numbers(slot).fill(-1)
      await pool.run(slot, 3, 10)
      const expected = Array.from({ length: 64 }, (_, row) => (row >= 3 && row < 13 ? 16 * row + 6 : -1))
      assert.deepEqual([...numbers(slot)], expected)
    })
  }

  it('never fetches an output that model.json does not name, which may be no tensor', async t => {
    const { pool, slot } = await open(t, fixture('sequence', { x: ['float32', [2]] }, { same: ['float32', [2]] }))
    fill(slot, 0, [3, 4])
    await pool.run(slot, 0, 1)
    assert.deepEqual([...numbers(slot).subarray(0, 2)], [3, 4])
  })

  it('refuses outputs of another shape, and says both', async t => {
    const { pool, slot } = await open(t, fixture('flattened', { x: ['float32', [2]] }, { flat: ['float32', []] }))
    await assert.rejects(pool.run(slot, 0, 3), {
      code: 'inference-failed',
      message: 'output "flat" has the shape [6], but model.json says [3] for 3 rows',
    })
  })

  it('lives on when the runtime refuses rows', async t => {
    const { log, lines } = recordingLog()
    const { pool, slot } = await open(t, lookup(), 'cpu', { log })
    fill(slot, 0, [1n, 99n, 3n])
    await assert.rejects(pool.run(slot, 0, 3), { code: 'inference-failed', message: /Gather.*idx=99/s })
    assert.equal(pool.idle, 1)
    await pool.run(slot, 0, 1)
    await pool.run(slot, 2, 1)
    assert.deepEqual([numbers(slot)[0], numbers(slot)[2]], [10, 30])
    assert.deepEqual(
      lines.filter(line => line.startsWith('error')),
      [],
    )
  })

  it('queues runs when no session is idle, first come first served', async t => {
    const { pool, slot } = await open(t, rowSums())
    const order: number[] = []
    const runs = [0, 1, 2, 3, 4].map(row => pool.run(slot, row, 1).then(() => order.push(row)))
    assert.equal(pool.idle, 0)
    await Promise.all(runs)
    assert.deepEqual(order, [0, 1, 2, 3, 4])
    assert.equal(pool.idle, 1)
  })

  it('says when a session is idle again, not while runs still wait, and when a slot comes back', async t => {
    const { pool, slot } = await open(t, rowSums())
    const seen: string[] = []
    pool.onAvailable(() => seen.push(`idle ${pool.idle}`))
    await Promise.all([pool.run(slot, 0, 1), pool.run(slot, 1, 1)])
    assert.deepEqual(seen, ['idle 1'])
    pool.release(slot)
    assert.deepEqual(seen, ['idle 1', 'idle 1'])
  })

  it('runs on several sessions at once and gets the same bytes from each', async t => {
    const { pool, slot } = await open(t, rowSums(), 'cpu*3', { slots: 3 })
    const slots = [slot, pool.acquire()!, pool.acquire()!]
    for (const each of slots) {
      fill(
        each,
        0,
        Array.from({ length: 64 * 4 }, (_, i) => Math.sin(i) * 1e3),
      )
    }
    const runs = slots.map(each => pool.run(each, 0, 64))
    assert.equal(pool.idle, 0)
    await Promise.all(runs)
    const bytes = slots.map(each => Buffer.from(numbers(each)).toString('hex'))
    assert.equal(new Set(bytes).size, 1)
    assert.ok(numbers(slot).some(value => value !== 0))
    assert.equal(pool.acquire(), undefined)
  })

  it('has two slots for each session, as large as asked for', async t => {
    const { pool, slot } = await open(t, rowSums(), 'cpu*2', { maxBatchSize: 7 })
    assert.equal(pool.size, 2)
    assert.deepEqual(pool.providers, ['cpu', 'cpu'])
    assert.equal(slot.capacity, 7)
    assert.equal(pool.slotCapacity, 7)
    const rest = [pool.acquire(), pool.acquire(), pool.acquire(), pool.acquire()]
    assert.deepEqual(
      rest.map(each => each !== undefined),
      [true, true, true, false],
    )
  })

  it('refuses rows that the slot does not have, and slots that are not lent', async t => {
    const { pool, slot } = await open(t, rowSums())
    for (const [first, rows] of [
      [-1, 1],
      [0, 0],
      [0, 65],
      [64, 1],
    ] as const) {
      await assert.rejects(pool.run(slot, first, rows), { code: 'internal', message: /which holds 64/ })
    }
    pool.release(slot)
    await assert.rejects(pool.run(slot, 0, 1), { code: 'internal' })
  })
})
