import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const check = (folder: string) =>
  spawnSync(process.execPath, ['scripts/docs.ts', '--check'], { cwd: folder, encoding: 'utf8' })

test('the pages of docs/ that are made from tables are what the tables say', () => {
  const { status, stderr } = check(root)
  assert.equal(status, 0, stderr)
})

test('a stale page is named', t => {
  const copy = mkdtempSync(join(tmpdir(), 'sluice-docs-'))
  t.after(() => rmSync(copy, { recursive: true }))
  for (const part of ['src/config', 'src/core', 'src/ops', 'faults', 'scripts', 'docs', 'package.json']) {
    cpSync(join(root, part), join(copy, part), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  const page = join(copy, 'docs/errors.md')
  writeFileSync(page, readFileSync(page, 'utf8').replace('null-value', 'no-value'))
  const { status, stderr } = check(copy)
  assert.equal(status, 1)
  assert.equal(stderr, 'docs/errors.md is stale: run `node scripts/docs.ts`\n')
})
