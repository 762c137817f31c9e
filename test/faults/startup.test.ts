import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { PRELOAD, withOrders } from '../../faults/preload/arm.ts'
import { ERRORS } from '../../src/core/errors.ts'
import { MODEL_STORE } from '../support/models.ts'
import { runSluice, startWorker, type WorkerProcess } from '../support/sluice-process.ts'
import { copyDemoBundle, ROW_SUMS, writeFixtureBundle } from './bundles.ts'
import { assertExits, temporaryFolder } from './support.ts'

/** Nobody listens there: what these tests show is settled before a broker is asked. */
const NO_BROKER = '127.0.0.1:1'

const WORKER = {
  KAFKA_BROKERS: NO_BROKER,
  INPUT_TOPIC: 'features',
  OUTPUT_TOPIC: 'predictions',
  MODEL_STORE,
  MODEL_NAME: 'iris-classifier',
}

function start(t: TestContext, env: Readonly<Record<string, string>>): WorkerProcess {
  const worker = startWorker({ env: { ...WORKER, ...env }, cwd: temporaryFolder(t, 'worker') })
  t.after(() => worker.kill())
  return worker
}

/** A store with one demo bundle that `damage` then spoils. */
function storeWith(t: TestContext, name: string, damage: (folder: string) => void): Record<string, string> {
  const store = temporaryFolder(t, 'store')
  damage(copyDemoBundle(store, name))
  return { MODEL_STORE: store, MODEL_NAME: name }
}

/** A store with one fixture bundle whose manifest `change` spoils. */
function fixtureStore(t: TestContext, graph: string, change?: Parameters<typeof writeFixtureBundle>[2]) {
  const store = temporaryFolder(t, 'store')
  writeFixtureBundle(store, { ...ROW_SUMS, graph }, change)
  return { MODEL_STORE: store, MODEL_NAME: graph }
}

function rewrite(file: string, change: (text: string) => string): void {
  writeFileSync(file, change(readFileSync(file, 'utf8')))
}

describe('a model that cannot be served ends the worker with exit code 1 and one line', { concurrency: 2 }, () => {
  it('model missing from the store', async t => {
    const worker = start(t, { MODEL_NAME: 'irish-classifier' })
    await assertExits(worker, 1, 'model-missing', /no model "irish-classifier"; it has .*iris-classifier \(1\)/)
  })

  it('a first run that does not return', async t => {
    const env = { ...WORKER, ...withOrders([{ session: 'hang' }]), RUN_TIMEOUT_MS: '300' }
    const worker = startWorker({ env, cwd: temporaryFolder(t, 'worker'), imports: [PRELOAD] })
    t.after(() => worker.kill())
    assert.equal(await worker.exited, 1, worker.describe())
    const last = worker.log.filter(({ level }) => level === 'error').at(-1)!
    assert.equal(last.code, 'session-failed')
    assert.match(last.msg, /golden samples did not return within RUN_TIMEOUT_MS \(300 ms\).*raise RUN_TIMEOUT_MS/)
  })

  it('version missing', async t => {
    const worker = start(t, { MODEL_VERSION: '7' })
    await assertExits(worker, 1, 'model-missing', /"iris-classifier" has no version "7" in .*; it has 1/)
  })

  it('store missing', async t => {
    const worker = start(t, { MODEL_STORE: '/nowhere/models' })
    await assertExits(worker, 1, 'model-missing', /store \/nowhere\/models cannot be read .*expected a folder/)
  })

  it('model.onnx is not the one that was hashed', async t => {
    const flip = (folder: string) => {
      const file = join(folder, 'model.onnx')
      const bytes = readFileSync(file)
      bytes[bytes.length >> 1]! ^= 1
      writeFileSync(file, bytes)
    }
    const worker = start(t, storeWith(t, 'iris-regressor', flip))
    await assertExits(worker, 1, 'model-corrupt', /model\.onnx has the SHA-256 [0-9a-f]{64}, but model\.json says/)
  })

  it('model.json is no manifest', async t => {
    const damage = (folder: string) => rewrite(join(folder, 'model.json'), text => text.slice(0, 100))
    const worker = start(t, storeWith(t, 'iris-regressor', damage))
    await assertExits(worker, 1, 'model-corrupt', /model\.json/)
  })

  it('model.json names another tensor than the graph has', async t => {
    const damage = (folder: string) =>
      rewrite(join(folder, 'model.json'), text => text.replace('"float_input"', '"features"'))
    const worker = start(t, storeWith(t, 'iris-regressor', damage))
    const message = /input "features" is not in the graph.*model\.json: inputs features.*The graph: inputs float_input/
    await assertExits(worker, 1, 'model-signature', message)
  })

  it('a golden sample comes out differently', async t => {
    const damage = (folder: string) =>
      rewrite(join(folder, 'golden.jsonl'), text => text.replace(/"prediction": ?[^,}]+/, '"prediction": 41.5'))
    const worker = start(t, storeWith(t, 'iris-regressor', damage))
    const message = /"iris-regressor", version "1": golden sample 1: on cpu, field "prediction" is .*, expected 41\.5/
    await assertExits(worker, 1, 'golden-mismatch', message)
  })

  it('the ONNX file is cut off', async t => {
    const worker = start(t, fixtureStore(t, 'truncated'))
    await assertExits(
      worker,
      1,
      'model-corrupt',
      /truncated\/1\/model\.onnx cannot be used: it is no ONNX model, or only a part/,
    )
  })

  it('an operator is unknown to the runtime', async t => {
    const worker = start(t, fixtureStore(t, 'unknown-operator'))
    await assertExits(worker, 1, 'session-failed', /could not open .*model\.onnx: .*Frobnicate/)
  })

  it('the provider is not installed', async t => {
    const worker = start(t, { SESSIONS: 'cuda:0' })
    await assertExits(worker, 1, 'provider-unavailable', /SESSIONS asks for cuda:0, .* has .*cpu/)
  })
})

