import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** Any JSON, to be damaged at will. */
// biome-ignore lint/suspicious/noExplicitAny: tests reach into it and break it
export type Manifest = Record<string, any>

const MODEL = 'the bytes of a model'

/** A manifest in order, of a model with one feature of each kind. */
export function manifest(name = 'shop', version = '1'): Manifest {
  return {
    format: 1,
    name,
    version,
    sha256: createHash('sha256').update(MODEL).digest('hex'),
    inputs: [
      {
        tensor: 'numbers',
        type: 'float32',
        shape: [null, 5],
        features: [{ name: 'price', default: 'NaN' }, { name: 'customer.age' }, { name: 'history', length: 3 }],
      },
      { tensor: 'country', type: 'string', shape: [null], features: [{ name: 'country', default: '' }] },
    ],
    outputs: [
      { tensor: 'label', field: 'label', type: 'int64', shape: [null] },
      { tensor: 'scores', field: 'scores', type: 'float32', shape: [null, 2, 2] },
    ],
    tolerance: { absolute: 1e-5, relative: 1e-4 },
    training: { dataset: 'shop', random_state: 42 },
  }
}

export const golden = { input: { price: 1, country: 'at' }, output: { label: 1, scores: [0, 1, 2, 3] } }

/** An empty store that goes with the test. */
export async function temporaryStore(t: TestContext): Promise<string> {
  const store = await mkdtemp(join(tmpdir(), 'sluice-store-'))
  t.after(() => rm(store, { recursive: true }))
  return store
}

/** Writes a bundle; returns its folder. Strings are written as they are, all else as JSON. */
export async function writeBundle(
  store: string,
  name: string,
  version: string,
  files: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const directory = join(store, name, version)
  await mkdir(directory, { recursive: true })
  const all = { 'model.onnx': MODEL, 'model.json': manifest(name, version), 'golden.jsonl': golden, ...files }
  for (const [file, content] of Object.entries(all)) {
    if (content === undefined) continue
    await writeFile(join(directory, file), typeof content === 'string' ? content : JSON.stringify(content))
  }
  return directory
}
