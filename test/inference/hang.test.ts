import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { SluiceError } from '../../src/core/errors.ts'
import type { TensorSlot } from '../../src/core/tensor.ts'
import { MARK } from '../faults/marked-rows.ts'
import { type Fixture, fixture, ManualTimers, openPool, recordingLog, recordingTelemetry, rowSums } from './fixtures.ts'

const threadUrl = new URL('./marked-thread.ts', import.meta.url)
const RUN_TIMEOUT_MS = 60_000

async function open(t: TestContext, model: Fixture = rowSums(), sessions = 'cpu') {
  const clock = new ManualTimers()
  const { log, lines } = recordingLog()
  const { telemetry, events } = recordingTelemetry()
  const conditions: (SluiceError | undefined)[] = []
  const onCondition = (error: SluiceError | undefined) => conditions.push(error)
  const options = { clock, log, telemetry, onCondition, threadUrl, runTimeoutMs: RUN_TIMEOUT_MS, maxBatchSize: 8 }
  const pool = await openPool(model, sessions, options)
  const hanging: TensorSlot[] = []
  t.after(async () => {
    for (const slot of hanging) wake(slot)
    await pool.close()
  })
  /** Starts a run of all rows that hangs in the first, gives it up, and lets the session come back. */
  const hang = async (slot: TensorSlot) => {
    fill(slot, MARK.hangs)
    hanging.push(slot)
    const rejected = assert.rejects(pool.run(slot, 0, slot.capacity), { code: 'session-hung', session: 0 })
    await reached(slot)
    assert.equal(await clock.fire(RUN_TIMEOUT_MS), RUN_TIMEOUT_MS)
    await rejected
  }
  const back = async () => {
    const opened = new Promise<void>(resolve => pool.onAvailable(resolve))
    assert.equal(await clock.fire(), 100)
    await opened
  }
  return { pool, clock, lines, events, conditions, hang, back }
}

const inputsOf = (slot: TensorSlot) => slot.inputs[0]!.data as Float32Array
const sumsOf = (slot: TensorSlot) => slot.outputs[0]!.data as Float32Array

function fill(slot: TensorSlot, first: number): void {
  inputsOf(slot).fill(1)
  inputsOf(slot)[0] = first
}

/** Lets the thread go on that hangs in this row, which from now on holds an innocent number. */
function wake(slot: TensorSlot, row = 0): void {
  inputsOf(slot)[4 * row] = 1
  Atomics.notify(new Int32Array(inputsOf(slot).buffer as SharedArrayBuffer), 4 * row)
}

const soon = () => new Promise(resolve => setTimeout(resolve, 1))

/** Resolves once a thread has met the mark in this row. */
async function reached(slot: TensorSlot, row = 0): Promise<void> {
  while (inputsOf(slot)[4 * row + 1] !== MARK.hanging) await soon()
}

/** Resolves once no thread is left behind. */
async function ended(events: readonly string[]): Promise<void> {
  while (events.findLast(event => event.startsWith('left behind')) !== 'left behind 0') await soon()
}

