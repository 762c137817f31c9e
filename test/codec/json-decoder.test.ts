import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFeatureDecoder } from '../../src/codec/feature-decoder.ts'
import { decodeOne, feature, input, LIMITS } from './support.ts'

const INPUTS = [input('float32', feature('a'), feature('deep.b', { length: 2 })), input('string', feature('s'))]
const decoder = createFeatureDecoder({ ...LIMITS, maxRecordBytes: 100, inputs: INPUTS, format: 'json' })

const decode = (text: string | Uint8Array | null) =>
  decodeOne(decoder, INPUTS, typeof text === 'string' ? Buffer.from(text) : text)

test('a JSON object becomes a row', () => {
  const { result, rows } = decode('{"s": "grün", "deep": {"b": [1, 2.5]}, "other": null, "a": -1e3}')
  assert.deepEqual([result, rows], [undefined, [[-1000, 1, 2.5], ['grün']]])
})

test('what is no JSON object is a fault', () => {
  const cases: [string | Uint8Array | null, string, RegExp][] = [
    [null, 'null-value', /no value/],
    ['', 'invalid-json', /not JSON/],
    ['{"a": 1', 'invalid-json', /not JSON/],
    ['{"a": NaN}', 'invalid-json', /not JSON/],
    ['[1, 2]', 'invalid-json', /is an array; expected one JSON object/],
    ['null', 'invalid-json', /is null/],
    ['7', 'invalid-json', /is a number/],
    [Buffer.from([0x22, 0xc3, 0x28, 0x22]), 'invalid-json', /not UTF-8/],
    [`{"a": "${'x'.repeat(100)}"}`, 'record-too-large', /at most 100/],
    ['{"a": 1, "deep": {}, "s": ""}', 'feature-missing', /"deep\.b"/],
    ['{"a": 1, "deep": null, "s": ""}', 'feature-null', /"deep\.b"/],
    ['{"a": 1e999, "deep": {"b": [1, 2]}, "s": ""}', 'feature-not-finite', /Infinity/],
  ]
  for (const [text, code, message] of cases) {
    const { result } = decode(text)
    assert.ok(result !== undefined && 'code' in result)
    assert.equal(result.code, code)
    assert.match(result.message, message)
  }
})
