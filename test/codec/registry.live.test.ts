import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'
import { type Registry, startRegistry } from '../../dev/registry.ts'
import { SchemaRegistry } from '../../src/codec/registry.ts'
import { systemClock } from '../../src/core/clock.ts'
import { decodeOne, encode, feature, framedDecoder, input } from './support.ts'

/** A real registry: the one that TEST_REGISTRY_URL names, otherwise one of our own. */
let started: Registry | undefined
let url: string

before(async () => {
  const given = process.env.TEST_REGISTRY_URL
  if (given === undefined) started = await startRegistry()
  url = given ?? started!.url
})

after(() => started?.stop())

const connect = () => new SchemaRegistry({ url, timeoutMs: 20_000, clock: systemClock })
const schemaOf = (fields: object[]) => JSON.stringify({ type: 'record', name: 'Features', namespace: 'test', fields })
const x = { name: 'x', type: 'float' }

test('what one client registers another finds, and decodes with', async () => {
  const schema = schemaOf([x, { name: 'note', type: ['null', 'string'] }])
  const subject = `${randomUUID()}-value`
  const id = await connect().register(subject, schema)
  assert.equal(await connect().register(subject, schema), id)

  const inputs = [input('float32', feature('x'))]
  const registry = connect()
  const decoder = framedDecoder(inputs, wanted => registry.find(wanted))
  const frame = Buffer.alloc(5)
  frame.writeInt32BE(id, 1)
  const value = Buffer.concat([frame, encode(JSON.parse(schema), { x: 2.5, note: { string: 'hello' } })])
  assert.deepEqual(decodeOne(decoder, inputs, value).result, { schemaId: id })
  await decoder.load(id)
  assert.deepEqual(decodeOne(decoder, inputs, value), { result: undefined, rows: [[2.5]] })
})

test('an id that was never given is unknown', async () => {
  assert.equal(await connect().find(2_000_000_000), undefined)
})

test('a wrong path is not an unknown schema', async () => {
  const registry = new SchemaRegistry({ url: `${url}/wrong`, timeoutMs: 20_000, clock: systemClock })
  await assert.rejects(registry.find(1), { code: 'registry-unreachable' })
})

test('an incompatible schema is refused', async () => {
  const subject = `${randomUUID()}-value`
  await connect().register(subject, schemaOf([x]))
  const incompatible = schemaOf([{ name: 'x', type: 'string' }])
  await assert.rejects(connect().register(subject, incompatible), {
    code: 'registry-refused',
    message: /answered 409: /,
  })
})

test('a schema that is no Avro is refused', async () => {
  const subject = `${randomUUID()}-value`
  await assert.rejects(connect().register(subject, '{"type": "no such type"}'), { code: 'registry-refused' })
})