describe('settings that are wrong end the worker with exit code 2 and one line', { concurrency: 2 }, () => {
  const remedy = ERRORS['invalid-config'].remedy

  async function assertRefused(t: TestContext, env: Record<string, string>, args: string[], message: RegExp) {
    const cwd = temporaryFolder(t, 'worker')
    const { code, stdout, stderr } = await runSluice(['worker', ...args], { env: { ...WORKER, ...env }, cwd })
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
    assert.match(stderr, message)
    assert.ok(stderr.includes(remedy), stderr)
  }

  it('a value that is not allowed', t =>
    assertRefused(t, { MAX_BATCH_SIZE: 'many' }, [], /MAX_BATCH_SIZE \(environment\) is "many".*whole number from 1/))

  it('an unknown option', t =>
    assertRefused(t, {}, ['--max-batchsize', '5'], /unknown option --max-batchsize: did you mean --max-batch-size\?/))

  it('a setting that is needed', t =>
    assertRefused(t, { OUTPUT_TOPIC: '' }, [], /needed here: OUTPUT_TOPIC \(--output-topic\)/))

  it('two settings that contradict each other', t =>
    assertRefused(t, { OUTPUT_TOPIC: 'features' }, [], /OUTPUT_TOPIC must not be INPUT_TOPIC.*OUTPUT_TOPIC=features/))

  it('SESSIONS that nobody can read', async t => {
    const worker = start(t, { SESSIONS: 'cpu*x' })
    await assertExits(worker, 2, 'invalid-config', /SESSIONS.*cpu\*x/)
  })

  it('a port that somebody else has', async t => {
    const squatter = createServer().listen(0, '127.0.0.1')
    t.after(() => squatter.close())
    await once(squatter, 'listening')
    const { port } = squatter.address() as AddressInfo
    const worker = start(t, { HTTP_PORT: String(port) })
    await assertExits(worker, 2, 'invalid-config', new RegExp(`HTTP_PORT ${port} is in use on 127\\.0\\.0\\.1`))
  })
})
