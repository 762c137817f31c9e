import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseLogPosition } from '../../src/core/log-position.ts'

const read = (text: string) => parseLogPosition('--from', text)
const time = (text: string) => ({ kind: 'time', timestamp: Date.parse(text) })

suite('places in a log, as people name them', () => {
  test('the two ends', () => {
    assert.deepEqual(read('earliest'), { kind: 'earliest' })
    assert.deepEqual(read(' latest '), { kind: 'latest' })
  })

  test('times, which are UTC unless they say otherwise', () => {
    assert.deepEqual(read('2026-11-23'), time('2026-11-23T00:00:00Z'))
    assert.deepEqual(read('2026-11-23T04:05'), time('2026-11-23T04:05:00Z'))
    assert.deepEqual(read('2026-11-23 04:05:06'), time('2026-11-23T04:05:06Z'))
    assert.deepEqual(read('2026-11-23T04:05:06.789Z'), time('2026-11-23T04:05:06.789Z'))
    assert.deepEqual(read('2026-11-23T04:05:06+02:00'), time('2026-11-23T02:05:06Z'))
  })

  test('offsets by partition', () => {
    const offsets = (...entries: [number, number][]) => ({ kind: 'offsets', offsets: new Map(entries) })
    assert.deepEqual(read('offset:2=1841'), offsets([2, 1841]))
    assert.deepEqual(read('offset:0=0, 11=9007199254740991'), offsets([0, 0], [11, Number.MAX_SAFE_INTEGER]))
  })

  const WRONG = ['', 'now', '1763870706', '2026-13-01', '2026-11-23T25:00', '23.11.2026', 'offset:', 'offset:1']
  const WRONG_OFFSETS = [
    'offset:1=',
    'offset:-1=2',
    'offset:1=2,',
    'offset:1=2,1=3',
    'offset:1=9007199254740993',
    'offset:1=x',
  ]
  for (const text of [...WRONG, ...WRONG_OFFSETS]) {
    test(`refuses "${text}"`, () => {
      assert.throws(() => read(text), {
        code: 'invalid-config',
        message: /^--from is ".*", but must be earliest, latest, an ISO time such as .*, or offset:PARTITION=OFFSET,…$/,
      })
    })
  }
})
