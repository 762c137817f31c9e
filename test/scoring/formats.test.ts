import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'
import { crc32, zstdCompress } from 'node:zlib'
import avro from 'avsc'
import snappy from 'snappy'
import { flowerRows } from '../../bench/rows.ts'
import { TYPES, writeFixtureBundle } from '../faults/bundles.ts'
import { disagreement, goldenSamples } from '../support/models.ts'
import {
  type Row,
  readLines,
  readRows,
  score,
  temporaryFolder,
  writeAvro,
  writeCsv,
  writeLines,
  writeParquet,
} from './support.ts'

const FORMATS = ['avro', 'jsonl', 'csv', 'parquet'] as const
const FEATURES = ['sepal_length', 'sepal_width', 'petal_length', 'petal_width']

const IRIS_SCHEMA = {
  type: 'record',
  name: 'Flower',
  fields: [
    { name: 'id', type: 'long' },
    ...FEATURES.map(name => ({ name, type: 'float' })),
    { name: 'label', type: ['null', 'string'] },
  ],
}

/** The flowers of Fisher, each with a number and the name of its kind, which are no features. */
const FLOWERS: readonly Row[] = flowerRows().map((row, i) => ({
  id: 1000 + i,
  ...Object.fromEntries(FEATURES.map((name, f) => [name, row[f]!])),
  label: i % 7 === 0 ? null : `kind ${i % 3}, "so"`,
}))

async function writeFlowers(folder: string): Promise<Record<(typeof FORMATS)[number], string>> {
  const files = Object.fromEntries(FORMATS.map(format => [format, join(folder, `flowers.${format}`)]))
  await writeAvro(
    files.avro!,
    IRIS_SCHEMA,
    FLOWERS.map(row => ({ ...row, label: row.label === null ? null : row.label })),
  )
  writeLines(files.jsonl!, FLOWERS)
  writeCsv(files.csv!, FLOWERS)
  writeParquet(files.parquet!, FLOWERS, {
    id: 'INT64',
    ...Object.fromEntries(FEATURES.map(name => [name, 'FLOAT' as const])),
    label: 'STRING',
  })
  return files as Record<(typeof FORMATS)[number], string>
}

/** A row of CSV as the other formats have it. */
function typed(row: Row): Row {
  const { label, input_label, ...rest } = row
  const numbers = Object.entries(rest).map(([name, value]) => [name, Number(value)] as const)
  const scores = numbers.filter(([name]) => name.startsWith('probabilities')).map(([, value]) => value)
  const others = numbers.filter(([name]) => !name.startsWith('probabilities'))
  return {
    ...Object.fromEntries(others),
    input_label: input_label === '' ? null : input_label,
    label: Number(label),
    probabilities: scores,
  }
}

/** JSON and CSV keep what they read, digit for digit; the others a float as it is. */
function rounded(row: Row): Row {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, typeof value === 'number' ? Math.fround(value) : value]),
  )
}

describe('every format into every format', () => {
  const folder = temporaryFolder({ after: work => process.on('exit', () => void (work as () => void)()) })
  let files: Awaited<ReturnType<typeof writeFlowers>>
  let expected: Row[]

  before(async () => {
    files = await writeFlowers(folder)
    const output = join(folder, 'expected.jsonl')
    await score({ input: files.jsonl, output, model: 'iris-classifier' })
    expected = readLines(output)
  })

  for (const input of FORMATS) {
    for (const output of FORMATS) {
      it(`${input} into ${output}: the same predictions in the same order, with what is kept`, async () => {
        const target = join(folder, `${input}.out.${output}`)
        const summary = await score({ input: files[input], output: target, model: 'iris-classifier', keep: 'all' })
        assert.equal(summary.rows, FLOWERS.length)
        assert.equal(summary.predictions, FLOWERS.length)
        const rows = await readRows(target)
        assert.equal(rows.length, FLOWERS.length)
        for (const [i, row] of rows.entries()) {
          const { id, label, ...features } = FLOWERS[i]!
          const whole = { row: i, id, ...features, input_label: label, ...expected[i] }
          // What the input has no type for is text in a file that needs one.
          const kept = rounded(output === 'csv' ? typed(row) : { ...row, id: Number(row.id) })
          assert.deepEqual(kept, rounded(whole), `row ${i}`)
        }
      })
    }
  }
})

it('repeats the golden samples of a model that takes an array, within its tolerance', async t => {
  const folder = temporaryFolder(t)
  const golden = goldenSamples('digits-mlp')
  writeLines(
    join(folder, 'digits.jsonl'),
    golden.map(({ input }) => input as Row),
  )
  await score({
    input: join(folder, 'digits.jsonl'),
    output: join(folder, 'scores.jsonl'),
    model: 'digits-mlp',
    rowNumbers: false,
  })
  const rows = readLines(join(folder, 'scores.jsonl'))
  assert.equal(rows.length, golden.length)
  for (const [i, row] of rows.entries()) assert.equal(disagreement('digits-mlp', golden[i]!.output, row), undefined)
})

