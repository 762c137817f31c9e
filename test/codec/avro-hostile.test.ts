import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { writeLong } from '../../src/codec/varint.ts'
import { batchOf, columnsFor, decodeOne, encode, feature, input, rawDecoder, rowsOf, seeded } from './support.ts'

function long(value: bigint): Buffer {
  const bytes = Buffer.alloc(10)
  return bytes.subarray(0, writeLong(bytes, 0, Number(BigInt.asIntN(32, value)), Number(value >> 32n)))
}

const LIST = {
  type: 'record',
  name: 'Node',
  fields: [
    { name: 'next', type: ['null', 'Node'] },
    { name: 'nothing', type: { type: 'array', items: { type: 'record', name: 'Empty', fields: [] } } },
    { name: 'many', type: { type: 'map', values: { type: 'array', items: 'Node' } } },
  ],
}
const SCHEMA = {
  type: 'record',
  name: 'Root',
  fields: [
    { name: 'list', type: LIST },
    { name: 's', type: ['null', 'string', { type: 'enum', name: 'E', symbols: ['A', 'B'] }] },
    { name: 'p', type: { type: 'array', items: ['null', 'double', 'float'] } },
    { name: 'q', type: { type: 'array', items: 'float' } },
    { name: 'i', type: 'long' },
  ],
}
const INPUTS = [
  input('float32', feature('p', { length: 2, default: 1 }), feature('q', { length: 3 })),
  input('string', feature('s', { default: '' })),
  input('int64', feature('i')),
]
const leaf = { next: null, nothing: [{}, {}], many: {} }
const VALUE = {
  list: { next: { Node: leaf }, nothing: [], many: { a: [leaf], b: [] } },
  s: { string: 'grün' },
  p: [null, { double: 2.5 }],
  q: [1, 2, 3],
  i: 77,
}

test('never throws and never reads beyond its value, whatever the bytes are', () => {
  const good = encode(SCHEMA, VALUE)
  const decoder = rawDecoder(SCHEMA, INPUTS)
  // A good value that bytes were put into, taken from, or changed in gets much deeper than noise does.
  const damaged = fc
    .tuple(fc.nat(good.length), fc.nat(4), fc.uint8Array({ maxLength: 12 }))
    .map(([at, removed, added]) => Buffer.concat([good.subarray(0, at), added, good.subarray(at + removed)]))
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 100 })), bytes => {
      const columns = columnsFor(INPUTS, 1)
      const result = decoder.decode(batchOf(bytes), 0, 0, columns)
      // The bytes around the value differ between these two batches, so a read across the border would show.
      const { buffer, byteOffset, byteLength } = Buffer.from(bytes)
      const other = { ...batchOf(null), bytes: Buffer.from(buffer, byteOffset, byteLength) }
      other.columns.set([0, 0, 0, 0, byteLength], 0)
      const again = columnsFor(INPUTS, 1)
      assert.deepEqual(decoder.decode(other, 0, 0, again), result)
      if (result === undefined) assert.deepEqual(rowsOf(again, 0), rowsOf(columns, 0))
      else assert.ok('code' in result && result.message.length > 10)
    }),
    seeded(20_000),
  )
})

test('a good value still decodes after all kinds of bad ones', () => {
  const decoder = rawDecoder(SCHEMA, INPUTS)
  const good = encode(SCHEMA, VALUE)
  for (let i = 0; i < good.length; i++) assert.ok(decodeOne(decoder, INPUTS, good.subarray(0, i)).result)
  assert.deepEqual(decodeOne(decoder, INPUTS, good), { result: undefined, rows: [[1, 2.5, 1, 2, 3], ['grün'], [77n]] })
})

/** A skipped field of `type`, then the feature. */
function skipping(type: unknown, bytes: Uint8Array) {
  const schema = {
    type: 'record',
    name: 'R',
    fields: [
      { name: 'junk', type },
      { name: 'x', type: 'int' },
    ],
  }
  const inputs = [input('float32', feature('x'))]
  const started = performance.now()
  const { result, rows } = decodeOne(rawDecoder(schema, inputs), inputs, Buffer.concat([bytes, long(9n)]))
  assert.ok(performance.now() - started < 1000)
  return result === undefined ? rows[0] : (result as { code: string }).code
}

test('a false count costs no time', () => {
  const array = (items: unknown) => ({ type: 'array', items })
  const empty = { type: 'record', name: 'Empty', fields: [{ name: 'n', type: 'null' }] }
  const huge = long(2n ** 60n)
  assert.equal(skipping(array('int'), huge), 'truncated-message')
  assert.equal(skipping(array('double'), huge), 'truncated-message')
  assert.equal(skipping(array(array('null')), huge), 'truncated-message')
  assert.equal(skipping({ type: 'map', values: 'null' }, huge), 'truncated-message')
  assert.equal(skipping('bytes', huge), 'truncated-message')
  assert.equal(skipping(array('int'), Buffer.concat([long(-(2n ** 63n)), huge])), 'truncated-message')
  assert.equal(skipping(array('int'), Buffer.concat([long(-2n), long(-1n)])), 'invalid-avro')
  // These take no bytes, so the count may even be true.
  assert.deepEqual(skipping(array('null'), Buffer.concat([huge, long(0n)])), [9])
  assert.deepEqual(skipping(array(empty), Buffer.concat([huge, long(0n)])), [9])
})

