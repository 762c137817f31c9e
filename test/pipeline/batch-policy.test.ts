import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decide } from '../../src/pipeline/batch-policy.ts'
import { propertyOptions } from './property-options.ts'

const batch = (rows: number, openedAt = 0) => ({ rows, capacity: 8, openedAt })

test('an empty batch is never closed', () => {
  assert.equal(decide(batch(0), 3, 99, 0), 'gather')
  assert.equal(decide(batch(0), 3, 99, 10), 'gather')
})

test('a full batch closes at once, also when every session is busy', () => {
  assert.deepEqual(decide(batch(8), 0, 0, 10), { close: 'full' })
})

test('while all sessions are busy rows gather, however old the batch is', () => {
  assert.equal(decide(batch(7), 0, 1_000, 10), 'gather')
})

test('a free session takes what waits at once when no delay is allowed', () => {
  assert.deepEqual(decide(batch(1), 1, 0, 0), { close: 'session-free' })
})

test('with a delay the batch closes when its first row has waited that long', () => {
  assert.deepEqual(decide(batch(1, 100), 1, 104, 10), { waitMs: 6 })
  assert.deepEqual(decide(batch(1, 100), 1, 110, 10), { close: 'delay' })
  assert.deepEqual(decide(batch(1, 100), 1, 111, 10), { close: 'delay' })
})

test('looked at again after waitMs, a batch closes; and none ever waits longer than the delay', () => {
  const args = fc.record({
    rows: fc.integer({ min: 0, max: 8 }),
    free: fc.nat(3),
    openedAt: fc.nat(1_000),
    age: fc.nat(100),
    delay: fc.nat(50),
  })
  fc.assert(
    fc.property(args, ({ rows, free, openedAt, age, delay }) => {
      const now = openedAt + age
      const decision = decide(batch(rows, openedAt), free, now, delay)
      const mayClose = rows === 8 || (rows > 0 && free > 0 && age >= delay)
      assert.equal(typeof decision === 'object' && 'close' in decision, mayClose)
      if (typeof decision === 'object' && 'waitMs' in decision) {
        assert.ok(decision.waitMs > 0 && age + decision.waitMs <= delay)
        assert.deepEqual(decide(batch(rows, openedAt), free, now + decision.waitMs, delay), { close: 'delay' })
      }
    }),
    propertyOptions,
  )
})
