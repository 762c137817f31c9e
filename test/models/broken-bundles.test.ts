import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import type { SluiceError } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import { checkModel, type ModelCheck } from '../../src/model-check.ts'
import { FolderStore } from '../../src/models/store.ts'
import { openModel } from '../../src/serving.ts'
import { Openings } from '../inference/openings.ts'
import { type Manifest, temporaryStore, writeBundle } from './bundle-folder.ts'

const fixture = (name: string) => readFile(new URL(`../fixtures/onnx/${name}`, import.meta.url))
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** A bundle in order: it adds up four numbers, and has golden samples. */
async function goodBundle(store: string): Promise<{ directory: string; json: Manifest }> {
  const model = await fixture('row-sums.onnx')
  const json: Manifest = {
    format: 1,
    name: 'sums',
    version: '1',
    sha256: sha256(model),
    inputs: [{ tensor: 'x', type: 'float32', shape: [null, 4], features: [{ name: 'x', length: 4 }] }],
    outputs: [{ tensor: 'sum', field: 'sum', type: 'float32', shape: [null, 1] }],
    tolerance: { absolute: 1e-5, relative: 1e-4 },
  }
  const sample = { input: { x: [1, 2, 3, 4] }, output: { sum: 10 } }
  const files = { 'model.json': json, 'golden.jsonl': sample, 'model.onnx': undefined }
  const directory = await writeBundle(store, 'sums', '1', files)
  await writeFile(join(directory, 'model.onnx'), model)
  return { directory, json }
}

type Good = Awaited<ReturnType<typeof goodBundle>>

/** Puts another model.onnx into the bundle, with its hash, so that the model itself is at fault. */
async function replaceModel({ directory, json }: Good, bytes: Uint8Array): Promise<void> {
  await writeFile(join(directory, 'model.onnx'), bytes)
  await rewrite({ directory, json: { ...json, sha256: sha256(bytes) } })
}

async function rewrite({ directory, json }: Good): Promise<void> {
  await writeFile(join(directory, 'model.json'), JSON.stringify(json))
}

interface Broken {
  readonly what: string
  readonly damage: (bundle: Good, openings: Openings) => Promise<unknown>
  /** The check that fails, and how. */
  readonly check: ModelCheck['check']
  readonly code: string
  readonly message: RegExp
}

const BROKEN: readonly Broken[] = [
  {
    what: 'model.onnx is cut off',
    damage: async bundle => replaceModel(bundle, (await fixture('row-sums.onnx')).subarray(0, 100)),
    check: 'graph',
    code: 'model-corrupt',
    message:
      /model\.onnx cannot be used: it is no ONNX model, or only a part of one: at byte \d+, a field of \d+ bytes/,
  },
  {
    what: 'model.onnx has another hash',
    damage: ({ directory, json }) => rewrite({ directory, json: { ...json, sha256: '0'.repeat(64) } }),
    check: 'files',
    code: 'model-corrupt',
    message: /model\.onnx has the SHA-256 [0-9a-f]{64}, but model\.json says 0{64}/,
  },
  {
    what: 'model.json has another shape',
    damage: ({ directory, json }) => {
      const input = { ...json.inputs[0], shape: [null, 5], features: [{ name: 'x', length: 5 }] }
      return rewrite({ directory, json: { ...json, inputs: [input] } })
    },
    check: 'graph',
    code: 'model-signature',
    message: /input "x" has the shape \[\?,5\] in model\.json and \[\?,4\] in the graph/,
  },
  {
    what: 'model.json has another type',
    damage: ({ directory, json }) =>
      rewrite({ directory, json: { ...json, inputs: [{ ...json.inputs[0], type: 'float64' }] } }),
    check: 'graph',
    code: 'model-signature',
    message: /input "x" is float64 in model\.json and float32 in the graph/,
  },
  {
    what: 'a golden sample is wrong',
    damage: ({ directory }) =>
      writeFile(join(directory, 'golden.jsonl'), '{"input": {"x": [1, 2, 3, 4]}, "output": {"sum": 11}}\n'),
    check: 'golden samples',
    code: 'golden-mismatch',
    message: /golden sample 1: on cpu, field "sum" is 10, expected 11: the difference is 1, allowed is/,
  },
  {
    what: 'an operator is unknown',
    damage: async bundle => replaceModel(bundle, await fixture('unknown-operator.onnx')),
    check: 'graph',
    code: 'session-failed',
    message: /ONNX Runtime could not open .*model\.onnx: cpu: .*Frobnicate/s,
  },
  {
    what: 'opening never ends',
    damage: async (_, openings) => openings.next({ hang: 1 }),
    check: 'graph',
    code: 'session-failed',
    message: /did not open .*model\.onnx within 500 ms; it was given up/,
  },
  {
    what: 'its weights lead out of the bundle',
    damage: async bundle => replaceModel(bundle, await fixture('external-climbing.onnx')),
    check: 'graph',
    code: 'external-data',
    message:
      /keeps its weights in the file "\.\.\/\.\.\/\.\.\/outside\/external\.weights", which leads out of the bundle/,
  },
  {
    what: 'its weights are not listed',
    damage: async bundle => replaceModel(bundle, await fixture('external.onnx')),
    check: 'graph',
    code: 'external-data',
    message: /keeps its weights in the file "external\.weights", which model\.json does not list under "external"/,
  },
  {
    what: 'listed weights lead out of the bundle',
    damage: ({ directory, json }) =>
      rewrite({ directory, json: { ...json, external: [{ file: '../../w', sha256: json.sha256 }] } }),
    check: 'files',
    code: 'model-corrupt',
    message: /external\[0\]\.file is "\.\.\/\.\.\/w"; expected the plain name of a file beside model\.onnx/,
  },
  {
    what: 'model.onnx may not be read',
    damage: ({ directory }) => chmod(join(directory, 'model.onnx'), 0),
    check: 'files',
    code: 'model-corrupt',
    message: /model\.onnx cannot be read: EACCES: permission denied/,
  },
  {
    what: 'its folder may not be read',
    damage: ({ directory }) => chmod(directory, 0),
    check: 'files',
    code: 'model-corrupt',
    message: /model\.json cannot be read: EACCES: permission denied/,
  },
  {
    what: 'model.onnx is empty',
    damage: bundle => replaceModel(bundle, new Uint8Array(0)),
    check: 'graph',
    code: 'model-corrupt',
    message: /model\.onnx cannot be used: it is no ONNX model, or only a part of one: the file is empty/,
  },
  {
    what: 'model.json is empty',
    damage: ({ directory }) => writeFile(join(directory, 'model.json'), ''),
    check: 'files',
    code: 'model-corrupt',
    message: /model\.json is not valid JSON: Unexpected end/,
  },
  {
    what: 'the folder has no files',
    damage: ({ directory }) => mkdir(join(directory, '..', '2')),
    check: 'files',
    code: 'model-missing',
    message: /model "sums" has no version "2" in .*; it has 1/,
  },
]

