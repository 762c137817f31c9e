import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
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

it('dead letters without an output are what a kill leaves: the next run replaces them', async t => {
  const { output, request } = flowers(t)
  await score(request)
  rmSync(output)
  await score(request)
  assert.equal(readLines(deadLetterFile(output)).length, 1)
  rmSync(output)
  writeFileSync(deadLetterFile(output), 'precious')
  await assert.rejects(score(request), { code: 'file-exists', message: /dead-letters\.jsonl is there already/ })
  assert.equal(readFileSync(deadLetterFile(output), 'utf8'), 'precious')
})

it('an output that comes up meanwhile is not replaced', async t => {
  const { output, request } = flowers(t)
  const appear = () => writeFileSync(output, 'of somebody else')
  await assert.rejects(score({ ...request, onProgress: appear }), { code: 'file-exists' })
  assert.equal(readFileSync(output, 'utf8'), 'of somebody else')
  assert.equal(existsSync(`${output}.partial`), false)
})
