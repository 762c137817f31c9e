import assert from 'node:assert/strict'
import { it } from 'node:test'
import { cellText, plainJson } from '../../src/core/plain-json.ts'

it('writes what JSON.stringify drops or refuses', () => {
  const value = {
    big: 2n ** 60n,
    zero: -0,
    nan: Number.NaN,
    deep: [{ at: new Date(0), infinite: Number.NEGATIVE_INFINITY }, null],
    bytes: Uint8Array.of(1, 2, 3),
    left: undefined,
    text: 'a "quote"\n',
    floats: Float32Array.of(0.5, 2),
  }
  const text =
    '{"big":1152921504606846976,"zero":-0,"nan":"NaN","deep":[{"at":"1970-01-01T00:00:00.000Z","infinite":"-Infinity"},null],' +
    '"bytes":"AQID","text":"a \\"quote\\"\\n","floats":[0.5,2]}'
  assert.equal(plainJson(value), text)
})

it('a cell has text without quotes, and nothing for null', () => {
  assert.deepEqual(
    ['a "b"', 1.5, 2n ** 60n, null, undefined, Number.NaN, true, [1, 'x'], { a: 1 }, new Date(0)].map(cellText),
    ['a "b"', '1.5', '1152921504606846976', '', '', 'NaN', 'true', '[1,"x"]', '{"a":1}', '1970-01-01T00:00:00.000Z'],
  )
})
