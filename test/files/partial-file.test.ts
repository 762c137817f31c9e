import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import { PartialFile } from '../../src/files/partial-file.ts'

function target(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-partial-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return join(folder, 'out.csv')
}

it('has its name only once it is whole', async t => {
  const path = target(t)
  writeFileSync(`${path}.partial`, 'of a run that was killed, and longer')
  const file = await PartialFile.create(path)
  file.append(Buffer.from('one '))
  await file.flush()
  assert.equal(readFileSync(file.partial, 'utf8'), 'one ')
  assert.equal(existsSync(path), false)
  for (let i = 0; i < 2000; i++) file.append(Buffer.from(`${i} `))
  await file.seal()
  assert.equal(existsSync(path), false)
  await file.publish(false)
  assert.equal(readFileSync(path, 'utf8'), `one ${Array.from({ length: 2000 }, (_, i) => `${i} `).join('')}`)
  assert.equal(existsSync(file.partial), false)
})

it('given up, it leaves nothing; an older one keeps its name until the end', async t => {
  const path = target(t)
  writeFileSync(path, 'old')
  const file = await PartialFile.create(path)
  file.append(Buffer.from('new'))
  await file.flush()
  assert.equal(readFileSync(path, 'utf8'), 'old')
  await file.discard()
  assert.equal(existsSync(file.partial), false)
  assert.equal(readFileSync(path, 'utf8'), 'old')
})

it('of two runs on the same path only the one whose file it is gives it the name', async t => {
  const path = target(t)
  const first = await PartialFile.create(path)
  const second = await PartialFile.create(path)
  first.append(Buffer.from('first'))
  await assert.rejects(first.seal(), { code: 'file-unusable', message: /another run writes to/ })
  assert.equal(existsSync(path), false)
  second.append(Buffer.from('second'))
  await first.discard()
  await second.seal()
  await second.publish(false)
  assert.equal(readFileSync(path, 'utf8'), 'second')
})

it('a folder that is missing is said', async t => {
  const path = join(target(t), 'deeper', 'out.csv')
  await assert.rejects(PartialFile.create(path), { code: 'file-unusable', message: /deeper.*cannot be written/ })
})

it('replaces a file only where it is to', async t => {
  const path = target(t)
  const file = await PartialFile.create(path)
  file.append(Buffer.from('new'))
  await file.seal()
  writeFileSync(path, 'of somebody else')
  await assert.rejects(file.publish(false), { code: 'file-exists', message: /out\.csv is there already/ })
  assert.equal(readFileSync(path, 'utf8'), 'of somebody else')
  assert.equal(readFileSync(file.partial, 'utf8'), 'new')
  await file.publish(true)
  assert.equal(readFileSync(path, 'utf8'), 'new')
  assert.equal(existsSync(file.partial), false)
})

it('given up after it has its name, it leaves the partial file of the next run alone', async t => {
  const path = target(t)
  const file = await PartialFile.create(path)
  await file.seal()
  await file.publish(false)
  const next = await PartialFile.create(path)
  await file.discard()
  assert.equal(existsSync(next.partial), true)
  await next.discard()
  assert.equal(existsSync(next.partial), false)
})
