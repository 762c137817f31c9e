import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { flowerRows } from '../../bench/rows.ts'
import { deadLetterFile, readLines, score, temporaryFolder, writeAvro } from './support.ts'

const NAMES = ['sepal_length', 'sepal_width', 'petal_length', 'petal_width']
const SCHEMA = { type: 'record', name: 'Flower', fields: NAMES.map(name => ({ name, type: 'float' })) }
const ROWS = flowerRows().map(row => Object.fromEntries(NAMES.map((name, i) => [name, row[i]])))
const SYNC_BYTES = 16
const ROW_BYTES = 16

/** An Avro file of the flowers, one block, with no sign of damage. */
async function container(t: TestContext, options = {}) {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.avro'), join(folder, 'out.avro')]
  await writeAvro(input, SCHEMA, ROWS, options)
  return { folder, input, output, bytes: readFileSync(input) }
}

/** Expects that nothing came of it, and that the message says so of the file. */
async function refuses(input: string, output: string, code: string, message: RegExp): Promise<void> {
  await assert.rejects(score({ input, output, model: 'iris-classifier' }), (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    assert.ok(error.message.includes(input), error.message)
    return true
  })
  assert.deepEqual([output, `${output}.partial`].map(existsSync), [false, false])
}

describe('a damaged Avro file makes no output', () => {
  const damages: Record<string, [change: (bytes: Buffer) => Buffer, message: RegExp]> = {
    'is cut off within a block': [bytes => bytes.subarray(0, -100), /ends within a block/],
    'is cut off within its header': [bytes => bytes.subarray(0, 60), /ends within its header/],
    'is empty': [() => Buffer.alloc(0), /ends within its header/],
    'is something else': [() => Buffer.from('sepal_length,sepal_width\n5,3\n'), /does not begin as an Avro container/],
    'has another mark at the end of a block': [
      bytes => {
        bytes[bytes.length - 1]! ^= 1
        return bytes
      },
      /has a block at byte \d+ that does not end where it says/,
    ],
    'has a block of an impossible size': [
      bytes => {
        const block = bytes.length - SYNC_BYTES - ROWS.length * ROW_BYTES - 4
        bytes.fill(0xff, block + 2, block + 12)
        return bytes
      },
      /has no block at byte \d+/,
    ],
  }
  for (const [name, [change, message]] of Object.entries(damages)) {
    it(`that ${name}`, async t => {
      const { input, output, bytes } = await container(t)
      writeFileSync(input, change(bytes))
      await refuses(input, output, 'file-invalid', message)
    })
  }

  it('whose block does not decompress', async t => {
    const { input, output, bytes } = await container(t, { codec: 'deflate' })
    bytes.fill(0xff, bytes.length - SYNC_BYTES - 200, bytes.length - SYNC_BYTES - 100)
    writeFileSync(input, bytes)
    await refuses(input, output, 'file-invalid', /has a block at byte \d+ that cannot be decompressed/)
  })
})

it('rows of a block behind one that makes no sense are dead letters, and the next block is read', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.avro'), join(folder, 'out.jsonl')]
  const schema = { ...SCHEMA, fields: [{ name: 'note', type: 'string' }, ...SCHEMA.fields] }
  // 22 bytes a record: a block of ten closes with the tenth.
  await writeAvro(
    input,
    schema,
    ROWS.slice(0, 20).map(row => ({ note: 'about', ...row })),
    { blockSize: 225 },
  )
  const bytes = readFileSync(input)
  const third = bytes.indexOf('about') + 2 * 22
  bytes[third - 1] = 0x7f // the length of its note is -64
  writeFileSync(input, bytes)
  const summary = await score({ input, output, model: 'iris-classifier' })
  assert.equal(summary.rows, 20)
  assert.deepEqual(summary.deadLettersByCode, { 'invalid-avro': 8 })
  assert.deepEqual(
    readLines(output).map(({ row }) => row),
    [0, 1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
  )
  const letters = readLines(deadLetterFile(output))
  assert.match(String(letters[0]!['error-message']), /a string has the negative length -64|negative length/)
  assert.match(String(letters[1]!['error-message']), /nobody knows where this one begins/)
})

it('a schema without a feature is refused before a row is read', async t => {
  const { folder, output } = await container(t)
  const short = join(folder, 'short.avro')
  await writeAvro(short, { ...SCHEMA, fields: SCHEMA.fields.slice(1) }, ROWS)
  await refuses(short, output, 'schema-misfit', /sepal_length/)
  const csv = join(folder, 'short.csv')
  writeFileSync(csv, 'sepal_length,sepal_width\n5,3\n')
  await refuses(csv, output, 'schema-misfit', /it has no column "petal_length"/)
})

it('CSV with a quote that nobody closes, without a header, or with a column twice is refused', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.csv')]
  writeFileSync(input, `${NAMES.join(',')}\n5,3,1,0\n"5,3,1,0\n5,3,1,0\n`)
  await refuses(input, output, 'file-invalid', /is no valid CSV: Quote Not Closed/)
  writeFileSync(input, '')
  await refuses(input, output, 'file-invalid', /is empty/)
  writeFileSync(input, `${NAMES.join(',')},petal_width\n`)
  await refuses(input, output, 'file-invalid', /has two columns "petal_width"/)
})

it('a Parquet file that was cut off, and a file that is none, are refused', async t => {
  const { folder, input } = await container(t)
  const parquet = join(folder, 'flowers.parquet')
  await score({ input, output: parquet, model: 'iris-classifier', keep: 'all' })
  const output = join(folder, 'out.parquet')
  const whole = readFileSync(parquet)
  writeFileSync(parquet, whole.subarray(0, whole.length - 50))
  await refuses(parquet, output, 'file-invalid', /is no Parquet file/)
  writeFileSync(parquet, whole.fill(0, 4, 200))
  await refuses(parquet, output, 'file-invalid', /cannot be read as Parquet|is no Parquet file/)
})

it('what cannot be opened says so: a file that is missing, a folder', async t => {
  const folder = temporaryFolder(t)
  for (const ending of ['avro', 'jsonl', 'csv', 'parquet']) {
    await refuses(join(folder, `none.${ending}`), join(folder, `out.${ending}`), 'file-unusable', /cannot be read/)
  }
  assert.deepEqual(readdirSync(folder), [])
})
