import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { LOOKUP, writeFixtureBundle } from '../faults/bundles.ts'
import { goldenSamples } from '../support/models.ts'
import {
  deadLetterFile,
  type Row,
  readLines,
  readRows,
  score,
  temporaryFolder,
  writeAvro,
  writeLines,
} from './support.ts'

const HEADER = 'sepal_length,sepal_width,petal_length,petal_width'

/** Row, code and input of each dead letter of an output. */
function letters(output: string): unknown[][] {
  return readLines(deadLetterFile(output)).map(({ row, 'error-code': code, input }) => [row, code, input])
}

it('rows of CSV that cannot be read are dead letters with their cells, and the others are scored', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.csv')]
  const lines = [
    HEADER,
    '5.1,3.5,1.4,0.2',
    '5.1,,1.4,0.2',
    '1,2,3',
    '',
    '5.1,3.5,many,0.2',
    '5.1,3.5,NaN,0.2',
    '6,3,4,1',
  ]
  writeFileSync(input, lines.join('\r\n'))
  const summary = await score({ input, output, model: 'iris-classifier' })
  assert.equal(summary.rows, 6)
  assert.equal(summary.predictions, 2)
  assert.deepEqual(summary.deadLettersByCode, {
    'feature-null': 1,
    'invalid-csv': 1,
    'feature-type': 1,
    'feature-not-finite': 1,
  })
  const cells = (a: string, b: string, c: string, d: string) => ({
    sepal_length: a,
    sepal_width: b,
    petal_length: c,
    petal_width: d,
  })
  assert.deepEqual(letters(output), [
    [1, 'feature-null', cells('5.1', '', '1.4', '0.2')],
    [2, 'invalid-csv', '1,2,3'],
    [3, 'feature-type', cells('5.1', '3.5', 'many', '0.2')],
    [4, 'feature-not-finite', cells('5.1', '3.5', 'NaN', '0.2')],
  ])
  assert.deepEqual(
    (await readRows(output)).map(({ row }) => row),
    ['0', '5'],
  )
  const [letter] = readLines(deadLetterFile(output))
  assert.match(String(letter!['error-message']), /sepal_width/)
  assert.equal(letter!['error-stage'], 'decode')
})

it('an empty cell is the default of the bundle', async t => {
  const folder = temporaryFolder(t)
  writeFixtureBundle(folder, LOOKUP, manifest => {
    manifest.inputs[0].features[0].default = 4
  })
  const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.jsonl')]
  writeFileSync(input, 'id,index\na,\nb,7\n')
  await score({ input, output, model: 'lookup', store: folder, keep: ['id'] })
  assert.deepEqual(readLines(output), [
    { row: 0, id: 'a', value: 40 },
    { row: 1, id: 'b', value: 70 },
  ])
})

it('lines that are no objects, or are too long, are dead letters', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.jsonl'), join(folder, 'out.jsonl')]
  const good = JSON.stringify({ sepal_length: 5, sepal_width: 3, petal_length: 1, petal_width: 0 })
  // Longer than what is read at once, and than a line may be.
  const long = `{"note":"${'x'.repeat(9 << 20)}"}`
  writeLines(input, [`\uFEFF${good}`, 'no JSON', '', '[1]', long, good, '{"sepal_length":1}'])
  const summary = await score({ input, output, model: 'iris-classifier' })
  assert.equal(summary.rows, 6)
  assert.deepEqual(letters(output), [
    [1, 'invalid-json', 'no JSON'],
    [2, 'invalid-json', '[1]'],
    [3, 'record-too-large', null],
    [5, 'feature-missing', { sepal_length: 1 }],
  ])
  assert.deepEqual(
    readLines(output).map(({ row }) => row),
    [0, 4],
  )
})