describe('arrays', () => {
  it('come from columns name[0], name[1], … of a CSV, or from one cell, or from a list of Parquet', async t => {
    const folder = temporaryFolder(t)
    const golden = goldenSamples('digits-mlp').slice(0, 20)
    const pixels = golden.map(({ input }) => input.pixels as number[])
    writeCsv(
      join(folder, 'columns.csv'),
      pixels.map(each => Object.fromEntries(each.map((pixel, i) => [`pixels[${i}]`, pixel]))),
    )
    writeCsv(
      join(folder, 'cells.csv'),
      pixels.map(each => ({ pixels: each })),
    )
    await writeAvro(
      join(folder, 'lists.avro'),
      { type: 'record', name: 'Digit', fields: [{ name: 'pixels', type: { type: 'array', items: 'double' } }] },
      pixels.map(each => ({ pixels: each })),
    )
    // A file that Sluice wrote: what it keeps, it reads.
    await score({
      input: join(folder, 'lists.avro'),
      output: join(folder, 'lists.parquet'),
      model: 'digits-mlp',
      keep: ['pixels'],
    })
    for (const name of ['columns.csv', 'cells.csv', 'lists.avro', 'lists.parquet']) {
      const output = join(folder, `${name}.jsonl`)
      await score({ input: join(folder, name), output, model: 'digits-mlp', rowNumbers: false })
      const rows = readLines(output)
      assert.equal(rows.length, golden.length, name)
      for (const [i, row] of rows.entries())
        assert.equal(disagreement('digits-mlp', golden[i]!.output, row), undefined, name)
    }
  })
})

it('keeps numbers of 64 bits, booleans and arrays of integers as they are', async t => {
  const folder = temporaryFolder(t)
  writeFixtureBundle(folder, TYPES)
  // JSON rounds such a number when it is read; CSV and Avro do not.
  writeFileSync(
    join(folder, 'in.csv'),
    'count,member,price,discount,basket,note\n9007199254740993,true,0.1,0,"[1,2,3]",a\n-5,False,1e300,2.5,"[-1,0,2147483647]",\n',
  )
  await score({
    input: join(folder, 'in.csv'),
    output: join(folder, 'out.avro'),
    model: 'types',
    store: folder,
    keep: 'all',
  })
  await score({
    input: join(folder, 'out.avro'),
    output: join(folder, 'out.jsonl'),
    model: 'types',
    store: folder,
    keep: 'all',
  })
  const [first, second] = readFileSync(join(folder, 'out.jsonl'), 'utf8').trim().split('\n')
  const kept = '"count":9007199254740993,"member":true,"price":0.1,"discount":0,"basket":[1,2,3],"note":"a"'
  const predicted = '"next_count":9007199254740994,"twice":[0.2,0]'
  const before = predicted.replaceAll('"next_count"', '"input_next_count"').replace('"twice"', '"input_twice"')
  assert.equal(first, `{"row":0,"input_row":0,${kept},${before},${predicted}}`)
  assert.match(second!, /"count":-5,"member":false,"price":1e\+300,/)
})

describe('Avro blocks', () => {
  const codecs = {
    snappy: ((data, callback) => {
      const sum = Buffer.alloc(4)
      sum.writeUInt32BE(crc32(data))
      callback(null, Buffer.concat([snappy.compressSync(data), sum]))
    }) satisfies avro.Codec,
    zstandard: ((data, callback) => zstdCompress(data, callback)) satisfies avro.Codec,
    deflate: avro.streams.BlockEncoder.defaultCodecs().deflate!,
  }
  const schema = { type: 'record', name: 'Image', fields: [{ name: 'image', type: { type: 'array', items: 'float' } }] }
  const golden = goldenSamples('ffnn')

  for (const codec of ['null', 'deflate', 'snappy', 'zstandard'] as const) {
    it(`of codec ${codec} are read, over many windows of the file`, async t => {
      const folder = temporaryFolder(t)
      const input = join(folder, 'images.avro')
      const rows = codec === 'null' ? 4000 : 600
      const images = Array.from({ length: rows }, (_, i) => golden[i % golden.length]!.input as Row)
      await writeAvro(input, schema, images, { codec, blockSize: 100_000, ...(codec === 'null' ? {} : { codecs }) })
      const output = join(folder, 'scores.avro')
      const summary = await score({ input, output, model: 'ffnn' })
      assert.equal(summary.predictions, rows)
      const scored = await readRows(output)
      assert.deepEqual(
        scored.map(({ row }) => row),
        images.map((_, i) => i),
      )
      for (const [i, { scores }] of scored.entries()) {
        assert.equal(disagreement('ffnn', golden[i % golden.length]!.output, { scores }), undefined)
      }
    })
  }
})
