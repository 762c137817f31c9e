import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { createFeatureDecoder, readWriterSchema } from '../../src/codec/feature-decoder.ts'
import { decodeOne, encode, feature, input, LIMITS, rawDecoder } from './support.ts'

const INPUTS = [input('float32', feature('age'), feature('income', { default: 1500 }))]
const schema = (...fields: object[]) => ({ type: 'record', name: 'Customer', fields })

/** The row of a value that was written with these fields. */
function rowOf(fields: object[], value: unknown, inputs = INPUTS) {
  const { result, rows } = decodeOne(rawDecoder(schema(...fields), inputs), inputs, encode(schema(...fields), value))
  assert.equal(result, undefined)
  return rows
}

const age = { name: 'age', type: 'float' }
const income = { name: 'income', type: 'float' }

test('reordered fields', () => {
  assert.deepEqual(rowOf([income, age], { age: 30, income: 2000 }), [[30, 2000]])
})

test('neighbouring fields whose features are no neighbours', () => {
  const inputs = [input('float32', feature('a'), feature('b'), feature('c')), input('float32', feature('d'))]
  const fields = ['a', 'c', 'b', 'd'].map(name => ({ name, type: 'float' }))
  assert.deepEqual(rowOf(fields, { a: 1, b: 2, c: 3, d: 4 }, inputs), [[1, 2, 3], [4]])
})

test('added fields of every kind are passed over', () => {
  const tags = { name: 'tags', type: { type: 'map', values: { type: 'array', items: 'string' } } }
  const address = { name: 'address', type: ['null', { type: 'record', name: 'Address', fields: [tags] }] }
  const value = { address: { Address: { tags: { a: ['b', 'c'], d: [] } } }, age: 30, income: 2000 }
  assert.deepEqual(rowOf([address, age, income], value), [[30, 2000]])
})

test('a removed field takes the default of the feature', () => {
  assert.deepEqual(rowOf([age], { age: 30 }), [[30, 1500]])
})

test('promoted fields, each number to a float', () => {
  const fields = [
    { name: 'age', type: 'int' },
    { name: 'income', type: 'double' },
  ]
  assert.deepEqual(rowOf(fields, { age: 30, income: 0.1 }), [[30, Math.fround(0.1)]])
})

test('fields that became nullable, null first or last', () => {
  const fields = [
    { name: 'age', type: ['int', 'null', 'float'] },
    { name: 'income', type: ['null', 'float'] },
  ]
  assert.deepEqual(rowOf(fields, { age: { float: 30.5 }, income: null }), [[30.5, 1500]])
  assert.deepEqual(rowOf(fields, { age: { int: 30 }, income: { float: 7 } }), [[30, 7]])
})

test('defaults of the writer are for readers: no default of any kind makes a schema unusable', () => {
  const fields = [
    { ...age, default: 'what Java accepts' },
    { name: 'note', type: 'long', default: 9e18 },
  ]
  const value = Buffer.concat([encode(schema(age), { age: 30 }), Buffer.from([2])])
  assert.deepEqual(decodeOne(rawDecoder(schema(...fields), INPUTS), INPUTS, value).rows, [[30, 1500]])
})

test('features in nested records, through unions of records that differ', () => {
  const inputs = [input('float32', feature('who.age', { default: -1 })), input('string', feature('who.kind'))]
  const kind = { name: 'kind', type: { type: 'enum', name: 'Kind', symbols: ['PERSON', 'FIRM'] } }
  const person = { type: 'record', name: 'Person', fields: [age, kind] }
  const firm = { type: 'record', name: 'Firm', fields: [{ name: 'kind', type: 'string' }] }
  const fields = [{ name: 'who', type: [person, firm] }]
  assert.deepEqual(rowOf(fields, { who: { Person: { age: 30, kind: 'FIRM' } } }, inputs), [[30], ['FIRM']])
  assert.deepEqual(rowOf(fields, { who: { Firm: { kind: 'shop' } } }, inputs), [[-1], ['shop']])
})

test('one field for several features', () => {
  const inputs = [input('float32', feature('age'), feature('age')), input('int64', feature('age'))]
  assert.deepEqual(rowOf([{ name: 'age', type: 'int' }], { age: 30 }, inputs), [[30, 30], [30n]])
})

test('the example schemas decode the features of the example models', async () => {
  const { inputs } = JSON.parse(await readFile('models/iris-classifier/1/model.json', 'utf8'))
  const names: string[] = inputs[0].features.map(({ name }: { name: string }) => name)
  const iris = [input('float32', ...names.map(name => feature(name)))]
  const writerSchema = await readWriterSchema('schemas/iris-features.avsc')
  const decoder = createFeatureDecoder({ ...LIMITS, inputs: iris, format: 'avro-raw', writerSchema })
  const flower = { sepal_length: 6.5, sepal_width: 3, petal_length: 5.5, petal_width: 1.75 }
  assert.deepEqual(decodeOne(decoder, iris, encode(JSON.parse(writerSchema), flower)).rows, [[6.5, 3, 5.5, 1.75]])

  const digits = [input('float32', feature('pixels', { length: 64 }))]
  const digitsSchema = await readWriterSchema('schemas/digits-features.avsc')
  const pixels = Array.from({ length: 64 }, (_, i) => i % 17)
  const value = encode(JSON.parse(digitsSchema), { pixels })
  const digitsDecoder = createFeatureDecoder({
    ...LIMITS,
    inputs: digits,
    format: 'avro-raw',
    writerSchema: digitsSchema,
  })
  assert.deepEqual(decodeOne(digitsDecoder, digits, value).rows, [pixels])
})

test('a writer schema that cannot be used is a matter of configuration', async () => {
  assert.throws(() => rawDecoder({ type: 'array', items: 'float' }, INPUTS), {
    code: 'invalid-config',
    message: /array of float/,
  })
  await assert.rejects(readWriterSchema('schemas/none.avsc'), { code: 'invalid-config', message: /none\.avsc/ })
  assert.equal(await readWriterSchema(' {"type": "int"}'), ' {"type": "int"}')
})
