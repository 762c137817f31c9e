/**
 * The byte-level reader against JSON.parse: whatever it takes must be the row that JSON.parse and `packObject` make, to
 * the bit, and what it does not take must be what they make of it, faults included.
 */
import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { test } from 'node:test'
import fc from 'fast-check'
import { createFeatureDecoder } from '../../src/codec/feature-decoder.ts'
import { addToHash, compileFields, HASH_START } from '../../src/codec/json-fields.ts'
import { JsonRowReader } from '../../src/codec/json-row-reader.ts'
import type { InputSpec } from '../../src/core/model.ts'
import type { RecordBatch } from '../../src/core/record-batch.ts'
import { packObject } from '../../src/core/rows.ts'
import type { TensorColumn } from '../../src/core/tensor.ts'
import { jsonDocument } from './json-documents.ts'
import { batchOf, columnsFor, feature, input, LIMITS, seeded } from './support.ts'

/** What `json-documents.ts` writes. */
const INPUTS = [
  input('float32', feature('image', { length: 3 }), feature('gain')),
  input('float64', feature('customer.age'), feature('customer.scores', { length: 2 })),
  input('int64', feature('count', { default: 7 })),
  input('int32', feature('größe'), feature('basket', { length: 2 })),
  input('bool', feature('member'), feature('flags', { length: 2 })),
]
const USUAL =
  '{"image":[0.5,1.25e2,-3],"gain":0.1,"customer":{"age":41.5,"scores":[1,2]},"count":-12,"größe":3,' +
  '"basket":[4,5],"member":true,"flags":[false,true],"id":"é-17","at":1700000000000,"tags":["a",{"b":null}],"no":{}}'

const decoders = [false, true].map(allowNonFinite => {
  const options = { ...LIMITS, allowNonFinite }
  return { allowNonFinite, decoder: createFeatureDecoder({ ...options, inputs: INPUTS, format: 'json' }) }
})
const reader = new JsonRowReader(compileFields(INPUTS)!)

/** Bytes around the row and in it before it is written: what is not written shows. */
function dirtyColumns(inputs: readonly InputSpec[]): TensorColumn[] {
  const columns = columnsFor(inputs, 3)
  for (const { data } of columns) new Uint8Array((data as Float32Array).buffer).fill(0x55)
  return columns
}

const bitsOf = (columns: readonly TensorColumn[]) =>
  Buffer.concat(columns.map(({ data }) => new Uint8Array((data as Float32Array).buffer)))

/** What JSON.parse and packObject make of the value, as row 1: the whole storage, or the code of the fault. */
function reference(value: Buffer, allowNonFinite: boolean): Buffer | { code: string; message?: string } {
  let object: unknown
  try {
    object = isUtf8(value) ? JSON.parse(value.toString()) : undefined
  } catch {}
  if (typeof object !== 'object' || object === null || Array.isArray(object)) return { code: 'invalid-json' }
  const columns = dirtyColumns(INPUTS)
  const fault = packObject(object as Record<string, unknown>, INPUTS, columns, 1, allowNonFinite)
  return fault ?? bitsOf(columns)
}

/** The value in a batch whose next bytes would complete a record that was cut. */
function batchBefore(value: Buffer, next: string): RecordBatch {
  const batch = batchOf(value)
  const bytes = Buffer.from(batch.bytes)
  bytes.write(next, batch.columns[3]! + value.length, 'latin1')
  return { ...batch, bytes }
}

/** Checks one value, also with bytes behind it that go on; returns whether the reader took it. */
function check(value: Buffer): boolean {
  const name = () => `${value.toString('latin1')} (${value.toString('base64')})`
  let taken = false
  for (const { decoder, allowNonFinite } of decoders) {
    const expected = reference(value, allowNonFinite)
    for (const batch of [batchOf(value), batchBefore(value, '9]}'), batchBefore(value, '}')]) {
      const columns = dirtyColumns(INPUTS)
      const fault = decoder.decode(batch, 0, 1, columns)
      if (Buffer.isBuffer(expected)) {
        assert.equal(fault, undefined, name())
        assert.ok(bitsOf(columns).equals(expected), name())
      } else {
        assert.ok(fault !== undefined && 'code' in fault, name())
        assert.equal(fault.code, expected.code, name())
        if (expected.message !== undefined) assert.equal(fault.message, expected.message, name())
      }
      taken ||= takes(batch, value.length)
    }
  }
  return taken
}

