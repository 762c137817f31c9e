import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import { MARK } from '../faults/marked-rows.ts'
import { ManualTimers, openPool, rowSums } from './fixtures.ts'

const run = promisify(execFile)

describe('closing a pool', () => {
  it('rejects what runs, what waits, and what comes later', async () => {
    const pool = await openPool(rowSums())
    const slot = pool.acquire()!
    const running = pool.run(slot, 0, 1)
    const waiting = pool.run(slot, 1, 1)
    const both = Promise.all([
      assert.rejects(running, { code: 'session-crashed', message: /was closed during a run/ }),
      assert.rejects(waiting, { code: 'session-crashed', message: 'the session pool was closed' }),
    ])
    await pool.close()
    await both
    await assert.rejects(pool.run(slot, 0, 1), { code: 'session-crashed', message: 'the session pool was closed' })
    assert.equal(pool.idle, 0)
    assert.equal(pool.acquire(), undefined)
    pool.release(slot)
    await pool.close()
  })

  it('cancels the restart of a crashed session', async () => {
    const clock = new ManualTimers()
    const threadUrl = new URL('./marked-thread.ts', import.meta.url)
    const pool = await openPool(rowSums(), 'cpu', { clock, threadUrl, runTimeoutMs: 0 })
    const slot = pool.acquire()!
    slot.inputs[0]!.data[0] = MARK.kills
    await assert.rejects(pool.run(slot, 0, 1), { code: 'session-crashed' })
    assert.equal(clock.pending, 1)
    await pool.close()
    assert.equal(clock.pending, 0)
  })

  it('has one listener in the process for the exit, however many pools there are, and none when they are closed', async () => {
    const before = process.listenerCount('exit')
    const pools = await Promise.all([openPool(rowSums()), openPool(rowSums(), 'cpu*2')])
    assert.equal(process.listenerCount('exit'), before + 1)
    await Promise.all(pools.map(pool => pool.close()))
    assert.equal(process.listenerCount('exit'), before)
  })

  it('does not wait for ever for a run that hangs; its thread needs the listener until it has ended', async () => {
    const before = process.listenerCount('exit')
    const threadUrl = new URL('./marked-thread.ts', import.meta.url)
    const { now, wallTime, after } = systemClock
    const clock: Clock = { now, wallTime, after, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) }
    const pool = await openPool(rowSums(), 'cpu', { clock, threadUrl, runTimeoutMs: 0 })
    const slot = pool.acquire()!
    const inputs = slot.inputs[0]!.data as Float32Array
    inputs[0] = MARK.hangs
    const rejected = assert.rejects(pool.run(slot, 0, 1), {
      code: 'session-crashed',
      message: /was closed during a run/,
    })
    while (inputs[1] !== MARK.hanging) await systemClock.sleep(1)
    await pool.close()
    await rejected
    assert.equal(process.listenerCount('exit'), before + 1)
    inputs[0] = 1
    Atomics.notify(new Int32Array(inputs.buffer as SharedArrayBuffer), 0)
    while (process.listenerCount('exit') > before) await systemClock.sleep(1)
  })

  it('leaves nothing that keeps the process alive', async () => {
    const script = fileURLToPath(new URL('./open-and-close.ts', import.meta.url))
    const { stdout } = await run(process.execPath, [script], { timeout: 30_000 })
    assert.equal(stdout, 'sum 10\nmodel-corrupt\n')
  })

  it('is not needed for process.exit to end the process as told, even amid runs', async () => {
    const script = fileURLToPath(new URL('./exit-amid-run.ts', import.meta.url))
    // Without the pool's exit handler about every second one would be aborted by a signal.
    for (let attempt = 0; attempt < 5; attempt++) {
      await assert.rejects(run(process.execPath, [script], { timeout: 30_000 }), { code: 5, signal: null })
    }
  })
})
