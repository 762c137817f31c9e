import { createHash } from 'node:crypto'
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ErrorCode } from '../../src/core/errors.ts'
import type { ModelCheck } from '../../src/shipping/model-check.ts'
import { type Manifest, writeBundle } from './bundle-folder.ts'

const fixture = (name: string) => readFile(new URL(`../fixtures/onnx/${name}`, import.meta.url))
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** A bundle in order: it adds up four numbers, `{"x": [1, 2, 3, 4]}`, and has golden samples. */
export async function goodBundle(store: string, version: string): Promise<{ directory: string; json: Manifest }> {
  const model = await fixture('row-sums.onnx')
  const json: Manifest = {
    format: 1,
    name: 'sums',
    version,
    sha256: sha256(model),
    inputs: [{ tensor: 'x', type: 'float32', shape: [null, 4], features: [{ name: 'x', length: 4 }] }],
    outputs: [{ tensor: 'sum', field: 'sum', type: 'float32', shape: [null, 1] }],
    tolerance: { absolute: 1e-5, relative: 1e-4 },
  }
  const sample = { input: { x: [1, 2, 3, 4] }, output: { sum: 10 } }
  const files = { 'model.json': json, 'golden.jsonl': sample, 'model.onnx': undefined }
  const directory = await writeBundle(store, 'sums', version, files)
  await writeFile(join(directory, 'model.onnx'), model)
  return { directory, json }
}

export type Good = Awaited<ReturnType<typeof goodBundle>>

/** Puts another model.onnx into the bundle, with its hash, so that the model itself is at fault. */
async function replaceModel({ directory, json }: Good, bytes: Uint8Array): Promise<void> {
  await writeFile(join(directory, 'model.onnx'), bytes)
  await rewrite({ directory, json: { ...json, sha256: sha256(bytes) } })
}

async function rewrite({ directory, json }: Good): Promise<void> {
  await writeFile(join(directory, 'model.json'), JSON.stringify(json))
}

export interface Broken {
  readonly what: string
  readonly damage: (bundle: Good) => Promise<unknown>
  /** The check that fails, and how. */
  readonly check: ModelCheck['check']
  readonly code: ErrorCode
  readonly message: RegExp
}

/** Every way in which version 2 of a model may be broken, whose version 1 is in order. */
export const BROKEN: readonly Broken[] = [
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
    damage: async bundle => replaceModel(bundle, await fixture('endless.onnx')),
    check: 'graph',
    code: 'session-failed',
    message: /did not open .*model\.onnx within \d+ ms; it was given up/,
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
    damage: async ({ directory }) => {
      await rm(directory, { recursive: true })
      await mkdir(directory)
    },
    check: 'files',
    code: 'model-missing',
    message: /model "sums" has no version "\d+" in .*; it has 1/,
  },
]
