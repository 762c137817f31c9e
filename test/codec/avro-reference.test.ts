import assert from 'node:assert/strict'
import { test } from 'node:test'
import avro from 'avsc'
import fc from 'fast-check'
import { batchOf, columnsFor, feature, input, rawDecoder, rowsOf, seeded } from './support.ts'

/** An Avro type together with its values, which avsc writes and reads. */
interface Typed {
  readonly schema: unknown
  readonly value: fc.Arbitrary<unknown>
}

const FLOAT = fc.float({ noNaN: true, noDefaultInfinity: true })
const PRIMITIVES: Record<string, fc.Arbitrary<unknown>> = {
  null: fc.constant(null),
  boolean: fc.boolean(),
  int: fc.integer(),
  // avsc refuses the two outermost safe integers.
  long: fc.maxSafeInteger().filter(value => Math.abs(value) < Number.MAX_SAFE_INTEGER - 1),
  float: FLOAT,
  double: fc.double({ noNaN: true, noDefaultInfinity: true }),
  bytes: fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes)),
  string: fc.string({ unit: 'binary', maxLength: 80 }),
}

/** Type names are given when a schema is finished, because each may occur only once. */
function withNames(schema: unknown, names = { next: 0 }): unknown {
  if (Array.isArray(schema)) return schema.map(part => withNames(part, names))
  if (typeof schema !== 'object' || schema === null) return schema
  const parts = Object.entries(schema).map(([key, part]) => [
    key,
    key === 'name' && part === '?' ? `N${names.next++}` : key === 'symbols' ? part : withNames(part, names),
  ])
  return Object.fromEntries(parts)
}

/** Any type that no feature wants: it has to be passed over. */
const { junk } = fc.letrec<{ junk: Typed }>(tie => ({
  junk: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(...Object.keys(PRIMITIVES)).map(name => ({ schema: name, value: PRIMITIVES[name]! })),
    fc.constant({
      schema: { type: 'enum', name: '?', symbols: ['A', 'B', 'C'] },
      value: fc.constantFrom('A', 'B', 'C'),
    }),
    fc.nat(9).map(size => ({
      schema: { type: 'fixed', name: '?', size },
      value: fc.uint8Array({ minLength: size, maxLength: size }).map(bytes => Buffer.from(bytes)),
    })),
    fc.constant({ schema: { type: 'int', logicalType: 'date' }, value: fc.integer() }),
    tie('junk').map(({ schema, value }) => ({
      schema: { type: 'array', items: schema },
      value: fc.array(value, { maxLength: 4 }),
    })),
    tie('junk').map(({ schema, value }) => ({
      schema: { type: 'map', values: schema },
      value: fc.dictionary(fc.string({ maxLength: 4 }), value, { maxKeys: 3, noNullPrototype: true }),
    })),
    fc.array(tie('junk'), { maxLength: 4 }).map(fields => ({
      schema: { type: 'record', name: '?', fields: fields.map(({ schema }, i) => ({ name: `f${i}`, type: schema })) },
      value: fc.record(Object.fromEntries(fields.map(({ value }, i) => [`f${i}`, value]))),
    })),
    fc
      .uniqueArray(fc.constantFrom(...Object.keys(PRIMITIVES)), { minLength: 1, maxLength: 5 })
      .map(names => unionOf(names)),
  ),
}))

function unionOf(names: readonly string[]): Typed {
  const branches = names.map(name => PRIMITIVES[name]!.map(value => (name === 'null' ? null : { [name]: value })))
  return { schema: names, value: fc.oneof(...branches) }
}

/** What producers may write for features of each type, null (which takes the default) among it. */
const scalarOf = (...names: string[]): fc.Arbitrary<Typed> =>
  fc.oneof(
    fc.constantFrom(...names).map(name => ({ schema: name, value: PRIMITIVES[name]! })),
    fc.shuffledSubarray(['null', ...names], { minLength: 1 }).map(unionOf),
  )

const INPUTS = [
  input(
    'float32',
    feature('a', { default: 0.5 }),
    feature('p', { length: 3, default: 2 }),
    feature('n.x', { default: 7 }),
  ),
  input('float64', feature('b', { default: 0.1 })),
  input('int64', feature('c', { default: -5 }), feature('n.y', { default: 6 })),
  input('int32', feature('d', { default: 4 })),
  input('bool', feature('e', { default: true })),
  input('string', feature('s', { default: 'none' })),
]

