/** A thread that runs rows on a pool of the main thread, as a batcher does: only while a session is idle, else it waits. */
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../src/core/clock.ts'
import { PoolClient } from '../../src/inference/pool-client.ts'
import type { PoolLoan } from '../../src/inference/pool-messages.ts'

const { loan, runs, dies } = workerData as { loan: PoolLoan; runs: number; dies: boolean }
const pool = new PoolClient(loan, systemClock)
let started = 0
let right = 0
let died = false

pool.onAvailable(startAll)
startAll()

function startAll(): void {
  while (started < runs && pool.idle > 0) {
    const slot = pool.acquire()
    if (slot === undefined) return
    const row = started++
    ;(slot.inputs[0]!.data as Float32Array).set([row, 1, 2, 3])
    void pool.run(slot, 0, 1).then(() => {
      if (slot.outputs[0]!.data[0] === row + 6) right++
      pool.release(slot)
      if (dies && row > runs / 2) void die()
      else if (row === runs - 1) end()
      else startAll()
    })
  }
}

function end(): void {
  // Two runs are under way at a time: the last one may end before the one before it.
  if (right < runs) setImmediate(end)
  else {
    parentPort!.postMessage(`${right} right`)
    void pool.close()
  }
}

async function die(): Promise<void> {
  if (died) return
  died = true
  await pool.reserve()
  parentPort!.postMessage('dies')
  process.exit()
}