describe('a session that hangs', () => {
  it('loses its run, its thread is left behind, and another serves', async t => {
    const { pool, events, conditions, lines, hang, back } = await open(t)
    const slot = pool.acquire()!
    await hang(slot)
    assert.equal(pool.idle, 0)
    assert.equal(conditions.length, 1)
    assert.match(
      lines.at(-1)!,
      /^error A session is down.*a run of 8 rows did not return within RUN_TIMEOUT_MS \(60000 ms\)/,
    )
    await back()
    assert.equal(conditions.at(-1), undefined)
    fill(slot, 3)
    await pool.run(slot, 0, 2)
    // The number that the first thread waits on has changed: it ends as soon as it looks.
    assert.equal(sumsOf(slot)[1], 4)
    assert.deepEqual(events.slice(0, 3), ['cpu hung', 'left behind 1', 'cpu restarted'])
  })

  it('and wakes writes nothing, though its slot is another batch’s by then', async t => {
    const { pool, events, hang, back } = await open(t)
    const slot = pool.acquire()!
    await hang(slot)
    await back()
    // The same slot, with the rows of others, and their outputs.
    fill(slot, 5)
    sumsOf(slot).fill(-1)
    wake(slot)
    await ended(events)
    assert.deepEqual([...sumsOf(slot)], new Array(8).fill(-1))
  })

  it('between the chunks of a fixed batch, too', async t => {
    const { pool, events, clock } = await open(
      t,
      fixture('row-sums-of-4', { x: ['float32', [4]] }, { sum: ['float32', [1]] }, 4),
    )
    const slot = pool.acquire()!
    fill(slot, 1)
    inputsOf(slot)[4 * 4] = MARK.hangs // the first row of the second chunk
    sumsOf(slot).fill(-1)
    const rejected = assert.rejects(pool.run(slot, 0, 8), { code: 'session-hung' })
    await reached(slot, 4)
    assert.equal(sumsOf(slot)[3], 4)
    await clock.fire(RUN_TIMEOUT_MS)
    await rejected
    sumsOf(slot).fill(-1)
    wake(slot, 4)
    await ended(events)
    assert.deepEqual([...sumsOf(slot)], new Array(8).fill(-1))
  })

  it('keeps its slot from being packed again until it has ended; a spare stands in', async t => {
    const { pool, events, hang } = await open(t)
    const slot = pool.acquire()!
    await hang(slot)
    pool.release(slot)
    const lent = [pool.acquire()!, pool.acquire()!]
    assert.ok(!lent.includes(slot))
    assert.equal(pool.acquire(), undefined)
    for (const each of lent) pool.release(each)
    wake(slot)
    await ended(events)
  })

  it('is not one when only this process was stopped: the time counts anew', async t => {
    const { pool, clock } = await open(t)
    const slot = pool.acquire()!
    fill(slot, MARK.hangs)
    const run = pool.run(slot, 0, 1)
    await reached(slot)
    clock.skip(RUN_TIMEOUT_MS + 5_000)
    await clock.fire(RUN_TIMEOUT_MS)
    await clock.armed(RUN_TIMEOUT_MS)
    wake(slot)
    await run
    assert.equal(sumsOf(slot)[0], MARK.hanging + 3)
  })

  it('is counted, so that whoever runs rows can stop in time; there are slots for that many', async t => {
    const { pool, hang, back } = await open(t)
    const { most } = pool.hung
    assert.ok(most >= 15, 'seven rows that hang in one batch can be found')
    for (let count = 1; count <= most; count++) {
      const slot = pool.acquire() ?? assert.fail('no spare slot')
      await hang(slot)
      pool.release(slot)
      assert.deepEqual(pool.hung, { count, most })
      await back()
    }
    fill(pool.acquire() ?? assert.fail('no spare slot'), 1)
  })
})

describe('the end of a process in which a session hangs', () => {
  const script = fileURLToPath(new URL('./exit-amid-hang.ts', import.meta.url))
  const run = promisify(execFile)

  for (const where of ['waits for a lock', 'is in native code'] as const) {
    it(`comes at once, with the code asked for, where its thread ${where}`, { timeout: 20_000 }, async t => {
      const folder = await mkdtemp(join(tmpdir(), 'sluice-hang-'))
      t.after(() => rm(folder, { recursive: true }))
      const pipe = join(folder, 'pipe')
      execFileSync('mkfifo', [pipe])
      const env = { ...process.env, ...(where === 'is in native code' ? { MARKED_ROWS_FIFO: pipe } : {}) }
      const ended = run(process.execPath, [script], { env, timeout: 15_000 })
      const failed = await ended.then(
        () => assert.fail('it ended with 0'),
        error => error as { code: number; signal: string | null; stdout: string; stderr: string },
      )
      assert.deepEqual([failed.code, failed.signal, failed.stderr], [5, null, ''])
      const tookMs = Date.now() - Number(failed.stdout)
      assert.ok(tookMs < 2_000, `${tookMs} ms`)
    })
  }
})
