import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Agreements } from '../../src/replay/agreement.ts'

test('counts by version and class, in the order of people', () => {
  const agreements = new Agreements()
  agreements.count('10', '1', false)
  agreements.count('2', '10', true)
  agreements.count('2', '9', false)
  agreements.count('2', '9', true)
  agreements.count('2', undefined, false)
  assert.deepEqual(agreements.all, [
    { version: '2', class: undefined, compared: 1, different: 0 },
    { version: '2', class: '9', compared: 2, different: 1 },
    { version: '2', class: '10', compared: 1, different: 1 },
    { version: '10', class: '1', compared: 1, different: 0 },
  ])
})
