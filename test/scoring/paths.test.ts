import assert from 'node:assert/strict'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import { deadLetterFile, readLines, score, temporaryFolder } from './support.ts'

const CSV = 'sepal_length,sepal_width,petal_length,petal_width\n5,3,1,0\nx,3,1,0\n'

/** A file with a good and a bad row, and how to score it. */
function flowers(t: TestContext, name = 'in.csv') {
  const folder = temporaryFolder(t)
  const [input, output] = [join(folder, name), join(folder, 'out.csv')]
  writeFileSync(input, CSV)
  return { folder, input, output, request: { input, output, model: 'iris-classifier' } }
}

it('a partial file is never one of the other files', async t => {
  const { folder, input, output, request } = flowers(t, 'out.csv.partial.csv')
  const refused = (message: RegExp) => ({ code: 'invalid-config', message })
  symlinkSync(input, `${output}.partial`)
  await assert.rejects(
    score({ ...request, force: true }),
    refused(/--input and the .*out\.csv\.partial of --output are/),
  )
  rmSync(`${output}.partial`)
  symlinkSync(input, `${deadLetterFile(output)}.partial`)
  await assert.rejects(score({ ...request, force: true }), refused(/--input and the .*\.partial of --dead-letters are/))
  rmSync(`${deadLetterFile(output)}.partial`)
  const deadLetters = join(folder, 'in.csv')
  const clash = { ...request, output: `${deadLetters}.partial.csv`, deadLetters: `${deadLetters}.partial.csv.partial` }
  await assert.rejects(score(clash), refused(/the .*\.partial of --output and --dead-letters are/))
  assert.equal(readFileSync(input, 'utf8'), CSV)
})

it('an output that is no regular file is refused', async t => {
  const { output, request } = flowers(t)
  mkdirSync(output)
  const refused = { code: 'file-unusable', message: /out\.csv is there, and is no regular file/ }
  await assert.rejects(score({ ...request, force: true }), refused)
})

it('a link to nowhere is there: it is refused before a row is read, and replaced with --force', async t => {
  for (const place of ['output', 'deadLetters'] as const) {
    const { folder, output, request } = flowers(t)
    const path = place === 'output' ? output : deadLetterFile(output)
    symlinkSync(join(folder, 'nowhere'), path)
    const onProgress = () => assert.fail('it was begun')
    await assert.rejects(score({ ...request, onProgress }), { code: 'file-exists', message: /is there already/ })
    assert.equal(readlinkSync(path), join(folder, 'nowhere'))
    await score({ ...request, force: true })
    assert.equal(lstatSync(path).isFile(), true)
  }
})

it('dead letters have their name only when the output is whole, too', async t => {
  const { output, request } = flowers(t)
  const other = () => {
    rmSync(`${output}.partial`)
    writeFileSync(`${output}.partial`, 'of another run')
  }
  await assert.rejects(score({ ...request, onProgress: other }), { code: 'file-unusable', message: /another run/ })
  assert.deepEqual([output, deadLetterFile(output)].map(existsSync), [false, false])
  assert.equal(readFileSync(`${output}.partial`, 'utf8'), 'of another run')
})

it('dead letters beside a partial output are what a kill between the names leaves: the next run replaces them', async t => {
  const { input, output, request } = flowers(t)
  const kill = () => renameSync(output, `${output}.partial`)
  await score(request)
  kill()
  await score(request)
  assert.equal(readLines(deadLetterFile(output)).length, 1)
  kill()
  // Nor does a run that fails leave them in the way of the one after it.
  await assert.rejects(score({ ...request, signal: AbortSignal.abort() }), { code: 'interrupted' })
  assert.deepEqual([deadLetterFile(output), `${output}.partial`].map(existsSync), [false, false])
  await score(request)
  kill()
  writeFileSync(input, CSV.replace('x,', '5,'))
  await score(request)
  assert.equal(existsSync(deadLetterFile(output)), false)
})

it('dead letters that are there without a partial output, or are none, are not replaced without --force', async t => {
  const { folder, output, request } = flowers(t)
  const deadLetters = deadLetterFile(output)
  const refused = async () => {
    const before = readFileSync(deadLetters, 'utf8')
    await assert.rejects(score(request), { code: 'file-exists', message: /dead-letters\.jsonl is there already/ })
    assert.equal(readFileSync(deadLetters, 'utf8'), before)
  }
  // Those of another output.
  await score({ ...request, output: join(folder, 'other.csv'), deadLetters })
  await refused()
  writeFileSync(`${output}.partial`, '')
  for (const text of ['precious', '{"row":0,"label":0}\n', '']) {
    writeFileSync(deadLetters, text)
    await refused()
  }
  await score({ ...request, force: true })
  assert.equal(readLines(deadLetters).length, 1)
})

it('what comes up meanwhile is not replaced, neither the output nor the dead letters', async t => {
  for (const [csv, ...names] of [
    [CSV, 'output', 'deadLetters'],
    [CSV, 'deadLetters'],
    [CSV.replace('x,', '5,'), 'deadLetters'],
  ]) {
    const { input, output, request } = flowers(t)
    writeFileSync(input, csv!)
    const paths = names.map(name => (name === 'output' ? output : deadLetterFile(output)))
    const onProgress = () => {
      for (const path of paths) writeFileSync(path, 'of somebody else')
    }
    await assert.rejects(score({ ...request, onProgress }), { code: 'file-exists' })
    for (const path of paths) assert.equal(readFileSync(path, 'utf8'), 'of somebody else')
    assert.equal(existsSync(output), paths.includes(output))
    assert.equal(existsSync(`${output}.partial`), false)
  }
})