it('a bad record of an Avro block leaves its neighbours alone', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.avro'), join(folder, 'out.avro')]
  const schema = {
    type: 'record',
    name: 'Digit',
    fields: [
      { name: 'note', type: ['null', { type: 'map', values: 'long' }] },
      { name: 'pixels', type: { type: 'array', items: 'float' } },
      { name: 'id', type: 'string' },
    ],
  }
  const golden = goldenSamples('digits-mlp').slice(0, 9)
  const bad: Readonly<Record<number, number[]>> = { 0: [1, 2], 4: [...new Array(63).fill(1), Number.NaN], 8: [] }
  const rows = golden.map(({ input }, i) => {
    const note = i === 4 ? { seen: 12 } : null
    return { note, pixels: bad[i] ?? input.pixels, id: `n${i}` }
  })
  await writeAvro(input, schema, rows)
  const summary = await score({ input, output, model: 'digits-mlp', keep: ['id'] })
  assert.deepEqual(summary.deadLettersByCode, { 'array-length': 2, 'feature-not-finite': 1 })
  assert.deepEqual(
    (await readRows(output)).map(({ row, id }) => [row, id]),
    [1, 2, 3, 5, 6, 7].map(row => [row, `n${row}`]),
  )
  assert.deepEqual(letters(output)[0], [0, 'array-length', { note: null, pixels: [1, 2], id: 'n0' }])
  const { note, pixels } = letters(output)[1]![2] as { note: Row; pixels: unknown[] }
  assert.deepEqual([note, pixels.at(-1)], [{ seen: 12 }, 'NaN'])
})

it('rows that the runtime refuses are found among those of their batch', async t => {
  const folder = temporaryFolder(t)
  writeFixtureBundle(folder, LOOKUP)
  const [input, output] = [join(folder, 'in.jsonl'), join(folder, 'out.csv')]
  const bad = new Set([3, 250, 251, 999])
  writeLines(
    input,
    Array.from({ length: 1000 }, (_, i) => ({ index: bad.has(i) ? 10 + i : i % 10 })),
  )
  const summary = await score({ input, output, model: 'lookup', store: folder })
  assert.deepEqual(summary.deadLettersByCode, { 'inference-failed': 4 })
  const found = readLines(deadLetterFile(output))
  assert.deepEqual(
    found.map(({ row }) => row),
    [...bad],
  )
  for (const letter of found) {
    assert.equal(letter['error-stage'], 'inference')
    assert.deepEqual([letter['model-name'], letter['model-version']], ['lookup', '1'])
  }
  const rows = await readRows(output)
  assert.equal(rows.length, 996)
  for (const { row, value } of rows) assert.equal(Number(value), 10 * (Number(row) % 10))
})

it('too many end the run: no output, and what was found stays to be looked at', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.csv')]
  writeFileSync(input, `${HEADER}\n${'5,3,1,0\nx,3,1,0\n'.repeat(3)}`)
  const request = { input, output, model: 'iris-classifier' }
  const partial = `${deadLetterFile(output)}.partial`
  await assert.rejects(score({ ...request, maxDeadLetters: 2 }), {
    code: 'too-many-dead-letters',
    message: `3 rows could not be predicted, and --max-dead-letters allows 2; they are in ${partial}`,
  })
  assert.deepEqual([output, `${output}.partial`, deadLetterFile(output)].map(existsSync), [false, false, false])
  assert.equal(readLines(partial).length, 3)
  const summary = await score({ ...request, maxDeadLetters: 3 })
  assert.equal(summary.deadLetters, 3)
  assert.equal(existsSync(partial), false)
})

it('without dead letters there is no file of them, and one of an earlier run goes', async t => {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.csv')]
  writeFileSync(input, `${HEADER}\nx,3,1,0\n`)
  await score({ input, output, model: 'iris-classifier' })
  assert.equal(readLines(deadLetterFile(output)).length, 1)
  assert.equal(readFileSync(output, 'utf8').trim().split('\n').length, 1, 'the header')
  writeFileSync(input, `${HEADER}\n5,3,1,0\n`)
  const summary = await score({ input, output, model: 'iris-classifier', force: true })
  assert.equal(summary.deadLetterFile, undefined)
  assert.equal(existsSync(deadLetterFile(output)), false)
})
