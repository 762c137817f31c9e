import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { pythonWith } from '../../dev/python.ts'
import { fixture } from '../inference/fixtures.ts'
import { openDesk } from '../support/desk.ts'
import { copyVersions, storeFixture } from '../support/models.ts'

const found = pythonWith(fileURLToPath(new URL('requirements.txt', import.meta.url)))
const skip = 'missing' in found ? found.missing : false

/** Twice the same words, and a number for each: its tensors are strings. */
const strings = () => fixture('strings', { words: ['string', [2]] }, { echo: ['string', [2]], code: ['int64', [2]] })

test("NVIDIA's client works unchanged, in JSON and in binary", { skip }, async t => {
  const store = mkdtempSync(join(tmpdir(), 'sluice-triton-'))
  t.after(() => rmSync(store, { recursive: true }))
  copyVersions(store, 'iris-classifier', ['1'])
  storeFixture(store, strings())
  await using open = await openDesk({ store, models: ['iris-classifier', 'strings'] })
  const script = fileURLToPath(new URL('triton_client.py', import.meta.url))
  const { python } = found as { python: string }
  const { stdout } = await promisify(execFile)(python, [script, `127.0.0.1:${open.http.port}`])
  const seen = JSON.parse(stdout)
  const { live, ready, model_ready, version_ready, nobody_ready } = seen
  assert.deepEqual([live, ready, model_ready, version_ready, nobody_ready], [true, true, true, true, false])
  assert.deepEqual(seen.server, { name: 'sluice', version: '9.9.9', extensions: ['binary_tensor_data'] })
  assert.deepEqual(seen.model.outputs[1], { name: 'probabilities', datatype: 'FP32', shape: [-1, 3] })
  const [first, ...others] = seen.answers
  assert.deepEqual([first.label, first.id, first.version], [[0, 2, 1], 'a', '1'])
  assert.equal(others.length, 3)
  for (const other of others) assert.deepEqual(other, first, 'JSON and binary carry the same bits')
  assert.deepEqual([seen.compressed.label, seen.compressed.probabilities], [first.label, first.probabilities])
  assert.deepEqual([seen.default_outputs, seen.timeout], [first.label, first.label])
  assert.deepEqual(seen.async, Array(20).fill(first.label))
  const echoed = {
    echo: [
      ['one', 'zwölf'],
      ['', 'two'],
    ],
    code: [
      [1, -1],
      [-1, 2],
    ],
  }
  assert.deepEqual(seen.strings, [echoed, echoed])
  assert.equal(seen.error[0], '400')
  assert.match(seen.error[1], /input "float_input" has the shape \[1,3\]; the model takes \[-1,4\]/)
})