test('a false count of an array feature costs no time', () => {
  const schema = { type: 'record', name: 'R', fields: [{ name: 'x', type: { type: 'array', items: 'null' } }] }
  const inputs = [input('float32', feature('x', { length: 2, default: 3 }))]
  const decoder = rawDecoder(schema, inputs)
  assert.equal((decodeOne(decoder, inputs, long(2n ** 60n)).result as { code: string }).code, 'array-length')
  assert.deepEqual(decodeOne(decoder, inputs, Buffer.concat([long(2n), long(0n)])).rows, [[3, 3]])
})

test('deep nesting of a recursive schema is refused before it exhausts the stack', () => {
  const node = { type: 'record', name: 'N', fields: [{ name: 'next', type: ['null', 'N'] }] }
  const endless = { type: 'record', name: 'X', fields: [{ name: 'self', type: 'X' }] }
  const nested = (depth: number) => Buffer.concat([Buffer.alloc(depth, 0x02), Buffer.alloc(1)])
  assert.deepEqual(skipping(node, nested(400)), [9])
  assert.equal(skipping(node, nested(900_000)), 'invalid-avro')
  assert.equal(skipping(endless, Buffer.alloc(0)), 'invalid-avro')
})

test('what a bad record leaves behind does not reach the next', () => {
  const node = { type: 'record', name: 'N', fields: [{ name: 'next', type: ['null', 'N'] }] }
  const numbers = { type: 'array', items: 'double' }
  const fields = [
    { name: 'node', type: node },
    { name: 'x', type: 'double' },
    { name: 'p', type: numbers },
  ]
  const schema = { type: 'record', name: 'R', fields }
  const inputs = [input('float32', feature('p', { length: 2 }), feature('x'))]
  const decoder = rawDecoder(schema, inputs)
  const value = (p: number[], x: number) => encode(schema, { node: { next: { N: { next: null } } }, p, x })
  for (let i = 0; i < 1000; i++) assert.ok(decodeOne(decoder, inputs, Buffer.from([2, 2, 2])).result)
  assert.deepEqual(decodeOne(decoder, inputs, value([1, 2], 3)).rows, [[1, 2, 3]])
  assert.match(JSON.stringify(decodeOne(decoder, inputs, value([1, Number.NaN], 3)).result), /element 1 of feature/)
  assert.match(JSON.stringify(decodeOne(decoder, inputs, value([1, 2], Number.NaN)).result), /"message":"feature/)
  assert.deepEqual(decodeOne(decoder, inputs, value([1, 2], 3)).result, undefined)
})

test('passes over blocks that give their size, without looking into them', () => {
  const counted = (count: bigint, bytes: number[]) => [long(-count), long(BigInt(bytes.length)), Buffer.from(bytes)]
  const blocks = [...counted(3n, [2, 4, 6]), long(1n), long(5n), ...counted(1n, [0x80, 0x80, 1]), long(0n)]
  assert.deepEqual(skipping({ type: 'array', items: 'long' }, Buffer.concat(blocks)), [9])
  const entries = [...counted(1n, [2, 0x61, 8]), long(1n), Buffer.from([2, 0x62, 8]), long(0n)]
  assert.deepEqual(skipping({ type: 'map', values: 'int' }, Buffer.concat(entries)), [9])
})

test('a schema whose types use each other twice compiles in linear time', () => {
  let type: unknown = 'long'
  const schema: { fields: unknown[] } = { fields: [] }
  for (let i = 0; i < 60; i++) {
    type = {
      type: 'record',
      name: `T${i}`,
      fields: [
        { name: 'a', type },
        { name: 'b', type: i === 0 ? 'long' : `T${i - 1}` },
      ],
    }
  }
  schema.fields.push(type)
  assert.equal(skipping(type, Buffer.alloc(50)), 'truncated-message')
})

test('int64 elements have all their 64 bits', () => {
  const schema = {
    type: 'record',
    name: 'R',
    fields: [
      { name: 'x', type: 'long' },
      { name: 'y', type: 'long' },
    ],
  }
  const inputs = [input('int64', feature('x')), input('float64', feature('y'))]
  const decoder = rawDecoder(schema, inputs)
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), value => {
      const { result, rows } = decodeOne(decoder, inputs, Buffer.concat([long(value), long(value)]))
      assert.deepEqual([result, rows], [undefined, [[value], [Number(value)]]])
    }),
    seeded(2000),
  )
})

test('arrays in any number of blocks, with and without their sizes, are the same array', () => {
  const schema = (items: string) => ({
    type: 'record',
    name: 'R',
    fields: [{ name: 'x', type: { type: 'array', items } }],
  })
  const inputs = [input('float32', feature('x', { length: 7 })), input('float64', feature('x', { length: 7 }))]
  const decoders = { float: rawDecoder(schema('float'), inputs), double: rawDecoder(schema('double'), inputs) }
  const cut = fc.tuple(fc.integer({ min: 1, max: 7 }), fc.boolean())
  const floats = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 7, maxLength: 7 })
  fc.assert(
    fc.property(floats, fc.array(cut, { minLength: 7, maxLength: 7 }), fc.boolean(), (items, cuts, double) => {
      const parts: Uint8Array[] = []
      let at = 0
      for (const [size, counted] of cuts) {
        const block = items.slice(at, at + size)
        if (block.length === 0) break
        const bytes = Buffer.from((double ? Float64Array : Float32Array).from(block).buffer)
        parts.push(
          counted
            ? Buffer.concat([long(BigInt(-block.length)), long(BigInt(bytes.length))])
            : long(BigInt(block.length)),
        )
        parts.push(bytes)
        at += block.length
      }
      const decoder = double ? decoders.double : decoders.float
      const { result, rows } = decodeOne(decoder, inputs, Buffer.concat([...parts, long(0n)]))
      assert.deepEqual([result, rows], [undefined, [items, items]])
    }),
    seeded(500),
  )
})
