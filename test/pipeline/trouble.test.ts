import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, SluiceError } from '../../src/core/errors.ts'
import { Trouble } from '../../src/pipeline/trouble.ts'

function harness() {
  const heard: (ErrorCode | undefined)[] = []
  return { heard, trouble: new Trouble(error => heard.push(error?.code)) }
}

const refused = new SluiceError('output-refused', 'too large')
const away = new SluiceError('broker-unreachable', 'no broker answers')

test('trouble is over when the step that met it succeeds, and not before', () => {
  const { heard, trouble } = harness()
  trouble.met('commit', refused)
  trouble.passed('start', 'decode')
  trouble.passed('fetch')
  assert.equal(trouble.lasts, true)
  trouble.passed('start', 'fetch', 'commit')
  assert.equal(trouble.lasts, false)
  assert.deepEqual(heard, ['output-refused', undefined])
})

test('that it is over is said once, and never without trouble', () => {
  const { heard, trouble } = harness()
  trouble.passed('start')
  trouble.met('start', away)
  trouble.passed('start')
  trouble.passed('start')
  assert.deepEqual(heard, ['broker-unreachable', undefined])
})

test('the same again is no news; another step or another code is', () => {
  const { trouble } = harness()
  assert.equal(trouble.met('commit', refused), true)
  assert.equal(trouble.met('commit', refused), false)
  assert.equal(trouble.met('commit', away), true)
  assert.equal(trouble.met('start', away), true)
})
