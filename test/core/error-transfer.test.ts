import assert from 'node:assert/strict'
import { test } from 'node:test'
import { packError, unpackError } from '../../src/core/error-transfer.ts'
import { SluiceError } from '../../src/core/errors.ts'
import { RunError } from '../../src/core/inference.ts'

const sent = (error: unknown) => unpackError(structuredClone(packError(error)))

test('an error for people arrives as one, with its code, its remedy, and the message of its cause', () => {
  const error = new SluiceError('invalid-config', 'HTTP_PORT is in use', { cause: new Error('EADDRINUSE') })
  const arrived = sent(error) as SluiceError
  assert.equal(arrived.constructor, SluiceError)
  assert.deepEqual(
    [arrived.code, arrived.message, arrived.cause, arrived.exitCode, arrived.remedy],
    ['invalid-config', 'HTTP_PORT is in use', 'EADDRINUSE', 2, error.remedy],
  )
})

test('an error of a session keeps the session, be it the first one', () => {
  for (const session of [0, 3]) {
    const arrived = sent(new RunError('session-hung', 'it hangs', session)) as RunError
    assert.equal(arrived.constructor, RunError)
    assert.deepEqual([arrived.code, arrived.message, arrived.session], ['session-hung', 'it hangs', session])
  }
})

test('a defect keeps its stack, and what is thrown that is no error its text', () => {
  const defect = new TypeError('x is not a function')
  const arrived = sent(defect)
  assert.ok(!(arrived instanceof SluiceError))
  assert.deepEqual([arrived.message, arrived.stack], [defect.message, defect.stack])
  assert.equal(sent('thrown').message, 'thrown')
})
