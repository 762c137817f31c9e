import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Clock } from '../../src/core/clock.ts'
import { SluiceError } from '../../src/core/errors.ts'
import type { Log } from '../../src/core/log.ts'
import { Health } from '../../src/ops/health.ts'

function setUp() {
  const time = { now: 0 }
  const clock = { now: () => time.now, wallTime: () => Date.UTC(2026, 0, 1) + time.now } as Clock
  const lines: [level: string, message: string, fields: Record<string, unknown>][] = []
  const at = (level: string) => (fields: Record<string, unknown>, message: string) =>
    lines.push([level, message, fields])
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => log }
  const changes: boolean[] = []
  const health = new Health({ clock, log, onReady: ready => changes.push(ready) })
  return { time, lines, changes, health }
}

const unreachable = (message = 'no broker answers at a:1') => new SluiceError('broker-unreachable', message)

describe('Health', () => {
  test('is ready while running with nothing wrong, and alive until closed', () => {
    const { health, changes } = setUp()
    const seen = (['STARTING', 'RUNNING', 'DRAINING', 'CLOSED'] as const).map(state => {
      health.enter(state)
      return [health.state, health.ready().ok, health.live().ok]
    })
    assert.deepEqual(seen, [
      ['STARTING', false, true],
      ['RUNNING', true, true],
      ['DRAINING', false, true],
      ['CLOSED', false, false],
    ])
    assert.deepEqual(changes, [true, false])
  })

  test('says what keeps it from being ready, since when, and what to do', () => {
    const { health, time, changes } = setUp()
    health.enter('RUNNING')
    time.now = 1000
    health.set('fetch', unreachable())
    const error = new SluiceError('offset-missing', 'the offset of in/2 is gone')
    health.set('task:in/2', error)
    const report = health.ready()
    assert.equal(report.ok, false)
    assert.deepEqual(
      report.reasons.map(({ code, since }) => [code, since]),
      [
        ['broker-unreachable', '2026-01-01T00:00:01.000Z'],
        ['offset-missing', '2026-01-01T00:00:01.000Z'],
      ],
    )
    assert.deepEqual([report.reasons[1]!.message, report.reasons[1]!.remedy], [error.message, error.remedy])
    assert.equal(health.live().ok, true)
    health.clear('fetch')
    assert.equal(health.ready().ok, false)
    health.clear('task:in/2')
    assert.equal(health.ready().ok, true)
    assert.deepEqual(changes, [true, false, true])
  })

  test('what is only noted does not keep it from being ready', () => {
    const { health, time } = setUp()
    health.enter('RUNNING')
    time.now = 2000
    const error = new SluiceError('golden-mismatch', 'golden sample 1 is wrong')
    health.note('rollout', error)
    const { ok, reasons, notices } = health.ready()
    assert.deepEqual([ok, reasons], [true, []])
    const { code, message, remedy } = error
    assert.deepEqual(notices, [{ code, message, remedy, since: '2026-01-01T00:00:02.000Z' }])
    health.clearNote('rollout')
    assert.deepEqual(health.ready().notices, [])
  })

  test('logs a condition when it begins and when it ends, not at every retry', () => {
    const { health, time, lines } = setUp()
    const error = unreachable()
    health.set('fetch', error)
    for (let attempt = 1; attempt <= 5; attempt++) {
      time.now += 1000
      health.set('fetch', unreachable(`no broker answers at a:1, attempt ${attempt}`))
    }
    assert.equal(health.ready().reasons[0]!.message, 'no broker answers at a:1, attempt 5')
    assert.equal(health.ready().reasons[0]!.since, '2026-01-01T00:00:00.000Z')
    health.clear('fetch')
    health.clear('fetch')
    assert.deepEqual(lines, [
      ['warn', 'no broker answers at a:1', { condition: 'fetch', error }],
      [
        'info',
        'over after 5 s: no broker answers at a:1, attempt 5',
        { condition: 'fetch', code: 'broker-unreachable', seconds: 5 },
      ],
    ])
  })

  test('another fault under the same key is another condition', () => {
    const { health, time, lines } = setUp()
    health.set('fetch', unreachable())
    time.now = 500
    health.set('fetch', new SluiceError('topic-missing', 'topic in is missing'))
    assert.deepEqual(
      lines.map(([level, message]) => [level, message]),
      [
        ['warn', 'no broker answers at a:1'],
        ['warn', 'topic in is missing'],
      ],
    )
    assert.deepEqual(
      health.ready().reasons.map(({ code, since }) => [code, since]),
      [['topic-missing', '2026-01-01T00:00:00.500Z']],
    )
  })
})
