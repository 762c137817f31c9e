import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { InputSpec, OutputSpec } from '../../src/core/model.ts'
import { isScalar, packObject, unpackRow } from '../../src/core/rows.ts'
import { type ElementType, type TensorColumn, viewOf } from '../../src/core/tensor.ts'

function columns(specs: readonly (InputSpec | OutputSpec)[], capacity = 2): TensorColumn[] {
  return specs.map(spec => {
    const elements = capacity * spec.width
    return { spec, data: viewOf(spec.type, new ArrayBuffer(8 * elements), elements) }
  })
}

/** One feature `x` of a tensor of `type`. */
function specOf(type: ElementType, rest: { length?: number; default?: number | string | boolean } = {}): InputSpec {
  const { length = 1 } = rest
  const feature = { name: 'x', array: rest.length !== undefined, ...rest, length }
  return { tensor: 't', type, rowShape: [length], width: length, features: [feature] }
}

function pack(spec: InputSpec, object: Record<string, unknown>, allowNonFinite = false) {
  const [column] = columns([spec])
  const fault = packObject(object, [spec], [column!], 1, allowNonFinite)
  return fault ?? [...column!.data.slice(spec.width)]
}

describe('packObject', () => {
  test('takes plain values to the elements of their types', () => {
    assert.deepEqual(pack(specOf('float32'), { x: 0.1 }), [Math.fround(0.1)])
    assert.deepEqual(pack(specOf('float16'), { x: 0.1 }), [0.0999755859375])
    assert.deepEqual(pack(specOf('float64'), { x: 10n }), [10])
    assert.deepEqual(pack(specOf('int64'), { x: -5 }), [-5n])
    assert.deepEqual(pack(specOf('int64'), { x: 2n ** 63n - 1n }), [2n ** 63n - 1n])
    assert.deepEqual(pack(specOf('int32'), { x: -(2 ** 31) }), [-(2 ** 31)])
    assert.deepEqual(pack(specOf('bool'), { x: true }), [1])
    assert.deepEqual(pack(specOf('string'), { x: '' }), [''])
    assert.deepEqual(pack(specOf('float32', { length: 3 }), { x: [1, 2, 3] }), [1, 2, 3])
  })

  test('leaves the other rows alone', () => {
    const spec = specOf('float32', { length: 2 })
    const [column] = columns([spec], 3)
    ;(column!.data as Float32Array).fill(9)
    packObject({ x: [1, 2] }, [spec], [column!], 1, false)
    assert.deepEqual([...column!.data], [9, 9, 1, 2, 9, 9])
  })

  test('fills features from left to right, through nested objects', () => {
    const names = ['b', 'a.c', 'a.d.e']
    const features = names.map(name => ({ name, length: 1, array: false }))
    const spec: InputSpec = { tensor: 't', type: 'float32', rowShape: [3], width: 3, features }
    assert.deepEqual(pack(spec, { a: { d: { e: 3 }, c: 2 }, b: 1 }), [1, 2, 3])
    assert.deepEqual(pack(spec, { a: 5, b: 1 }), {
      code: 'feature-type',
      message: 'feature "a.c" lies in "a", which is the number 5; expected an object',
    })
  })

  test('defaults stand in for what is missing or null, also within arrays', () => {
    const spec = specOf('float32', { length: 2, default: 7 })
    assert.deepEqual(pack(spec, {}), [7, 7])
    assert.deepEqual(pack(spec, { x: null }), [7, 7])
    assert.deepEqual(pack(spec, { x: [null, 1] }), [7, 1])
    assert.deepEqual(pack(specOf('bool', { default: false }), {}), [0])
  })

  test('does not take what objects inherit for features', () => {
    const features = [{ name: 'constructor', length: 1, array: false }]
    const spec: InputSpec = { tensor: 't', type: 'string', rowShape: [1], width: 1, features }
    assert.equal((pack(spec, {}) as { code: string }).code, 'feature-missing')
  })

  const faults: [string, InputSpec, unknown, RegExp][] = [
    ['feature-missing', specOf('float32'), undefined, /no field "x", and the feature has no default/],
    ['feature-null', specOf('float32'), null, /feature "x" is null/],
    ['feature-null', specOf('float32', { length: 2 }), [1, null], /element 1 of feature "x" is null/],
    ['feature-not-finite', specOf('float16'), 65520, /is 65520, which is infinite as float16/],
    ['feature-type', specOf('float32'), '5', /is the string "5"; expected a number \(float32\)/],
    ['feature-type', specOf('float32'), true, /is the boolean true/],
    ['feature-type', specOf('float32'), [1], /is an array of 1/],
    ['feature-type', specOf('float32', { length: 2 }), 5, /is the number 5; expected an array of 2, each a number/],
    ['feature-type', specOf('float32', { length: 2 }), [1, {}], /element 1 of feature "x" is an object/],
    ['feature-type', specOf('int64'), 1.5, /is the number 1.5; expected an integer/],
    ['feature-type', specOf('bool'), 1, /expected a boolean/],
    ['feature-type', specOf('string'), 1, /expected a string/],
    ['feature-range', specOf('int32'), 2 ** 31, /is 2147483648; expected an integer from -2\^31 to 2\^31 - 1/],
    ['feature-range', specOf('int64'), 2 ** 53, /is 9007199254740992/],
    ['feature-range', specOf('int64'), 2n ** 63n, /is 9223372036854775808/],
    ['feature-not-finite', specOf('float64'), Infinity, /is Infinity; expected a finite number/],
    ['feature-not-finite', specOf('float32'), 1e39, /is 1e\+39, which is infinite as float32/],
    ['feature-type', specOf('float32'), 'NaN', /is the string "NaN"/],
    ['array-length', specOf('float32', { length: 2 }), [1, 2, 3], /has 3 elements; expected exactly 2/],
  ]
  for (const [code, spec, x, message] of faults) {
    test(`${code}: ${message.source}`, () => {
      const fault = pack(spec, x === undefined ? {} : { x }) as { code: string; message: string }
      assert.equal(fault.code, code)
      assert.match(fault.message, message)
    })
  }

  test('takes non-finite numbers, and their names, where they are allowed', () => {
    const spec = specOf('float32', { length: 5 })
    const x = [Number.NaN, 'NaN', 'Infinity', '-Infinity', 1e39]
    assert.deepEqual(pack(spec, { x }, true), [Number.NaN, Number.NaN, Infinity, -Infinity, Infinity])
    assert.equal((pack(specOf('float32'), { x: 'infinity' }, true) as { code: string }).code, 'feature-type')
  })
})

