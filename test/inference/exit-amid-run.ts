/** Run by close.test.ts: calls process.exit(5) while both sessions compute. */
import { fileURLToPath } from 'node:url'
import type { TensorSlot } from '../../src/core/tensor.ts'
import { readBundle } from '../../src/models/bundle.ts'
import { openPool } from './fixtures.ts'

const bundle = await readBundle(fileURLToPath(new URL('../../models/digits-mlp/1', import.meta.url)))
const pool = await openPool(bundle, 'cpu*2', { maxBatchSize: 8192 })

async function runForEver(slot: TensorSlot): Promise<never> {
  for (;;) await pool.run(slot, 0, slot.capacity)
}

void runForEver(pool.acquire()!)
void runForEver(pool.acquire()!)
setTimeout(() => process.exit(5), 20)
