import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { InputSpec } from '../../src/core/model.ts'
import { batchOf, columnsFor, decodeOne, encode, feature, framedDecoder, input, rawDecoder, rowsOf } from './support.ts'

const IRIS = ['sepal_length', 'sepal_width', 'petal_length', 'petal_width']
const INPUTS = [input('float32', ...IRIS.map(name => feature(name)))]
const record = (...fields: [string, unknown][]) => ({
  type: 'record',
  name: 'Iris',
  fields: fields.map(([name, type]) => ({ name, type })),
})
const SCHEMA = record(...IRIS.map((name): [string, unknown] => [name, 'float']))
const FLOWER = { sepal_length: 6.5, sepal_width: 3, petal_length: 5.5, petal_width: 1.75 }

/** The fault of one value, which must be one. */
function faultOf(schema: unknown, value: Uint8Array, inputs: readonly InputSpec[] = INPUTS) {
  const { result } = decodeOne(rawDecoder(schema, inputs), inputs, value)
  assert.ok(result !== undefined && 'code' in result)
  return result
}

/** One float32 feature `x` of type `type`. */
function oneField(type: unknown, value: unknown, as: InputSpec = input('float32', feature('x'))) {
  const schema = record(['x', type])
  return faultOf(schema, encode(schema, { x: value }), [as])
}

describe('framing', () => {
  const framed = (id: number, value: Uint8Array) => {
    const frame = Buffer.alloc(5)
    frame.writeInt32BE(id, 1)
    return Buffer.concat([frame, value])
  }
  const decoder = framedDecoder(INPUTS, async id => {
    if (id === 1) return JSON.stringify(SCHEMA)
    if (id === 2) return '{"type": "array", "items": "float"}'
    return id === 3 ? '{"type": "record", "name": "no good"' : undefined
  })
  const good = framed(1, encode(SCHEMA, FLOWER))

  const decode = async (value: Uint8Array | null) => {
    const { result, rows } = decodeOne(decoder, INPUTS, value)
    if (result === undefined || !('schemaId' in result)) return result ?? rows[0]
    await decoder.load(result.schemaId)
    return decodeOne(decoder, INPUTS, value).result ?? decodeOne(decoder, INPUTS, value).rows[0]
  }

  test('asks for a schema that is not loaded, and decodes once it is', async () => {
    const fresh = framedDecoder(INPUTS, async () => JSON.stringify(SCHEMA))
    assert.deepEqual(decodeOne(fresh, INPUTS, good).result, { schemaId: 1 })
    await fresh.load(1)
    assert.deepEqual(decodeOne(fresh, INPUTS, good), { result: undefined, rows: [[6.5, 3, 5.5, 1.75]] })
  })

  const cases: [string, Uint8Array | null, string, RegExp][] = [
    ['no value', null, 'null-value', /no value/],
    ['an empty value', Buffer.alloc(0), 'truncated-message', /0 bytes; expected at least 5/],
    ['half a frame', good.subarray(0, 3), 'truncated-message', /3 bytes; expected at least 5/],
    ['JSON', Buffer.from('{"a":1}'), 'wrong-magic-byte', /begins with 0x7b; expected 0x00/],
    ['one wrong byte', Buffer.from([7]), 'wrong-magic-byte', /0x07/],
    ['an unknown id', framed(77, encode(SCHEMA, FLOWER)), 'unknown-schema-id', /no schema has the id 77/],
    ['a negative id', framed(-5, encode(SCHEMA, FLOWER)), 'unknown-schema-id', /-5/],
    [
      'a schema that is no record',
      framed(2, Buffer.alloc(9)),
      'unusable-schema',
      /schema 2 is an array of float; expected a record/,
    ],
    ['a schema that is no Avro', framed(3, Buffer.alloc(9)), 'unusable-schema', /schema 3 cannot be used/],
    ['too many bytes', Buffer.alloc(1_000_001), 'record-too-large', /1000001 bytes; expected at most 1000000/],
  ]
  for (const [name, value, code, message] of cases) {
    test(`${name}: ${code}`, async () => {
      const result = await decode(value)
      assert.ok(result !== undefined && 'code' in result)
      assert.equal(result.code, code)
      assert.match(result.message, message)
    })
  }

  test('asks again for an unknown id after a while, because it may have been registered', async () => {
    let now = 0
    let known = false
    const clock = { now: () => now, wallTime: () => now, after: () => ({ cancel() {} }), sleep: async () => {} }
    const later = framedDecoder(INPUTS, async () => (known ? JSON.stringify(SCHEMA) : undefined), clock)
    await later.load(1)
    known = true
    assert.equal((decodeOne(later, INPUTS, good).result as { code: string }).code, 'unknown-schema-id')
    now = 60_000
    assert.deepEqual(decodeOne(later, INPUTS, good).result, { schemaId: 1 })
    await later.load(1)
    assert.equal(decodeOne(later, INPUTS, good).result, undefined)
  })

  test('a fault of the registry is thrown, and nothing is remembered', async () => {
    const failing = framedDecoder(INPUTS, () => Promise.reject(new Error('away')))
    await assert.rejects(failing.load(1), /away/)
    assert.deepEqual(decodeOne(failing, INPUTS, good).result, { schemaId: 1 })
  })

  test('a bad record leaves its neighbours alone', async () => {
    const columns = columnsFor(INPUTS, 1)
    const batch = batchOf(good, good.subarray(0, 9), good)
    await decoder.load(1)
    const codes = [0, 1, 2].map(i => (decoder.decode(batch, i, 0, columns) as { code?: string } | undefined)?.code)
    assert.deepEqual(codes, [undefined, 'truncated-message', undefined])
    assert.deepEqual(rowsOf(columns, 0), [[6.5, 3, 5.5, 1.75]])
  })
})

