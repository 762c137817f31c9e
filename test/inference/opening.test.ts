import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import type { SluiceError } from '../../src/core/errors.ts'
import type { SessionPoolOptions } from '../../src/inference/pool.ts'
import { ManualTimers, openPool, recordingLog, recordingTelemetry, rowSums } from './fixtures.ts'
import { Openings } from './openings.ts'

const SLOW_MS = 30_000
const TOO_LONG_MS = 300_000

function prepare(t: TestContext) {
  const openings = new Openings()
  t.after(() => openings.release())
  const { log, lines } = recordingLog()
  const { telemetry, events } = recordingTelemetry()
  const conditions: (SluiceError | undefined)[] = []
  const onCondition = (error: SluiceError | undefined) => conditions.push(error)
  const options: Partial<SessionPoolOptions> = { log, telemetry, onCondition, threadUrl: openings.threadUrl }
  return { openings, options, lines, events, conditions }
}

/** Two sessions, of which the first hangs while it opens the model again. */
async function hangAgain(t: TestContext) {
  const { openings, options, lines, events } = prepare(t)
  const clock = new ManualTimers()
  const pool = await openPool(rowSums(), 'cpu*2', { ...options, clock })
  t.after(async () => {
    openings.release()
    await pool.close()
  })
  openings.next({ hang: 1 })
  pool.distrust(0, 'for the test')
  await clock.fire()
  await openings.reached()
  // The thread that was dismissed is gone: nothing but the opening is watched.
  while (clock.pending > 1) await new Promise(resolve => setTimeout(resolve, 1))
  return { pool, clock, openings, lines, events }
}

const text = (lines: readonly string[], pattern: RegExp) => lines.filter(line => pattern.test(line)).length

describe('a session that hangs while it opens the model again', { timeout: 20_000 }, () => {
  it('is not reserved beside one that serves, though that is busy', async t => {
    const { pool } = await hangAgain(t)
    const slot = pool.acquire()!
    const busy = pool.run(slot, 0, 1)
    const by = await pool.reserve()
    assert.equal(by.session, 1)
    await busy
    await pool.run(slot, 0, 1, { only: by.session, by })
    by.release()
  })

  it('is waited for only for a while, then left behind and replaced', async t => {
    const { pool, clock, openings, lines, events } = await hangAgain(t)
    const slot = pool.acquire()!
    const late = { code: 'session-crashed', message: /session 0 \(cpu\) is still opening the model after 30 s$/ }
    const waiting = assert.rejects(pool.run(slot, 0, 1, { only: 0 }), late)
    assert.equal(await clock.fire(SLOW_MS), SLOW_MS)
    await waiting
    await assert.rejects(pool.run(slot, 0, 1, { only: 0 }), late)
    assert.equal((await pool.run(slot, 0, 1, { not: 1 })).session, 1)
    assert.equal(pool.hung.count, 0)

    assert.equal(await clock.fire(TOO_LONG_MS), TOO_LONG_MS - SLOW_MS)
    assert.equal(pool.hung.count, 1)
    assert.equal(text(lines, /^error A session is down.*did not open the model within 300 s/), 1)
    const back = new Promise<void>(resolve => pool.onAvailable(() => pool.idle === 2 && resolve()))
    await clock.fire()
    await back
    await pool.run(slot, 0, 1, { only: 0 })

    openings.release()
    while (pool.hung.count > 0) await new Promise(resolve => setTimeout(resolve, 1))
    assert.deepEqual(events, ['cpu distrusted', 'cpu hung', 'left behind 1', 'cpu restarted', 'left behind 0'])
  })

  it('and comes back in time serves, however slow it was', async t => {
    const { pool, clock, openings } = await hangAgain(t)
    await clock.fire(SLOW_MS)
    const back = new Promise<void>(resolve => pool.onAvailable(() => pool.idle === 2 && resolve()))
    openings.release()
    await back
    assert.deepEqual([clock.pending, pool.hung.count], [0, 0])
    await pool.run(pool.acquire()!, 0, 1, { only: 0 })
  })
})

describe('the first opening of a model', { timeout: 20_000 }, () => {
  it('may take as long as it takes, and people are told that it does', async t => {
    const { openings, options, lines, conditions } = prepare(t)
    const clock = new ManualTimers()
    openings.next({ hang: 1 })
    const opened = openPool(rowSums(), 'cpu', { ...options, clock })
    await openings.reached()
    assert.equal(await clock.fire(SLOW_MS), SLOW_MS)
    assert.equal(clock.pending, 0)
    assert.deepEqual([conditions[0]!.code, conditions[0]!.response], ['session-opening', 'retry'])
    assert.match(conditions[0]!.message, /^session 0 \(cpu\) is still opening the model after 30 s$/)
    assert.equal(text(lines, /^warn A session is still opening the model/), 1)
    openings.release()
    const pool = await opened
    assert.deepEqual(conditions.slice(1), [undefined])
    await pool.close()
  })

  it('that one session is refused ends the start, though another one hangs', async t => {
    const { openings, options, lines } = prepare(t)
    openings.next({ hang: 1, refuse: 1 })
    await assert.rejects(openPool(rowSums(), 'cpu*2', { ...options, clock: hasty }), {
      code: 'session-failed',
      message: /CUDA error 46: all devices are busy$/,
    })
    assert.equal(text(lines, /^warn A session thread does not end/), 1)
  })
})

/** Patience is soon over. */
const hasty: Clock = {
  now: () => systemClock.now(),
  wallTime: () => systemClock.wallTime(),
  after: (ms, callback) => systemClock.after(ms, callback),
  sleep: (ms, signal) => systemClock.sleep(ms / 100, signal),
}
