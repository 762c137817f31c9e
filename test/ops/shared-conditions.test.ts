import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { SluiceError } from '../../src/core/errors.ts'
import { Health } from '../../src/ops/health.ts'
import { SharedConditions } from '../../src/ops/shared-conditions.ts'
import { recordingLog } from '../inference/fixtures.ts'

function rig() {
  const { log, lines } = recordingLog()
  const health = new Health({ clock: systemClock, log })
  health.enter('RUNNING')
  lines.length = 0
  const messages = () => health.ready().reasons.map(({ message }) => message)
  return { conditions: new SharedConditions(health), health, lines, messages }
}

const away = (message: string) => new SluiceError('broker-unreachable', message)
const refused = new SluiceError('not-authorised', 'no')

test('a condition of several threads begins with the first and ends with the last, and costs two lines', () => {
  const { conditions, health, lines, messages } = rig()
  for (const thread of [1, 2, 3]) conditions.set(thread, 'group', away(`away from ${thread}`))
  conditions.set(2, 'group', away('away again'))
  assert.deepEqual(messages(), ['away from 1'])
  conditions.clear(1, 'group')
  conditions.clear(1, 'group')
  assert.deepEqual(messages(), ['away again'])
  conditions.clear(3, 'group')
  assert.equal(health.ready().ok, false)
  conditions.clear(2, 'group')
  assert.equal(health.ready().ok, true)
  assert.deepEqual(
    lines.map(line => line.split(' ')[0]),
    ['warn', 'info'],
  )
})

test('of several errors under one key the oldest is shown, without going back and forth', () => {
  const { conditions, lines, messages } = rig()
  conditions.set(1, 'group', away('away'))
  for (let retry = 0; retry < 3; retry++) {
    conditions.set(2, 'group', refused)
    conditions.set(1, 'group', away('away'))
  }
  assert.deepEqual(messages(), ['away'])
  assert.equal(lines.length, 1)
  conditions.clear(1, 'group')
  assert.deepEqual(messages(), ['no'])
})

test('a partition that moves from thread to thread keeps its condition while the new one has it', () => {
  const { conditions, messages } = rig()
  conditions.set(1, 'partition-3', refused)
  conditions.set(2, 'partition-3', refused)
  conditions.clear(1, 'partition-3')
  assert.deepEqual(messages(), ['no'])
  conditions.clear(2, 'partition-3')
  conditions.clear(2, 'nothing')
  assert.deepEqual(messages(), [])
})