describe('Avro', () => {
  const value = encode(SCHEMA, FLOWER)

  test('truncated-message names the field and the position', () => {
    const { code, message } = faultOf(SCHEMA, value.subarray(0, 10))
    assert.equal(code, 'truncated-message')
    assert.match(message, /a float should follow \(byte 8 of 10, in field "petal_length"\)/)
  })

  test('trailing-bytes says how many', () => {
    const { code, message } = faultOf(SCHEMA, Buffer.concat([value, Buffer.alloc(3)]))
    assert.equal(code, 'trailing-bytes')
    assert.match(message, /ends after 16 bytes, but 3 more follow/)
  })

  const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
  const invalid: [string, unknown, string, RegExp][] = [
    [
      'a union index',
      ['null', 'float'],
      '06',
      /a union has the index 3; expected 0 to 1 \(byte 1 of 1, in field "x"\)/,
    ],
    ['a negative union index', ['null', 'float'], '01', /index -1/],
    ['an int of 33 bits', 'int', '80 80 80 80 20', /an int has more than 32 bits/],
    ['a varint of 11 bytes', 'long', 'ff ff ff ff ff ff ff ff ff ff 01', /more than 64 bits/],
    ['a varint of 70 bits', 'long', 'ff ff ff ff ff ff ff ff ff 02', /more than 64 bits/],
  ]
  for (const [name, type, bytes, message] of invalid) {
    test(`${name}: invalid-avro`, () => {
      const fault = faultOf(record(['x', type]), hex(bytes), [input('float32', feature('x'))])
      assert.equal(fault.code, 'invalid-avro')
      assert.match(fault.message, message)
    })
  }

  test('a negative length in a field that nobody wants: invalid-avro, named after the field', () => {
    const schema = record(['note', 'string'], ['x', 'float'])
    const { code, message } = faultOf(schema, hex('01 00000000'), [input('float32', feature('x'))])
    assert.equal(code, 'invalid-avro')
    assert.match(message, /negative length -1 \(byte 1 of 5, in field "note"\)/)
  })

  test('a boolean of 2, a string that is not UTF-8, an enum out of range: invalid-avro', () => {
    const code = (type: unknown, bytes: string, as: InputSpec) => faultOf(record(['x', type]), hex(bytes), [as]).code
    assert.equal(code('boolean', '02', input('bool', feature('x'))), 'invalid-avro')
    assert.equal(code('string', '04 c328', input('string', feature('x'))), 'invalid-avro')
    const color = { type: 'enum', name: 'E', symbols: ['A'] }
    assert.equal(code(color, '02', input('string', feature('x'))), 'invalid-avro')
  })

  test('a block that is not as long as it says: invalid-avro', () => {
    const schema = record(['x', { type: 'array', items: 'int' }])
    const inputs = [input('float32', feature('x', { length: 1 }))]
    assert.equal(faultOf(schema, hex('01 04 02 00'), inputs).code, 'invalid-avro')
  })
})

