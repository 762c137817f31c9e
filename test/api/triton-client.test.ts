import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { pythonWith } from '../../dev/python.ts'
import { openDesk } from '../support/desk.ts'
import { MODEL_STORE } from '../support/models.ts'

const found = pythonWith(fileURLToPath(new URL('requirements.txt', import.meta.url)))
const skip = 'missing' in found ? found.missing : false

/** A store with iris-classifier, and the fixture whose tensors are strings. */
function makeStore(): string {
  const store = mkdtempSync(join(tmpdir(), 'sluice-triton-'))
  cpSync(join(MODEL_STORE, 'iris-classifier'), join(store, 'iris-classifier'), { recursive: true })
  const folder = join(store, 'strings/1')
  mkdirSync(folder, { recursive: true })
  copyFileSync(fileURLToPath(new URL('../fixtures/onnx/strings.onnx', import.meta.url)), join(folder, 'model.onnx'))
  const manifest = {
    format: 1,
    name: 'strings',
    version: '1',
    sha256: createHash('sha256')
      .update(readFileSync(join(folder, 'model.onnx')))
      .digest('hex'),
    inputs: [{ tensor: 'words', type: 'string', shape: [null, 2], features: [{ name: 'words', length: 2 }] }],
    outputs: [
      { tensor: 'echo', field: 'echo', type: 'string', shape: [null, 2] },
      { tensor: 'code', field: 'code', type: 'int64', shape: [null, 2] },
    ],
    tolerance: { absolute: 0, relative: 0 },
    training: {},
  }
  writeFileSync(join(folder, 'model.json'), JSON.stringify(manifest))
  return store
}

test("NVIDIA's client works unchanged, in JSON and in binary", { skip }, async t => {
  const store = makeStore()
  t.after(() => rmSync(store, { recursive: true }))
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
  const strings = {
    echo: [
      ['one', 'zwölf'],
      ['', 'two'],
    ],
    code: [
      [1, -1],
      [-1, 2],
    ],
  }
  assert.deepEqual(seen.strings, [strings, strings])
  assert.equal(seen.error[0], '400')
  assert.match(seen.error[1], /input "float_input" has the shape \[1,3\]; the model takes \[-1,4\]/)
})