const numbers = scalarOf('int', 'long', 'float')
const FIELDS: Record<string, fc.Arbitrary<Typed>> = {
  a: numbers,
  b: scalarOf('int', 'long', 'float', 'double'),
  c: scalarOf('int', 'long'),
  d: scalarOf('int'),
  e: scalarOf('boolean'),
  s: scalarOf('string'),
  p: numbers.map(({ schema, value }) => ({
    schema: { type: 'array', items: schema },
    value: fc.array(value, { minLength: 3, maxLength: 3 }),
  })),
  n: fc.tuple(scalarOf('float', 'int'), junk, scalarOf('long')).map(([x, between, y]) => ({
    schema: [
      {
        type: 'record',
        name: 'Inner',
        fields: [x, between, y].map(({ schema }, i) => ({ name: 'xjy'[i], type: schema })),
      },
      'null',
    ],
    value: fc.option(fc.record({ x: x.value, j: between.value, y: y.value }).map(value => ({ Inner: value }))),
  })),
}

/** A writer schema that has some of the features, in any order, between fields that nobody wants; and values of it. */
const written = fc
  .tuple(fc.shuffledSubarray(Object.keys(FIELDS)), fc.array(junk, { maxLength: 4 }))
  .chain(([names, others]) => {
    const all = [...names, ...others.map((_, i) => `junk${i}`)]
    const types = { ...FIELDS, ...Object.fromEntries(others.map((other, i) => [`junk${i}`, fc.constant(other)])) }
    return fc.tuple(
      fc.shuffledSubarray(all, { minLength: all.length }),
      fc.record(Object.fromEntries(all.map(name => [name, types[name]!]))),
    )
  })
  .chain(([names, types]) => {
    const fields = names.map(name => ({ name, type: types[name]!.schema }))
    const schema = withNames({ type: 'record', name: 'Root', fields })
    const value = fc.record(Object.fromEntries(names.map(name => [name, types[name]!.value])))
    return fc.tuple(fc.constant(schema), fc.array(value, { minLength: 1, maxLength: 3 }))
  })

/** The element for a value that avsc has decoded: unions unwrapped, defaults put in. */
function expected(record: Record<string, unknown>, path: string): unknown {
  let value: unknown = record
  for (const name of path.split('.')) {
    value = unwrap((value as Record<string, unknown>)[name])
    if (value === null || value === undefined) return undefined
  }
  return value
}

function unwrap(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const [branch] = Object.keys(value)
  return ['int', 'long', 'float', 'double', 'boolean', 'string', 'Inner'].includes(branch!)
    ? (value as Record<string, unknown>)[branch!]
    : value
}

function expectedRow(record: Record<string, unknown>): unknown[][] {
  return INPUTS.map(({ type, features }) =>
    features.flatMap(({ name, array, length, default: substitute }) => {
      const value = expected(record, name) ?? (array ? Array(length).fill(substitute) : substitute)
      return (array ? (value as unknown[]) : [value]).map(item => {
        const element = unwrap(item) ?? substitute
        if (type === 'float32') return Math.fround(element as number)
        return type === 'int64' ? BigInt(element as number) : type === 'bool' ? Number(element) : element
      })
    }),
  )
}

test('puts into the row exactly what avsc decodes, for any writer schema', () => {
  fc.assert(
    fc.property(written, ([schema, values]) => {
      const type = avro.Type.forSchema(schema as avro.Schema, { wrapUnions: 'always' })
      const decoder = rawDecoder(schema, INPUTS)
      const buffers = values.map(value => type.toBuffer(value))
      const batch = batchOf(...buffers)
      const columns = columnsFor(INPUTS, values.length)
      for (const [i, buffer] of buffers.entries()) {
        assert.equal(decoder.decode(batch, i, i, columns), undefined)
        assert.deepEqual(rowsOf(columns, i), expectedRow(type.fromBuffer(buffer)))
      }
    }),
    seeded(600),
  )
})

test('says of every prefix of a valid value that it is truncated, and of every longer one that bytes trail', () => {
  fc.assert(
    fc.property(written, ([schema, [value]]) => {
      const decoder = rawDecoder(schema, INPUTS)
      const buffer = avro.Type.forSchema(schema as avro.Schema, { wrapUnions: 'always' }).toBuffer(value)
      const prefixes = Array.from({ length: Math.min(buffer.length, 300) }, (_, i) => buffer.subarray(0, i))
      const batch = batchOf(...prefixes, Buffer.concat([buffer, Buffer.from([0])]))
      const columns = columnsFor(INPUTS, 1)
      for (let i = 0; i < batch.count; i++) {
        const fault = decoder.decode(batch, i, 0, columns)
        const code = i < prefixes.length ? 'truncated-message' : 'trailing-bytes'
        assert.equal(fault !== undefined && 'code' in fault && fault.code, code)
      }
    }),
    seeded(150),
  )
})
