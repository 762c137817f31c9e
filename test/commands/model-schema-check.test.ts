import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import type { ModelSpec } from '../../src/core/model.ts'
import { checkRecordSchema, type SchemaSettings } from '../../src/shipping/model-schema-check.ts'
import { temporaryStore } from '../models/bundle-folder.ts'

const spec: Pick<ModelSpec, 'inputs'> = {
  inputs: [
    {
      tensor: 'x',
      type: 'float32',
      rowShape: [2],
      width: 2,
      features: [
        { name: 'age', length: 1, array: false },
        { name: 'income', length: 1, array: false, default: 0 },
      ],
    },
  ],
}

const record = (fields: Record<string, unknown>) =>
  JSON.stringify({ type: 'record', name: 'R', fields: Object.entries(fields).map(([name, type]) => ({ name, type })) })
const FITS = record({ age: ['null', 'double'], city: 'string' })
const WRONG_TYPE = record({ age: 'string' })
const NOT_THERE = record({ income: 'float' })

const settings: SchemaSettings = {
  inputFormat: 'avro',
  inputSchema: undefined,
  inputTopic: 'people',
  schemaRegistryUrl: undefined,
  schemaRegistryUsername: undefined,
  schemaRegistryPassword: undefined,
  schemaDir: '/nowhere',
  schemaDirGiven: false,
  requestTimeoutMs: 5_000,
  maxRecordBytes: 1_000,
  allowNonFinite: false,
}
const check = (changes: Partial<SchemaSettings>) =>
  checkRecordSchema(spec as ModelSpec, { ...settings, ...changes }, systemClock)

/** A folder of schemas, with the ids 1, 2, … */
async function schemaDir(t: TestContext, schemas: readonly string[]): Promise<string> {
  const folder = join(await temporaryStore(t), 'schemas')
  await mkdir(folder)
  const ids = Object.fromEntries(schemas.map((_, index) => [index + 1, `${index + 1}.avsc`]))
  await writeFile(join(folder, 'ids.json'), JSON.stringify(ids))
  for (const [index, schema] of schemas.entries()) await writeFile(join(folder, `${index + 1}.avsc`), schema)
  return folder
}

describe('the schema of the records has the features of a model', () => {
  it('as bare Avro', async () => {
    const raw = (inputSchema: string) => check({ inputFormat: 'avro-raw', inputSchema })
    assert.deepEqual(await raw(FITS), { fits: true, message: 'the schema of INPUT_SCHEMA has the features' })
    const missing =
      'the schema of INPUT_SCHEMA does not fit: the record has no field "age", and the feature has no default'
    assert.deepEqual(await raw(NOT_THERE), { fits: false, message: missing })
    const { fits, message } = await raw(WRONG_TYPE)
    assert.equal(fits, false)
    assert.match(message, /feature "age" is Avro string; expected a number \(float32\)/)
    assert.match(
      (await raw('{"type": "array", "items": "int"}')).message,
      /INPUT_SCHEMA is an array of int; expected a record/,
    )
  })

  it('in a folder, where one of them is enough', async t => {
    const folder = await schemaDir(t, [WRONG_TYPE, FITS])
    const message = `schema 2 of ${folder} has the features`
    for (const schemaDirGiven of [true, false]) {
      assert.deepEqual(await check({ schemaDir: folder, schemaDirGiven }), { fits: true, message })
    }
  })

  it('in no schema of a folder, which counts only where somebody has named it', async t => {
    const folder = await schemaDir(t, [WRONG_TYPE, NOT_THERE])
    const named = await check({ schemaDir: folder, schemaDirGiven: true })
    assert.equal(named.fits, false)
    assert.match(named.message, /schema 1 of .* does not fit: .*; schema 2 of .* does not fit: /)
    const message = `SCHEMA_DIR is not set, and none of the 2 schemas in ${folder} has the features`
    assert.deepEqual(await check({ schemaDir: folder }), { fits: undefined, message })
    assert.deepEqual(await check({}), { fits: undefined, message: 'neither SCHEMA_REGISTRY_URL nor SCHEMA_DIR is set' })
    await assert.rejects(check({ schemaDirGiven: true }), { code: 'schema-dir-invalid' })
  })

  it('in the latest version of the subject of the input topic', async t => {
    let schema: string | undefined = FITS
    const server = createServer((request, response) => {
      assert.equal(request.url, '/subjects/people-value/versions/latest')
      const body = schema === undefined ? { error_code: 40401 } : { id: 5, version: 1, schema }
      response.writeHead(schema === undefined ? 404 : 200).end(JSON.stringify(body))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    const schemaRegistryUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const good = 'schema 5, the latest of people-value, has the features'
    assert.deepEqual(await check({ schemaRegistryUrl }), { fits: true, message: good })
    schema = NOT_THERE
    assert.equal((await check({ schemaRegistryUrl })).fits, false)
    schema = undefined
    const unknown = { fits: undefined, message: 'the registry has no subject people-value' }
    assert.deepEqual(await check({ schemaRegistryUrl }), unknown)
    assert.match((await check({ schemaRegistryUrl, inputTopic: undefined })).message, /INPUT_TOPIC is not set/)
  })

  it('nowhere, where records are JSON', async () => {
    assert.equal((await check({ inputFormat: 'json' })).fits, undefined)
  })
})