function takes(batch: RecordBatch, length: number): boolean {
  const start = batch.columns[3]!
  return reader.read(batch.bytes, start, start + length, 1, dirtyColumns(INPUTS))
}

const indented = (text: string) => JSON.stringify(JSON.parse(text), null, '\t')
const taken = (text: string) => check(Buffer.from(text))

test('the usual record is read without JSON.parse: in any order, with white space, with other fields', () => {
  assert.ok(taken(USUAL))
  assert.ok(taken(` \r\n\t${indented(USUAL)} \n`))
  assert.ok(taken(USUAL.replaceAll(':', ' : ').replaceAll(',', ' , ')))
  assert.ok(taken(JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(USUAL)).reverse()))))
  assert.ok(
    taken(USUAL.replace('"id":', '"a":[[],{},[{}],[[1,2],{"x":[true,false]}]],"__proto__":{"image":1},"":"","id":')),
  )
})

test('the last record of a batch is read, too, with nothing behind it', () => {
  const inputs = [input('float32', feature('x', { length: 2 }))]
  const columns = columnsFor(inputs)
  const value = Buffer.from('{"x":[0.5,0.1875]}')
  assert.ok(new JsonRowReader(compileFields(inputs)!).read(value, 0, value.length, 1, columns))
  assert.deepEqual([...columns[0]!.data], [0, 0, 0.5, 0.1875])
})

test('what is unusual is left to JSON.parse', () => {
  const cases: Record<string, string> = {
    'a repeated key': USUAL.replace('"gain":', '"gain":9,"gain":'),
    'a repeated key in place of another': USUAL.replace('"count":-12', '"gain":9'),
    'a repeated parent': USUAL.replace('"count":', '"customer":{"age":1,"scores":[1,2]},"count":'),
    'a missing key with a default': USUAL.replace('"count":-12,', ''),
    'a missing key': USUAL.replace('"gain":0.1,', ''),
    'a missing key of an inner object': USUAL.replace('"age":41.5,', ''),
    'null, with a default': USUAL.replace('-12', 'null'),
    'null in an array': USUAL.replace('[0.5,', '[null,'),
    'null for a parent': USUAL.replace('{"age":41.5,"scores":[1,2]}', 'null'),
    'an escape in a key': USUAL.replace('"gain"', '"g\\u0061in"'),
    'an escape in a string': USUAL.replace('"é-17"', '"\\n"'),
    'a word for NaN': USUAL.replace('0.1', '"NaN"'),
    'a number beyond float32': USUAL.replace('0.1', '1e39'),
    'no integer': USUAL.replace('-12', '1.5'),
    'an integer beyond 2^53': USUAL.replace('-12', '9007199254740993'),
    'beyond int32': USUAL.replace('[4,5]', '[4,2147483648]'),
    'too few elements': USUAL.replace('[0.5,', '['),
    'too many elements': USUAL.replace('[0.5,', '[1,0.5,'),
    'an empty array': USUAL.replace('[0.5,1.25e2,-3]', '[]'),
    'a comma before the bracket': USUAL.replace('-3]', '-3,]'),
    'a comma before the brace': USUAL.replace(/}$/, ',}'),
    'no comma': USUAL.replace(',"gain"', ' "gain"'),
    'a number for a boolean': USUAL.replace('true', '1'),
    'deep nesting': USUAL.replace('"tags":[', `"tags":[${'['.repeat(100)}${']'.repeat(100)},`),
    nothing: '{}',
    'two values': `${USUAL}{}`,
    'a byte order mark': `\ufeff${USUAL}`,
    'a control character': USUAL.replace('é', '\u0001'),
    'a leading zero': USUAL.replace('-12', '-012'),
    'a word cut': USUAL.replace('true', 'tru'),
    'a word too long': USUAL.replace('true', 'truee'),
  }
  for (const [name, text] of Object.entries(cases)) {
    assert.notEqual(text, USUAL, name)
    assert.equal(taken(text), false, name)
  }
  assert.equal(check(Buffer.from(USUAL, 'latin1')), false)
})

