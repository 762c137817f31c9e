/** Run by hang.test.ts: leaves a thread behind that hangs, prints the time, and calls process.exit(5). */
import { MARK } from '../faults/marked-rows.ts'
import { openPool, rowSums } from './fixtures.ts'

const threadUrl = new URL('./marked-thread.ts', import.meta.url)
const pool = await openPool(rowSums(), 'cpu', { threadUrl, runTimeoutMs: 200 })
const slot = pool.acquire()!
slot.inputs[0]!.data[0] = MARK.hangs
await pool.run(slot, 0, 1).catch(error => error.code === 'session-hung' || process.exit(1))
await pool.close()
process.stdout.write(String(Date.now()))
process.exit(5)
