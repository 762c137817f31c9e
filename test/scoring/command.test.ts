import assert from 'node:assert/strict'
import { existsSync, linkSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { ScoreSummary } from '../../src/scoring/scoring.ts'
import { until } from '../support/broker.ts'
import { goldenSamples, MODEL_STORE } from '../support/models.ts'
import { runSluice, startSluice } from '../support/sluice-process.ts'
import { readRows, temporaryFolder, writeAvro } from './support.ts'

const PEAK_MEMORY = new URL('./peak-memory.ts', import.meta.url).href
const HEADER = 'sepal_length,sepal_width,petal_length,petal_width'
const COMMON = ['--model-store', MODEL_STORE, '--model', 'iris-classifier']

/** A CSV file of `rows` flowers, and the arguments that score it. */
function flowers(t: TestContext, rows: number) {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, 'in.csv'), join(folder, 'out.csv')]
  writeFileSync(input, `${HEADER}\n${'5.1,3.5,1.4,0.2\n'.repeat(rows)}`)
  return { folder, input, output, args: ['score', ...COMMON, '--input', input, '--output', output] }
}

describe('sluice score', () => {
  it('prints a summary, as text and as JSON', async t => {
    const { input, output, args } = flowers(t, 3)
    writeFileSync(input, `${HEADER}\n5.1,3.5,1.4,0.2\nx,3,1,0\n`)
    const text = await runSluice(args)
    assert.equal(text.code, 0, text.stderr)
    assert.match(text.stdout, /^rows +2$/m)
    assert.match(text.stdout, /^predictions +1$/m)
    assert.match(text.stdout, /^dead letters +1 in .*out\.csv\.dead-letters\.jsonl: 1 feature-type$/m)
    assert.match(text.stdout, /^model +iris-classifier, version 1, SHA-256 [0-9a-f]{64}, on cpu$/m)
    assert.match(text.stdout, /^time +\d+\.\d s, [\d,]+ rows\/s$/m)
    const json = await runSluice([...args, '--force', '--json'])
    const summary = JSON.parse(json.stdout) as ScoreSummary
    assert.deepEqual(
      [summary.rows, summary.predictions, summary.deadLetters, summary.deadLettersByCode],
      [2, 1, 1, { 'feature-type': 1 }],
    )
    assert.deepEqual([summary.input, summary.output], [input, output])
    assert.deepEqual([summary.model.name, summary.model.version], ['iris-classifier', '1'])
  })

  it('refuses files that would be lost', async t => {
    const { folder, input, output, args } = flowers(t, 1)
    writeFileSync(output, 'precious')
    const exists = await runSluice(args)
    assert.equal(exists.code, 1)
    assert.match(exists.stderr, /out\.csv is there already\. \(file-exists\) .*--force/)
    assert.equal(readFileSync(output, 'utf8'), 'precious')
    linkSync(input, join(folder, 'hard.csv'))
    symlinkSync(input, join(folder, 'soft.csv'))
    symlinkSync(folder, join(folder, 'around'))
    for (const same of [input, join(folder, 'hard.csv'), join(folder, 'soft.csv'), join(folder, 'around', 'in.csv')]) {
      const { code, stderr } = await runSluice([...args.slice(0, -1), same, '--force'])
      assert.equal(code, 2)
      assert.match(stderr, /--input and --output are the same file/)
    }
    const letters = await runSluice([...args, '--force', '--dead-letters', join(folder, 'around', 'out.csv')])
    assert.equal(letters.code, 2)
    assert.match(letters.stderr, /--output and --dead-letters are the same file/)
    assert.equal(statSync(input).size, HEADER.length + 1 + 16)
  })

  it('says what is wrong with its options, and ends with 2', async t => {
    const { args } = flowers(t, 1)
    const cases: [string[], RegExp][] = [
      [['score', '--model', 'iris-classifier', '--input', 'in.csv'], /--output is needed/],
      [['score', ...COMMON, '--input', 'in.txt', '--output', 'out.csv'], /in\.txt ends with none of \.avro, /],
      [[...args, '--input-format', 'tsv'], /--input-format is "tsv"; there are avro, jsonl, csv, parquet/],
      [[...args, '--max-dead-letters', 'few'], /--max-dead-letters is "few"/],
      [[...args, '--keep', 'colour'], /--keep names "colour", which is no column of the input; it has sepal_length, /],
    ]
    for (const [words, message] of cases) {
      const { code, stderr } = await runSluice(words)
      assert.match(stderr, message)
      assert.equal(code, 2, stderr)
      assert.equal(stderr.trim().split('\n').length, 1, 'one line')
    }
  })

  it('takes the format from an option where the name does not say it', async t => {
    const { input, output, folder } = flowers(t, 2)
    const plain = join(folder, 'out')
    const words = ['--input', input, '--output', plain, '--input-format', 'csv', '--output-format', 'jsonl', '--no-row']
    const { code, stderr } = await runSluice(['score', ...COMMON, ...words])
    assert.equal(code, 0, stderr)
    assert.match(readFileSync(plain, 'utf8'), /^\{"label":0,"probabilities":\[.*\]\}\n\{/)
    assert.equal(existsSync(output), false)
  })
})

describe('an end before the end', () => {
  it('SIGKILL leaves only the partial file, and the next run starts over', async t => {
    const rows = 400_000
    const { output, args } = flowers(t, rows)
    const running = startSluice(args)
    const partial = `${output}.partial`
    await until(
      () => existsSync(partial) && statSync(partial).size > 0,
      () => 'nothing was written',
    )
    running.kill('SIGKILL')
    assert.equal((await running.finished).code, 'SIGKILL')
    assert.ok(statSync(partial).size > 0)
    assert.equal(existsSync(output), false)
    const again = await runSluice([...args, '--json'])
    assert.equal(again.code, 0, again.stderr)
    assert.equal((JSON.parse(again.stdout) as ScoreSummary).predictions, rows)
    assert.equal(existsSync(partial), false)
    const scored = await readRows(output)
    assert.equal(scored.length, rows)
    assert.ok(scored.every(({ row }, i) => Number(row) === i))
  })

  it('SIGTERM ends it with 1, a line, and nothing left', async t => {
    const { output, args } = flowers(t, 400_000)
    const running = startSluice(args)
    const partial = `${output}.partial`
    await until(
      () => existsSync(partial) && statSync(partial).size > 0,
      () => 'nothing was written',
    )
    running.kill('SIGTERM')
    const { code, stderr } = await running.finished
    assert.equal(code, 1)
    assert.match(stderr, /^sluice: A signal ended the scoring; there is no output\. \(interrupted\)/m)
    assert.deepEqual([output, partial].map(existsSync), [false, false])
  })
})

it('needs no more memory for a file that is five times as large', async t => {
  const folder = temporaryFolder(t)
  const schema = { type: 'record', name: 'Image', fields: [{ name: 'image', type: { type: 'array', items: 'float' } }] }
  const golden = goldenSamples('ffnn').map(({ input }) => input as Record<string, unknown>)
  const peakOf = async (rows: number) => {
    const [input, output] = [join(folder, `${rows}.avro`), join(folder, `${rows}.out.avro`)]
    await writeAvro(
      input,
      schema,
      Array.from({ length: rows }, (_, i) => golden[i % golden.length]!),
      { blockSize: 1 << 20 },
    )
    const args = ['score', '--model-store', MODEL_STORE, '--model', 'ffnn', '--input', input, '--output', output]
    const { code, stderr, stdout } = await runSluice(args, { imports: [PEAK_MEMORY] })
    assert.equal(code, 0, stderr)
    assert.match(stdout, new RegExp(`^predictions +${rows.toLocaleString('en-US')}$`, 'm'))
    return Number(/^peak (\d+)$/m.exec(stderr)![1]) / 1024
  }
  const small = await peakOf(20_000)
  const large = await peakOf(100_000)
  t.diagnostic(`peaks of ${small.toFixed(0)} and ${large.toFixed(0)} MiB; the files have 60 and 300 MiB`)
  assert.ok(large < small + 60, `${large} MiB against ${small} MiB`)
})
