import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { record, replaced } from '../../bench/report/record.ts'

test('a section takes the place of the former one, and all around it stays', () => {
  const first = replaced('# Results\n\nBy hand.\n', { name: 'a', text: 'old' })
  const both = replaced(first, { name: 'b', text: 'other' })
  const again = replaced(both, { name: 'a', text: 'new' })
  assert.match(again, /^# Results\n\nBy hand\.\n/)
  assert.match(again, /new[\s\S]*other/)
  assert.doesNotMatch(again, /old/)
  assert.equal(replaced(again, { name: 'a', text: 'new' }), again)
})

test('page, figures and plots are written, and a later record keeps the sections that it has not measured', t => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-record-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const url = pathToFileURL(`${folder}/`)
  record([{ name: 'one', text: 'first', data: { x: 1 }, plots: { 'one.svg': '<svg/>' } }], url)
  record([{ name: 'two', text: 'second', data: { x: 2 } }], url)
  const page = readFileSync(join(folder, 'RESULTS.md'), 'utf8')
  assert.match(page, /first[\s\S]*second/)
  record([{ name: 'one', text: 'third', data: { x: 1 / 3 } }], url)
  const lines = readFileSync(join(folder, 'RESULTS.jsonl'), 'utf8').trimEnd().split('\n')
  assert.deepEqual(
    lines.map(line => JSON.parse(line)),
    [
      { name: 'one', data: { x: 0.333333 } },
      { name: 'two', data: { x: 2 } },
    ],
  )
  assert.equal(readFileSync(join(folder, 'images', 'one.svg'), 'utf8'), '<svg/>')
})