test('a model with strings, with a name twice, or with a feature inside another has no reader', () => {
  assert.equal(compileFields([input('string', feature('a'))]), undefined)
  assert.equal(compileFields([input('float32', feature('a')), input('bool', feature('a'))]), undefined)
  assert.equal(compileFields([input('float32', feature('a'), feature('a.b'))]), undefined)
  assert.equal(compileFields([input('float32', feature('\ud800'))]), undefined)
})

test('a half float is rounded once, and one that it cannot hold is left to JSON.parse', () => {
  const inputs = [input('float16', feature('a'), feature('b', { length: 2 }))]
  const fields = compileFields(inputs)!
  const read = (text: string) => {
    const columns = columnsFor(inputs)
    const value = Buffer.from(text)
    return new JsonRowReader(fields).read(value, 0, value.length, 0, columns) && [...columns[0]!.data.slice(0, 3)]
  }
  // Halfway between two half floats but for its last digits: rounding to a float32 first would go the other way.
  assert.deepEqual(read('{"a":1.00048828125001,"b":[65519,-0]}'), [1 + 2 ** -10, 65504, -0])
  assert.equal(read('{"a":1,"b":[0,65520]}'), false)
})

test('keys whose hashes are equal are told apart', () => {
  const [one, other] = ['f2512789', 'f2749192']
  const hashOf = (name: string) => Buffer.from(name).reduce(addToHash, HASH_START)
  assert.equal(hashOf(one), hashOf(other))
  const inputs = [input('float32', feature(one), feature(other))]
  const columns = columnsFor(inputs)
  const value = Buffer.from(JSON.stringify({ [other]: 2, [one]: 1 }))
  assert.ok(new JsonRowReader(compileFields(inputs)!).read(value, 0, value.length, 0, columns))
  assert.deepEqual([...columns[0]!.data.slice(0, 2)], [1, 2])
})

test('cut after every byte, and every byte replaced', () => {
  const value = Buffer.from(USUAL)
  for (let cut = 0; cut < value.length; cut++) assert.equal(check(value.subarray(0, cut)), false)
  let rows = 0
  for (let at = 0; at < value.length; at++) {
    for (const byte of [
      0,
      0x20,
      0x22,
      0x2c,
      0x2d,
      0x2e,
      0x30,
      0x39,
      0x5c,
      0x65,
      0x7d,
      0xc3,
      value[at]! ^ 1,
      value[at]! ^ 0x80,
    ]) {
      const mutant = Buffer.from(value)
      mutant[at] = byte
      if (check(mutant)) rows++
    }
  }
  assert.ok(rows > 200, `${rows} mutants were read`)
})

test('random documents, and mutants of them', () => {
  const counts = { taken: 0, left: 0 }
  const mutation = fc.tuple(
    fc.nat(),
    fc.nat(255),
    fc.constantFrom('none', 'none', 'replace', 'remove', 'insert', 'cut'),
  )
  const property = fc.property(jsonDocument, mutation, (text, [place, byte, kind]) => {
    const bytes = Buffer.from(text)
    const at = place % bytes.length
    const head = bytes.subarray(0, at)
    const mutants: Record<string, Uint8Array[]> = {
      none: [bytes],
      replace: [head, Buffer.of(byte), bytes.subarray(at + 1)],
      remove: [head, bytes.subarray(at + 1)],
      insert: [head, Buffer.of(byte), bytes.subarray(at)],
      cut: [head],
    }
    counts[check(Buffer.concat(mutants[kind]!)) ? 'taken' : 'left']++
  })
  fc.assert(property, seeded(6_000))
  assert.ok(counts.taken > 500 && counts.left > 500, JSON.stringify(counts))
})
