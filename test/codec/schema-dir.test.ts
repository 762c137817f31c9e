import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { SchemaDir } from '../../src/codec/schema-dir.ts'
import { systemClock } from '../../src/core/clock.ts'
import { type Log, silentLog } from '../../src/core/log.ts'

const FEATURES = '{"type": "record", "name": "F", "fields": [{"name": "x", "type": "float"}]}'
const prediction = (field: string, doc = '') =>
  JSON.stringify({ type: 'record', name: 'P', doc, fields: [{ name: field, type: 'float', doc }] })

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-schemas-'))
  await writeFile(join(folder, 'f.avsc'), FEATURES)
  await writeFile(join(folder, 'ids.json'), '{"1": "f.avsc"}')
})

afterEach(async () => {
  await rm(folder, { recursive: true })
})

const open = (log: Log = silentLog) => SchemaDir.open(folder, systemClock, log)
const ids = async () => JSON.parse(await readFile(join(folder, 'ids.json'), 'utf8'))

test('finds what ids.json lists', async () => {
  const dir = await open()
  assert.equal(await dir.find(1), FEATURES)
  assert.equal(await dir.find(2), undefined)
})

test('finds what was added later', async () => {
  const dir = await open()
  await writeFile(join(folder, 'ids.json'), '{"1": "f.avsc", "2": "f.avsc"}')
  assert.equal(await dir.find(2), FEATURES)
})

test('does not read ids.json again while it is the same', async () => {
  const path = join(folder, 'ids.json')
  await utimes(path, 1, 1)
  const dir = await open()
  // As long, as old, and the same file, so nobody can tell.
  await writeFile(path, '{"2": "f.avsc"}')
  await utimes(path, 1, 1)
  assert.equal(await dir.find(2), undefined)
})

test('a folder that cannot be used: schema-dir-invalid, with the file', async () => {
  const rejects = (message: RegExp) => assert.rejects(open(), { code: 'schema-dir-invalid', message })
  const write = (text: string) => writeFile(join(folder, 'ids.json'), text)
  await write('{"1": "f.avsc"')
  await rejects(/ids\.json cannot be read/)
  await write('["f.avsc"]')
  await rejects(/no JSON object; expected ids and files/)
  await write('{"one": "f.avsc"}')
  await rejects(/lists the id "one"; expected a whole number from 1/)
  await write('{"2147483648": "f.avsc"}')
  await rejects(/expected a whole number from 1 to 2147483647/)
  await write('{"1": "../f.avsc"}')
  await rejects(/gives "\.\.\/f\.avsc" for id 1; expected the name of a file beside it/)
  await write('{"1": "g.avsc"}')
  await rejects(/g\.avsc, which ids\.json lists under 1, cannot be read/)
  await rm(join(folder, 'ids.json'))
  await rejects(/ids\.json cannot be read/)
})

test('while somebody edits ids.json, records wait', async () => {
  const dir = await open()
  await writeFile(join(folder, 'ids.json'), '{"1": "f.av')
  await assert.rejects(dir.find(2), { code: 'registry-unreachable', message: /ids\.json cannot be read/ })
  assert.equal(await dir.find(1), FEATURES)
  await writeFile(join(folder, 'ids.json'), '{"1": "f.avsc", "2": "f.avsc"}')
  assert.equal(await dir.find(2), FEATURES)
})

test('registering a schema that is listed gives its id, whatever its docs say', async () => {
  await writeFile(join(folder, 'p.avsc'), prediction('y', 'as it was'))
  await writeFile(join(folder, 'ids.json'), '{"1": "f.avsc", "7": "p.avsc"}')
  assert.equal(await (await open()).register('t-value', prediction('y', 'as it is')), 7)
})

test('registering a new schema derives its id and adds it', async () => {
  const dir = await open()
  const id = await dir.register('t-value', prediction('y'))
  assert.ok(Number.isInteger(id) && id >= 2 ** 24 && id < 2 ** 31)
  assert.equal(await dir.find(id), prediction('y'))
  assert.deepEqual(await ids(), { 1: 'f.avsc', [id]: 't-value.avsc' })
  const again = await open()
  assert.deepEqual(JSON.parse((await again.find(id))!), JSON.parse(prediction('y')))
  assert.equal(await again.register('t-value', prediction('y')), id)
})

test('a subject whose schema changes keeps the older file', async () => {
  const dir = await open()
  const older = await dir.register('t-value', prediction('y'))
  const newer = await dir.register('t-value', prediction('z'))
  assert.deepEqual(await ids(), { 1: 'f.avsc', [older]: 't-value.avsc', [newer]: `t-value.${newer}.avsc` })
})

test('replicas that register at the same time agree, and lose nothing', async () => {
  const fields = Array.from({ length: 12 }, (_, i) => `y${i % 6}`)
  const dirs = await Promise.all(fields.map(() => open()))
  const given = await Promise.all(fields.map((field, i) => dirs[i]!.register(`${field}-value`, prediction(field))))
  assert.deepEqual(given.slice(0, 6), given.slice(6))
  assert.equal(new Set(given).size, 6)
  assert.deepEqual(Object.keys(await ids()).sort(), ['1', ...new Set(given.map(String))].sort())
  const strays = (await readdir(folder)).filter(name => !/^(ids\.json|.*\.avsc)$/.test(name))
  assert.deepEqual(strays, [])
})

test('where the folder cannot be written to, the id is the same and the log says why', async () => {
  const lines: Record<string, unknown>[] = []
  const log: Log = { ...silentLog, debug: fields => lines.push(fields) }
  // A lock that nobody gives back, because a read-only folder would not stop root.
  await writeFile(join(folder, 'ids.json.lock'), '')
  const dir = await SchemaDir.open(folder, { ...systemClock, sleep: async () => {} }, log)
  const id = await dir.register('t-value', prediction('y'))
  assert.match(String(lines[0]?.reason), /ids\.json\.lock is held; remove it/)
  assert.deepEqual(await ids(), { 1: 'f.avsc' })
  await rm(join(folder, 'ids.json.lock'))
  assert.equal(await (await open()).register('t-value', prediction('y')), id)
})
