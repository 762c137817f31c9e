import assert from 'node:assert/strict'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { type Fixture, ManualTimers, openPool, recordingLog, rowSums } from './fixtures.ts'

const threadUrl = new URL('./mortal-thread.ts', import.meta.url)
const DEADLY_ROWS = 13

async function open(t: TestContext, model: Fixture, sessions = 'cpu') {
  const clock = new ManualTimers()
  const { log, lines } = recordingLog()
  const pool = await openPool(model, sessions, { clock, log, threadUrl })
  t.after(() => pool.close())
  const slot = pool.acquire()!
  ;(slot.inputs[0]!.data as Float32Array).fill(1)
  const sums = slot.outputs[0]!.data as Float32Array
  const crash = () =>
    assert.rejects(pool.run(slot, 0, DEADLY_ROWS), { code: 'session-crashed', message: /session cpu died/ })
  return { pool, slot, sums, clock, lines, crash }
}

function assertWithin(delayMs: number, least: number): void {
  assert.ok(delayMs >= least && delayMs <= 1.2 * least, `${delayMs} is not in ${least} to ${1.2 * least}`)
}

describe('a session whose thread dies', () => {
  it('rejects its run, and is there again after the backoff', async t => {
    const { pool, slot, sums, clock, lines, crash } = await open(t, rowSums())
    await crash()
    assert.equal(pool.idle, 0)
    const waiting = pool.run(slot, 2, 1)
    sums.fill(0)
    assertWithin(await clock.fire(), 100)
    await waiting
    assert.deepEqual([...sums.subarray(0, 4)], [0, 0, 4, 0])
    assert.equal(pool.idle, 1)
    assert.match(lines.find(line => line.startsWith('error'))!, /A session died.*exit code 7/)
    assert.match(lines.at(-1)!, /A session is back/)
  })

  it('waits longer from crash to crash, until a run has succeeded', async t => {
    const { pool, slot, clock, crash } = await open(t, rowSums())
    const available = () => new Promise<void>(resolve => pool.onAvailable(resolve))
    for (const least of [100, 200, 400]) {
      await crash()
      const back = available()
      assertWithin(await clock.fire(), least)
      await back
    }
    await pool.run(slot, 0, 1)
    await crash()
    assertWithin(await clock.fire(), 100)
  })

  it('leaves the work to the others meanwhile', async t => {
    const { pool, slot, sums, clock, crash } = await open(t, rowSums(), 'cpu*2')
    await crash()
    assert.equal(pool.idle, 1)
    await pool.run(slot, 0, 2)
    assert.deepEqual([...sums.subarray(0, 2)], [4, 4])
    assert.equal(clock.pending, 1)
  })

  it('that cannot open the model again makes runs fail rather than wait, until it can', async t => {
    const { spec, modelFile: original } = rowSums()
    const folder = await mkdtemp(join(tmpdir(), 'sluice-crash-'))
    t.after(() => rm(folder, { recursive: true }))
    const modelFile = join(folder, 'model.onnx')
    await copyFile(original, modelFile)
    const { pool, slot, clock, crash } = await open(t, { spec, modelFile })

    await writeFile(modelFile, 'another model')
    await crash()
    const waiting = pool.run(slot, 0, 1)
    const rejected = assert.rejects(waiting, {
      code: 'session-crashed',
      message: /^no session is left, and restarts fail: .*model\.onnx cannot be used: its SHA-256 is/,
    })
    await clock.fire()
    await rejected
    await assert.rejects(pool.run(slot, 0, 1), { code: 'session-crashed', message: /no session is left/ })

    await copyFile(original, modelFile)
    const back = new Promise<void>(resolve => pool.onAvailable(resolve))
    await clock.fire()
    await back
    await pool.run(slot, 0, 1)
  })
})