describe('unpackRow', () => {
  const output = (type: ElementType, rowShape: number[]): OutputSpec => {
    const width = rowShape.reduce((product, dimension) => product * dimension, 1)
    return { tensor: 't', field: 'y', type, rowShape, width }
  }
  const unpack = (spec: OutputSpec, values: unknown[]) => {
    const [column] = columns([spec])
    for (const [i, value] of values.entries()) (column!.data as unknown[])[spec.width + i] = value
    return unpackRow([spec], [column!], 1).y
  }

  test('a row of one element is a plain value, however many dimensions it has', () => {
    assert.equal(unpack(output('float32', []), [0.5]), 0.5)
    assert.equal(unpack(output('float32', [1]), [0.5]), 0.5)
    assert.equal(unpack(output('bool', [1, 1]), [1]), true)
    assert.equal(unpack(output('string', []), ['a']), 'a')
    assert.deepEqual([isScalar(output('int32', [])), isScalar(output('int32', [1, 2]))], [true, false])
  })

  test('other rows are arrays, matrices flattened', () => {
    assert.deepEqual(unpack(output('float32', [3]), [1, 2, 3]), [1, 2, 3])
    assert.deepEqual(unpack(output('int32', [2, 2]), [1, 2, 3, 4]), [1, 2, 3, 4])
    assert.deepEqual(unpack(output('string', [0]), []), [])
  })

  test('an int64 is a number where that is exact', () => {
    assert.equal(unpack(output('int64', []), [-5n]), -5)
    assert.equal(unpack(output('int64', []), [2n ** 53n - 1n]), 2 ** 53 - 1)
    assert.equal(unpack(output('int64', []), [2n ** 53n]), 2n ** 53n)
  })
})
