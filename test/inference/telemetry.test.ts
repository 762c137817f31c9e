import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { runSluice } from '../support/sluice-process.ts'

it('the runtime sends no telemetry: it does not even make the files that it does so with', async t => {
  const temporary = await mkdtemp(join(tmpdir(), 'sluice-temporary-'))
  t.after(() => rm(temporary, { recursive: true }))
  const env = { TMPDIR: temporary, MODEL_STORE: fileURLToPath(new URL('../../models', import.meta.url)) }
  const { code, stdout } = await runSluice(['predict', '--model', 'iris-regressor', '0,0,0,0'], { env })
  assert.equal(code, 0)
  assert.equal(stdout, '0\n')
  assert.deepEqual(await readdir(temporary), [])
})
