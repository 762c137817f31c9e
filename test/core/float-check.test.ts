import assert from 'node:assert/strict'
import { it } from 'node:test'
import { allocateCheckable, bufferOf, floatCheckOf } from '../../src/core/float-check.ts'

const BYTES = 1 << 16

it('finds each float that is not finite, wherever it lies, and no other', () => {
  const memory = bufferOf(allocateCheckable(BYTES))
  const bytes = Buffer.from(memory)
  const check = floatCheckOf(memory)!
  assert.ok(check, 'there is a fast check')
  const good = [0, -0, 1.5, -3.4028234663852886e38, 3.4028234663852886e38, 1e-45, -1e-45]
  const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const count of [1, 2, 3, 4, 5, 7, 8, 31, 784]) {
    for (const from of [0, 4, 8, 12, 4096, BYTES - 4 * count]) {
      // What lies around them is none of their business.
      bytes.fill(0xff)
      for (let i = 0; i < count; i++) bytes.writeFloatLE(good[i % good.length]!, from + 4 * i)
      assert.equal(check(from, count), true, `${count} from byte ${from}`)
      for (let at = 0; at < count; at += 1 + (at >> 3)) {
        const value = bad[at % bad.length]!
        bytes.writeFloatLE(value, from + 4 * at)
        assert.equal(check(from, count), false, `${value} at ${at} of ${count} from byte ${from}`)
        bytes.writeFloatLE(good[at % good.length]!, from + 4 * at)
      }
      assert.equal(check(from, 0), true)
    }
  }
})

it('sees signalling and negative NaN, too', () => {
  const memory = bufferOf(allocateCheckable(64))
  const bytes = Buffer.from(memory)
  const check = floatCheckOf(memory)!
  for (const word of [0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff]) {
    bytes.fill(0)
    bytes.writeUInt32LE(word, 20)
    assert.equal(check(0, 16), false, word.toString(16))
    assert.equal(check(24, 10), true)
  }
})

it('other memory has none', () => {
  assert.equal(floatCheckOf(new SharedArrayBuffer(64)), undefined)
})
