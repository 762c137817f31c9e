import assert from 'node:assert/strict'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readBundle } from '../../src/models/bundle.ts'
import { openPool } from './fixtures.ts'

const MEBIBYTE = 1024 * 1024

it('2,000 runs of 1,024 rows leave no memory behind', async t => {
  const bundle = await readBundle(fileURLToPath(new URL('../../models/digits-mlp/1', import.meta.url)))
  const pool = await openPool(bundle, 'cpu', { maxBatchSize: 1024 })
  t.after(() => pool.close())
  const slot = pool.acquire()!
  const runs = async (count: number) => {
    for (let i = 0; i < count; i++) await pool.run(slot, 0, 1024)
    return process.memoryUsage.rss()
  }
  const before = await runs(500)
  const after = await runs(2000)
  // The outputs alone come to 94 MiB: a thread that kept them would show.
  assert.ok(after - before < 48 * MEBIBYTE, `grew by ${Math.round((after - before) / MEBIBYTE)} MiB`)
})
