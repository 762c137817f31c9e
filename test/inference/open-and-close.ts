/** Run by close.test.ts: opens a pool, uses and closes it, fails to open another, and must then end by itself. */
import { fixture, openPool, rowSums } from './fixtures.ts'

const pool = await openPool(rowSums(), 'cpu*2')
const slot = pool.acquire()!
;(slot.inputs[0]!.data as Float32Array).set([1, 2, 3, 4])
await pool.run(slot, 0, 1)
console.log(`sum ${slot.outputs[0]!.data[0]}`)
await pool.close()

const broken = fixture('truncated', { x: ['float32', [4]] }, { y: ['float32', [4]] })
await openPool(broken, 'cpu*2').catch(error => console.log(error.code))
