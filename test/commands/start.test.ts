import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { runSluice } from '../support/sluice-process.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-start-'))
after(() => rmSync(folder, { recursive: true }))

const PREDICT = ['predict', '--model', 'iris-regressor', '0,0,0,0']

test('what was compiled is kept for the next start', async () => {
  const compiled = join(folder, 'compiled')
  const { code, stdout } = await runSluice(PREDICT, { env: { NODE_COMPILE_CACHE: compiled } })
  assert.deepEqual({ code, stdout }, { code: 0, stdout: '0\n' })
  const kept = readdirSync(compiled).flatMap(each => readdirSync(join(compiled, each)))
  assert.ok(kept.length > 20, `${kept.length} files`)
})

test('a start that can keep nothing works all the same', async () => {
  const file = join(folder, 'file')
  writeFileSync(file, '')
  const { code, stdout } = await runSluice(PREDICT, { env: { NODE_COMPILE_CACHE: join(file, 'below') } })
  assert.deepEqual({ code, stdout }, { code: 0, stdout: '0\n' })
})
