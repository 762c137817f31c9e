import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { copyVersions, MODEL_STORE } from '../support/models.ts'
import { runSluice, startServer, type WorkerProcess } from '../support/sluice-process.ts'

const ROW = JSON.stringify({
  inputs: [{ name: 'float_input', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }],
})

async function server(t: TestContext, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const started = startServer({ args, env })
  t.after(() => started.kill())
  return await started.ready()
}

async function post(process: WorkerProcess, path: string): Promise<Response> {
  return fetch(await process.url(`/v2/models/${path}/infer`), { method: 'POST', body: ROW })
}

async function json(process: WorkerProcess, path: string): Promise<Record<string, unknown>> {
  return (await fetch(await process.url(path))).json() as Promise<Record<string, unknown>>
}

test('without a choice: the highest version of every model of the store', async t => {
  const store = mkdtempSync(join(tmpdir(), 'sluice-serve-'))
  t.after(() => rmSync(store, { recursive: true }))
  copyVersions(store, 'iris-classifier', ['9', '10'])
  copyVersions(store, 'digits-mlp', ['1'])
  const serving = await server(t, ['--model-store', store])
  assert.deepEqual((await json(serving, '/v2/models/iris-classifier')).versions, ['10'])
  assert.equal((await post(serving, 'iris-classifier/versions/9')).status, 404)
  assert.equal((await json(serving, '/v2/models/digits-mlp')).platform, 'onnxruntime_onnx')
  assert.equal((await fetch(await serving.url('/health/ready'))).status, 200)
  assert.equal((await fetch(await serving.url('/metrics'))).status, 200)
  assert.equal(await serving.stop(), 0)
})

test('versions that are named: each by its route, the first one by default', async t => {
  const store = mkdtempSync(join(tmpdir(), 'sluice-serve-'))
  t.after(() => rmSync(store, { recursive: true }))
  copyVersions(store, 'iris-classifier', ['1', '2', '3'])
  const args = ['--model-store', store, '--model', 'iris-classifier:2,iris-classifier:1']
  const serving = await server(t, args)
  for (const [path, version] of Object.entries({ '': '2', '/versions/1': '1', '/versions/2': '2' })) {
    const answer = (await (await post(serving, `iris-classifier${path}`)).json()) as Record<string, unknown>
    assert.equal(answer.model_version, version)
  }
})

test('SIGTERM: requests that are under way are answered, and the exit code is 0', async t => {
  const serving = await server(t, ['--model', 'iris-classifier'])
  const url = await serving.url('/v2/models/iris-classifier/infer')
  const statuses: number[] = []
  let refused = 0
  const ask = async () => {
    for (;;) {
      const response = await fetch(url, { method: 'POST', body: ROW }).catch(() => undefined)
      // Once it has stopped nobody listens.
      if (response === undefined) return
      statuses.push(response.status)
      await response.text()
      if (response.status === 503) refused++
    }
  }
  const asking = Promise.all(Array.from({ length: 8 }, ask))
  while (statuses.length < 200) await new Promise(resolve => setImmediate(resolve))
  assert.equal(await serving.stop(), 0, serving.describe())
  await asking
  assert.deepEqual(
    [...new Set(statuses)].filter(status => status !== 200 && status !== 503),
    [],
  )
  assert.ok(statuses.length >= 200)
  assert.equal(statuses.filter(status => status === 503).length, refused)
})

test('what cannot be served ends it at once, in one line', async () => {
  const env = { MODEL_STORE, LOG_LEVEL: 'silent' }
  assert.equal((await runSluice(['serve', '--model', 'nobody'], { env })).code, 1)
  const wrong = await runSluice(['serve', '--model', 'a:b:c'], { env })
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /^sluice: --model has "a:b:c", expected NAME or NAME:VERSION .*\n$/)
  const help = await runSluice(['serve', '--help'])
  assert.equal(help.code, 0)
  assert.match(help.stdout, /Example:\n {2}sluice serve --model iris-classifier/)
})
