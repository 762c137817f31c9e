import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const GRAPHS = new URL('../fixtures/onnx/', import.meta.url)
const MODELS = new URL('../../models/', import.meta.url)

/** Any JSON, to be damaged at will. */
// biome-ignore lint/suspicious/noExplicitAny: tests reach into it and break it
type Manifest = Record<string, any>

interface Tensor {
  readonly tensor: string
  readonly type: string
  readonly shape: readonly (number | null)[]
}

/** A model of test/fixtures/onnx, and what its model.json says. */
export interface FixtureModel {
  readonly graph: string
  readonly inputs: readonly (Tensor & { readonly features: readonly object[] })[]
  readonly outputs: readonly (Tensor & { readonly field: string })[]
  /** A sample that came out right. */
  readonly golden: object
}

/** Four sums of a row, and nothing that can go wrong. */
export const ROW_SUMS: FixtureModel = {
  graph: 'row-sums',
  inputs: [{ tensor: 'x', type: 'float32', shape: [null, 4], features: 'abcd'.split('').map(name => ({ name })) }],
  outputs: [{ tensor: 'sum', type: 'float32', shape: [null, 1], field: 'sum' }],
  golden: { input: { a: 1, b: 2, c: 3, d: 4 }, output: { sum: 10 } },
}

/** Fails at run time on every index but 0 to 9. */
export const LOOKUP: FixtureModel = {
  graph: 'lookup',
  inputs: [{ tensor: 'index', type: 'int64', shape: [null, 1], features: [{ name: 'index' }] }],
  outputs: [{ tensor: 'value', type: 'float32', shape: [null, 1], field: 'value' }],
  golden: { input: { index: 3 }, output: { value: 30 } },
}

/** Its predictions are as long as its input. */
export const STRINGS: FixtureModel = {
  graph: 'strings',
  inputs: [{ tensor: 'words', type: 'string', shape: [null, 2], features: [{ name: 'first' }, { name: 'second' }] }],
  outputs: [{ tensor: 'echo', type: 'string', shape: [null, 2], field: 'echo' }],
  golden: { input: { first: 'one', second: 'two' }, output: { echo: ['one', 'two'] } },
}

/** Takes features of four types, an array among them. */
export const TYPES: FixtureModel = {
  graph: 'types',
  inputs: [
    { tensor: 'long', type: 'int64', shape: [null, 1], features: [{ name: 'count' }] },
    { tensor: 'flag', type: 'bool', shape: [null], features: [{ name: 'member' }] },
    { tensor: 'double', type: 'float64', shape: [null, 2], features: [{ name: 'price' }, { name: 'discount' }] },
    { tensor: 'int', type: 'int32', shape: [null, 3], features: [{ name: 'basket', length: 3 }] },
  ],
  outputs: [
    { tensor: 'next_long', type: 'int64', shape: [null, 1], field: 'next_count' },
    { tensor: 'twice', type: 'float64', shape: [null, 2], field: 'twice' },
  ],
  golden: {
    input: { count: 1, member: true, price: 2, discount: 3, basket: [1, 2, 3] },
    output: { next_count: 2, twice: [4, 6] },
  },
}

/** Writes `<store>/<graph>/1` from a fixture; `change` may damage the manifest. */
export function writeFixtureBundle(
  store: string,
  model: FixtureModel,
  change: (manifest: Manifest) => void = () => {},
) {
  const { graph, inputs, outputs, golden } = model
  const onnx = readFileSync(fileURLToPath(new URL(`${graph}.onnx`, GRAPHS)))
  const manifest: Manifest = {
    format: 1,
    name: graph,
    version: '1',
    sha256: createHash('sha256').update(onnx).digest('hex'),
    inputs: structuredClone(inputs),
    outputs: structuredClone(outputs),
    tolerance: { absolute: 0, relative: 0 },
  }
  change(manifest)
  const folder = join(store, graph, '1')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'model.onnx'), onnx)
  writeFileSync(join(folder, 'model.json'), JSON.stringify(manifest))
  writeFileSync(join(folder, 'golden.jsonl'), JSON.stringify(golden))
  return folder
}

/** Copies a demo model into a store, to be damaged there; returns the bundle's folder. */
export function copyDemoBundle(store: string, name: string): string {
  const folder = join(store, name, '1')
  cpSync(fileURLToPath(new URL(`${name}/1`, MODELS)), folder, { recursive: true })
  return folder
}
