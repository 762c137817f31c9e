import assert from 'node:assert/strict'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { MARK } from '../faults/marked-rows.ts'
import { type Fixture, ManualTimers, openPool, recordingLog, recordingTelemetry, rowSums } from './fixtures.ts'

const threadUrl = new URL('./marked-thread.ts', import.meta.url)
/** The row that kills. */
const DEADLY = 7

async function open(t: TestContext, model: Fixture, sessions = 'cpu') {
  const clock = new ManualTimers()
  const { log, lines } = recordingLog()
  const { telemetry, events } = recordingTelemetry()
  const conditions: (string | undefined)[] = []
  const onCondition = (error: Error | undefined) => conditions.push(error?.message)
  const options = { clock, log, threadUrl, telemetry, onCondition, runTimeoutMs: 0 }
  const pool = await openPool(model, sessions, options)
  t.after(() => pool.close())
  const slot = pool.acquire()!
  const inputs = slot.inputs[0]!.data as Float32Array
  inputs.fill(1)
  inputs[4 * DEADLY] = MARK.kills
  const sums = slot.outputs[0]!.data as Float32Array
  const crash = (session = 0) =>
    assert.rejects(pool.run(slot, DEADLY, 1, { only: session }), {
      code: 'session-crashed',
      session,
      message: `session ${session} (cpu) died during a run: its thread ended with exit code 7`,
    })
  const back = () => new Promise<void>(resolve => pool.onAvailable(resolve))
  return { pool, slot, sums, clock, lines, crash, back, conditions, events }
}

function assertWithin(delayMs: number, least: number): void {
  assert.ok(delayMs >= least && delayMs <= 1.2 * least, `${delayMs} is not in ${least} to ${1.2 * least}`)
}

describe('a session whose thread dies', () => {
  it('rejects its run, and is there again after a moment; people hear of both', async t => {
    const { pool, slot, sums, clock, lines, crash, conditions, events } = await open(t, rowSums())
    await crash()
    assert.equal(pool.idle, 0)
    assert.deepEqual(conditions, ['no session is open: it starts again, and records wait'])
    const waiting = pool.run(slot, 2, 1)
    sums.fill(0)
    assert.equal(await clock.fire(), 100)
    await waiting
    assert.deepEqual([...sums.subarray(0, 4)], [0, 0, 4, 0])
    assert.equal(pool.idle, 1)
    assert.match(lines.find(line => line.startsWith('error'))!, /A session is down.*exit code 7/)
    assert.match(lines.at(-1)!, /A session is back/)
    assert.equal(conditions.at(-1), undefined)
    assert.deepEqual(events, ['cpu crashed', 'cpu restarted'])
  })

  it('in run after run is replaced as soon each time: how often that may be is up to the isolation', async t => {
    const { clock, crash, back } = await open(t, rowSums())
    for (let time = 0; time < 6; time++) {
      await crash()
      const returned = back()
      assert.equal(await clock.fire(), 100)
      await returned
    }
  })

  it('leaves the work to the others meanwhile, and the worker ready', async t => {
    const { pool, slot, sums, clock, crash, conditions } = await open(t, rowSums(), 'cpu*2')
    await crash()
    assert.equal(pool.idle, 1)
    const { session } = await pool.run(slot, 0, 2)
    assert.equal(session, 1)
    assert.deepEqual([...sums.subarray(0, 2)], [4, 4])
    assert.equal(clock.pending, 1)
    assert.deepEqual(conditions, [])
  })

  it('keeps the runs waiting that are meant for it, and those that are meant for any other', async t => {
    const { pool, slot, clock, crash } = await open(t, rowSums(), 'cpu*2')
    await crash(1)
    const [first, other, second] = [
      pool.run(slot, 0, 1, { only: 1 }),
      pool.run(slot, 1, 1, { not: 0 }),
      pool.run(slot, 2, 1, { not: 1 }),
    ]
    assert.equal((await second).session, 0)
    await clock.fire()
    assert.deepEqual([(await first).session, (await other).session], [1, 1])
  })

  it('that cannot open the model again makes runs fail rather than wait, until it can', async t => {
    const { spec, modelFile: original } = rowSums()
    const folder = await mkdtemp(join(tmpdir(), 'sluice-crash-'))
    t.after(() => rm(folder, { recursive: true }))
    const modelFile = join(folder, 'model.onnx')
    await copyFile(original, modelFile)
    const { pool, slot, clock, crash, back } = await open(t, { spec, modelFile })

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
    // These grow: only waiting can help.
    for (const least of [100, 200]) assertWithin(await clock.fire(), least)
    await clock.armed()

    await copyFile(original, modelFile)
    const returned = back()
    assertWithin(await clock.fire(), 400)
    await returned
    await pool.run(slot, 0, 1)
  })

  it('and is the only one that is not lost takes what was to go to another', async t => {
    const { spec, modelFile: original } = rowSums()
    const folder = await mkdtemp(join(tmpdir(), 'sluice-crash-'))
    t.after(() => rm(folder, { recursive: true }))
    const modelFile = join(folder, 'model.onnx')
    await copyFile(original, modelFile)
    const { pool, slot, clock, crash } = await open(t, { spec, modelFile }, 'cpu*2')
    await writeFile(modelFile, 'another model')
    await crash(1)
    const waiting = pool.run(slot, 0, 1, { not: 0 })
    await clock.fire()
    assert.equal((await waiting).session, 0)
  })
})

describe('a session that is not trusted', () => {
  it('gets a new thread at once when idle, after its run when busy; a second time it waits longer', async t => {
    const { pool, slot, clock, back, lines, events } = await open(t, rowSums())
    pool.distrust(0, 'it fails on a good row')
    assert.equal(pool.idle, 0)
    assert.match(lines.at(-1)!, /^error A session is down.*it fails on a good row/)
    let returned = back()
    assertWithin(await clock.fire(), 100)
    await returned

    // It died of its new thread's first run as well: nothing has succeeded since.
    ;(slot.inputs[0]!.data as Float32Array)[0] = MARK.refused
    const run = pool.run(slot, 0, 1)
    pool.distrust(0, 'again')
    await assert.rejects(run, { code: 'inference-failed', session: 0 })
    assert.equal(pool.idle, 0)
    returned = back()
    assertWithin(await clock.fire(), 200)
    await returned
    await pool.run(slot, 1, 1)
    const each = ['cpu distrusted', 'cpu restarted']
    assert.deepEqual(events, [...each, ...each])
  })
})
