import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { openPool, rowSums } from './fixtures.ts'

async function open(t: TestContext, sessions: string) {
  const pool = await openPool(rowSums(), sessions)
  t.after(() => pool.close())
  return { pool, slot: pool.acquire()! }
}

describe('a session that is reserved', () => {
  it('takes the runs of its reservation, and no others until it is released', async t => {
    const { pool, slot } = await open(t, 'cpu')
    const by = await pool.reserve()
    assert.equal(pool.idle, 0)
    const order: string[] = []
    const stranger = pool.run(slot, 0, 1).then(() => order.push('stranger'))
    for (let i = 0; i < 3; i++) {
      await pool.run(slot, 1, 1, { only: by.session, by })
      order.push('own')
    }
    let available = false
    pool.onAvailable(() => {
      available = true
    })
    by.release()
    await stranger
    assert.deepEqual(order, ['own', 'own', 'own', 'stranger'])
    assert.ok(available)
    assert.equal(pool.idle, 1)
  })

  it('is another than the one to avoid where there is one, and leaves the others to everybody', async t => {
    const { pool, slot } = await open(t, 'cpu*2')
    const by = await pool.reserve({ not: 0 })
    assert.equal(by.session, 1)
    assert.equal(pool.idle, 1)
    const sessions = await Promise.all([0, 1, 2].map(row => pool.run(slot, row, 1)))
    assert.deepEqual(
      sessions.map(({ session }) => session),
      [0, 0, 0],
    )
    by.release()
  })

  it('goes to those who want it in turn', async t => {
    const { pool } = await open(t, 'cpu')
    const order: number[] = []
    const holders = [0, 1, 2].map(async holder => {
      const by = await pool.reserve({ not: 0 })
      order.push(holder)
      await new Promise(resolve => setImmediate(resolve))
      order.push(holder)
      by.release()
    })
    await Promise.all(holders)
    assert.deepEqual(order, [0, 0, 1, 1, 2, 2])
  })
})
