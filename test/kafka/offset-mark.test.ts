import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatMark, parseMark } from '../../src/kafka/offset-mark.ts'
import { ID } from './java-messages.ts'
import { propertyOptions } from './stock.ts'

test('a mark reads as it was written', () => {
  const digits = fc.stringMatching(/^[0-9a-f]{12}$/)
  const marks = fc.record(
    {
      topicId: fc.uint8Array({ minLength: 16, maxLength: 16 }).map(id => Buffer.from(id).toString('base64url')),
      leaderEpoch: fc.nat(),
      lost: fc.constant(true),
      serving: digits,
      range: fc.record(
        { request: digits, from: fc.maxSafeNat(), to: fc.maxSafeNat(), by: fc.stringMatching(/^[\w.-]{1,9}$/) },
        { noNullPrototype: true },
      ),
    },
    { requiredKeys: ['topicId'], noNullPrototype: true },
  )
  fc.assert(
    fc.property(marks, mark => {
      const written = formatMark(mark)
      assert.ok(written.length <= 160, written)
      assert.deepEqual(parseMark(written), mark)
    }),
    propertyOptions,
  )
})

test('it is in words that a person who lists the offsets of a group understands', () => {
  assert.equal(formatMark({ topicId: ID, leaderEpoch: 12 }), `sluice topic-id=${ID} leader-epoch=12`)
  assert.equal(formatMark({ topicId: ID, lost: true }), `sluice lost topic-id=${ID}`)
  const range = { request: '0123456789ab', from: 17, to: 101, by: 'as-of' }
  assert.equal(formatMark({ topicId: ID, range }), `sluice topic-id=${ID} replay=0123456789ab:17-101:as-of`)
})

test('the stand-in of former releases is still known as one', () => {
  assert.deepEqual(parseMark('sluice: the committed offset was missing'), { lost: true })
})

test('an offset that a person or another tool has set has no mark, whatever is written beside it', () => {
  const damaged = [`sluice topic-id=${ID.slice(1)}`, `sluice topic-id=${ID} leader-epoch=`, `x sluice topic-id=${ID}`]
  for (const metadata of ['', 'moved by hand', '{"topic-id":1}', 'sluice', ...damaged]) {
    assert.equal(parseMark(metadata), undefined, metadata)
  }
})