/** Runs `work` as a user to whom file permissions apply. */
async function asNobody(work: () => Promise<void>): Promise<void> {
  if (process.geteuid!() !== 0) return work()
  process.seteuid!(65_534)
  try {
    await work()
  } finally {
    process.seteuid!(0)
  }
}

/** Threads that hang are left behind at once instead of after five seconds. */
const impatient = { ...systemClock, sleep: async () => {} }

async function prepare(t: TestContext) {
  const store = await temporaryStore(t)
  await chmod(store, 0o755)
  const bundle = await goodBundle(store)
  const openings = new Openings()
  t.after(() => openings.release())
  return { store, bundle, openings }
}

const settings = {
  modelName: 'sums',
  sessions: 'cpu',
  intraOpThreads: 1,
  runTimeoutMs: 60_000,
  maxBatchSize: 16,
  inputFormat: 'json',
  inputSchema: undefined,
  inputTopic: undefined,
  schemaRegistryUrl: undefined,
  schemaRegistryUsername: undefined,
  schemaRegistryPassword: undefined,
  schemaDir: 'schemas',
  schemaDirGiven: false,
  requestTimeoutMs: 1_000,
  maxRecordBytes: 1_000,
  allowNonFinite: false,
  modelStoreTimeoutMs: 1_000,
  modelCacheDir: '.cache/models',
} as const

describe('a broken bundle', { timeout: 60_000 }, () => {
  const said = new Map<string, string>()

  it('is none while nothing is wrong', async t => {
    const { store } = await prepare(t)
    const tools = { log: silentLog, clock: systemClock, openTimeoutMs: 60_000 }
    const report = await checkModel(() => new FolderStore(store).find('sums'), settings, tools)
    assert.equal(report.failure, undefined)
    assert.deepEqual(
      report.checks.map(({ outcome }) => outcome),
      ['passed', 'passed', 'skipped', 'passed'],
    )
    const model = await openModel({ ...settings, modelStore: store, modelVersion: '1' }, tools)
    await model.close()
  })

  for (const { what, damage, check, code, message } of BROKEN) {
    it(`is refused by verification and by whoever would serve it: ${what}`, async t => {
      const { store, bundle, openings } = await prepare(t)
      await damage(bundle, openings)
      const hangs = what === 'opening never ends'
      const tools = { log: silentLog, clock: hangs ? impatient : systemClock, openTimeoutMs: hangs ? 500 : 60_000 }
      const { threadUrl } = openings
      const version = what === 'the folder has no files' ? '2' : '1'
      const find = () => new FolderStore(store).find('sums', version)

      const verifies = async () => {
        const report = await checkModel(find, settings, { ...tools, threadUrl })
        const failed = report.checks.filter(({ outcome }) => outcome === 'failed')
        assert.deepEqual(
          failed.map(each => [each.check, each.code]),
          [[check, code]],
        )
        assert.match(failed[0]!.message, message)
        assert.equal(report.failure?.code, code)
        const told = report.failure!.message.replaceAll(store, '')
        assert.equal(said.get(told), undefined, 'each kind is told in words of its own')
        said.set(told, what)
      }
      const serves = async () => {
        const opening = openModel({ ...settings, modelStore: store, modelVersion: version }, { ...tools, threadUrl })
        await assert.rejects(opening, (error: SluiceError) => {
          assert.equal(error.code, code)
          assert.match(error.message, message)
          assert.equal(error.response, 'exit')
          return true
        })
      }
      const run = what.includes('may not be read') ? asNobody : (work: () => Promise<void>) => work()
      try {
        await run(verifies)
        if (hangs) await damage(bundle, openings)
        await run(serves)
      } finally {
        await chmod(bundle.directory, 0o755)
      }
    })
  }
})