describe('features', () => {
  test('feature-missing, for every record of the schema', () => {
    const { code, message } = faultOf(record(['other', 'float']), Buffer.alloc(4))
    assert.equal(code, 'feature-missing')
    assert.match(message, /no field "sepal_length"/)
  })

  test('feature-null', () => {
    const { code, message } = oneField(['null', 'float'], null)
    assert.equal(code, 'feature-null')
    assert.match(message, /feature "x" is null/)
    assert.equal(oneField('null', null).code, 'feature-null')
  })

  test('feature-null for a null record around the feature', () => {
    const schema = record(['customer', ['null', { type: 'record', name: 'C', fields: [{ name: 'age', type: 'int' }] }]])
    const inputs = [input('float32', feature('customer.age'))]
    assert.equal(faultOf(schema, encode(schema, { customer: null }), inputs).code, 'feature-null')
  })

  const types: [string, unknown, unknown, InputSpec, RegExp][] = [
    [
      'a string for a number',
      'string',
      '5',
      input('float32', feature('x')),
      /is Avro string; expected a number \(float32\)/,
    ],
    ['bytes for a number', 'bytes', Buffer.from('5'), input('float64', feature('x')), /Avro bytes/],
    ['a boolean for a number', 'boolean', true, input('float32', feature('x')), /Avro boolean/],
    ['a float for an integer', 'float', 5, input('int64', feature('x')), /Avro float; expected an integer/],
    ['an int for a boolean', 'int', 1, input('bool', feature('x')), /Avro int; expected a boolean/],
    ['a number for a string', 'double', 1, input('string', feature('x')), /Avro double; expected a string/],
    [
      'an array for a scalar',
      { type: 'array', items: 'float' },
      [1],
      input('float32', feature('x')),
      /an array of float/,
    ],
    ['a scalar for an array', 'float', 1, input('float32', feature('x', { length: 2 })), /expected an array of 2/],
    ['a nullable string', ['null', 'string'], null, input('float32', feature('x')), /a union of null, string/],
    ['a scalar with a field', 'int', 1, input('float32', feature('x.y')), /lies in "x", which is Avro int/],
  ]
  for (const [name, type, value, as, message] of types) {
    test(`${name}: feature-type`, () => {
      const fault = oneField(type, value, as)
      assert.equal(fault.code, 'feature-type')
      assert.match(fault.message, message)
    })
  }

  test('a union with one fitting branch: only the values of the other are feature-type', () => {
    const schema = record(['x', ['string', 'float']])
    const inputs = [input('float32', feature('x'))]
    const decoder = rawDecoder(schema, inputs)
    assert.deepEqual(decodeOne(decoder, inputs, encode(schema, { x: { float: 2.5 } })).rows, [[2.5]])
    assert.equal(oneField(['string', 'float'], { string: 'a' }).code, 'feature-type')
  })

  test('feature-range', () => {
    const { code, message } = oneField('long', 2 ** 31, input('int32', feature('x')))
    assert.equal(code, 'feature-range')
    assert.match(message, /is 2147483648; expected an integer from -2\^31/)
    assert.match(oneField('long', -(2 ** 52), input('int32', feature('x'))).message, /is -4503599627370496;/)
  })

  test('feature-not-finite names the element, and what a float32 cannot hold', () => {
    assert.match(oneField('float', Number.NaN).message, /feature "x" is NaN/)
    assert.equal(oneField('double', Number.NEGATIVE_INFINITY).code, 'feature-not-finite')
    assert.match(oneField('double', 1e300).message, /is 1e\+300, which is infinite as float32/)
    const flower = faultOf(SCHEMA, encode(SCHEMA, { ...FLOWER, petal_length: Number.NaN }))
    assert.deepEqual(flower, {
      code: 'feature-not-finite',
      message: 'feature "petal_length" is NaN; expected a finite number (float32)',
    })
    const pair = input('float32', feature('x', { length: 2 }))
    for (const items of ['float', 'double', ['null', 'float']]) {
      const infinite = Array.isArray(items) ? { float: Infinity } : Infinity
      const one = Array.isArray(items) ? { float: 1 } : 1
      const { code, message } = oneField({ type: 'array', items }, [one, infinite], pair)
      assert.equal(code, 'feature-not-finite')
      assert.match(message, /element 1 of feature "x" is Infinity/)
    }
  })

  test('feature-not-finite for a float that no float16 can hold, and every other one rounded once', () => {
    // Halfway between two half floats but for the last bit of a double: rounding to a float32 first would go the other way.
    const value = 1 + 2 ** -11 + 2 ** -40
    const inputs = [input('float16', feature('x'), feature('y', { length: 2 }), feature('z', { default: 65504 }))]
    const schema = record(['x', 'double'], ['y', { type: 'array', items: 'float' }])
    const decoder = rawDecoder(schema, inputs)
    const good = decodeOne(decoder, inputs, encode(schema, { x: value, y: [65519, -(2 ** -24)] }))
    assert.equal(good.result, undefined)
    assert.deepEqual(good.rows, [[1 + 2 ** -10, 65504, -(2 ** -24), 65504]])
    const { result } = decodeOne(decoder, inputs, encode(schema, { x: value, y: [1, 65520] }))
    assert.deepEqual(result, {
      code: 'feature-not-finite',
      message: 'element 1 of feature "y" is 65520, which is infinite as float16',
    })
  })

  test('feature-not-finite in an array that is copied: every kind at every place, and nothing else', () => {
    const LENGTH = 5
    const largest = { float: 2 ** 128 - 2 ** 104, double: Number.MAX_VALUE }
    for (const [items, type] of [
      ['float', 'float32'],
      ['double', 'float64'],
    ] as const) {
      const schema = record(['w', 'float'], ['x', { type: 'array', items }])
      const inputs = [input(type, feature('w'), feature('x', { length: LENGTH }))]
      const decoder = rawDecoder(schema, inputs)
      const finite = [-0, largest[items], -largest[items], Number.MIN_VALUE, -1.5]
      const good = decodeOne(decoder, inputs, encode(schema, { w: 1, x: finite }))
      assert.equal(good.result, undefined)
      assert.deepEqual(good.rows[0]!.slice(0, 4), [1, -0, largest[items], -largest[items]])
      for (const bad of [Number.NaN, Infinity, -Infinity]) {
        for (let place = 0; place < LENGTH; place++) {
          // From there on all are bad: the first one is named.
          const x = finite.map((value, at) => (at < place ? value : bad))
          const { result } = decodeOne(decoder, inputs, encode(schema, { w: 1, x }))
          const message = `element ${place} of feature "x" is ${bad}; expected a finite number (${type})`
          assert.deepEqual(result, { code: 'feature-not-finite', message })
        }
      }
    }
  })

  test('ALLOW_NON_FINITE lets them through', () => {
    const inputs = [input('float32', feature('x'), feature('y', { length: 1 }), ...IRIS.map(name => feature(name)))]
    const fields = IRIS.map((name): [string, unknown] => [name, 'float'])
    const schema = record(['x', 'double'], ['y', { type: 'array', items: 'float' }], ...fields)
    const value = encode(schema, { ...FLOWER, x: Number.NaN, y: [Infinity], petal_width: -Infinity })
    const { result, rows } = decodeOne(rawDecoder(schema, inputs, { allowNonFinite: true }), inputs, value)
    assert.equal(result, undefined)
    assert.deepEqual(rows, [[Number.NaN, Infinity, 6.5, 3, 5.5, -Infinity]])
  })

  test('array-length', () => {
    const triple = input('float32', feature('x', { length: 3 }))
    for (const items of ['float', 'int']) {
      const short = oneField({ type: 'array', items }, [1, 2], triple)
      assert.equal(short.code, 'array-length')
      assert.match(short.message, /has 2 elements; expected exactly 3/)
      assert.equal(oneField({ type: 'array', items }, [1, 2, 3, 4], triple).code, 'array-length')
      assert.equal(oneField({ type: 'array', items }, [], triple).code, 'array-length')
    }
  })
})
