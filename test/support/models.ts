import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cp, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import avro from 'avsc'
import type { RowSpec } from '../../src/core/tensor.ts'
import type { Fixture } from '../inference/fixtures.ts'

const ROOT = new URL('../../', import.meta.url)

/** The bundles of the checkout. */
export const MODEL_STORE = fileURLToPath(new URL('models', ROOT))

/** A row with the output that the trainer's own library gave for it. */
export interface Golden {
  readonly input: Readonly<Record<string, unknown>>
  readonly output: Readonly<Record<string, unknown>>
}

/** The golden samples of version 1 of a bundle. */
export function goldenSamples(model: string): Golden[] {
  return readFileSync(new URL(`models/${model}/1/golden.jsonl`, ROOT), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Golden)
}

interface Manifest {
  readonly sha256: string
  readonly tolerance: { readonly absolute: number; readonly relative: number }
}

const manifests = new Map<string, Manifest>()

/** What the bundle says of version 1 of a model. */
export function manifestOf(model: string): Manifest {
  let manifest = manifests.get(model)
  if (manifest === undefined) {
    manifest = JSON.parse(readFileSync(new URL(`models/${model}/1/model.json`, ROOT), 'utf8')) as Manifest
    manifests.set(model, manifest)
  }
  return manifest
}

/**
 * Puts versions of a model into a store, of version 1 of these bundles in turn. Unless told otherwise all have the same artifact: the
 * same row has the same bits, whoever answers it.
 */
export function copyVersions(
  store: string,
  model: string,
  versions: readonly string[],
  bundles: readonly string[] = [model],
): void {
  for (const [i, version] of versions.entries()) {
    const folder = join(store, model, version)
    cpSync(join(MODEL_STORE, bundles[i % bundles.length]!, '1'), folder, { recursive: true })
    const manifest = join(folder, 'model.json')
    const renamed = { ...JSON.parse(readFileSync(manifest, 'utf8')), name: model, version }
    writeFileSync(manifest, JSON.stringify(renamed))
  }
}

/** Puts a model of test/fixtures/onnx into a store, as the bundle that its description makes; each input is a feature. */
export function storeFixture(store: string, { modelFile, spec }: Fixture): void {
  const folder = join(store, spec.name, spec.version)
  const shaped = <T extends RowSpec>({ rowShape, width, ...row }: T) => ({ ...row, shape: [null, ...rowShape] })
  mkdirSync(folder, { recursive: true })
  cpSync(modelFile, join(folder, 'model.onnx'))
  const { fixedBatch, ...described } = spec
  const inputs = spec.inputs.map(input => ({
    ...shaped(input),
    features: [{ name: input.tensor, ...(input.width > 1 && { length: input.width }) }],
  }))
  const manifest = { format: 1, ...described, inputs, outputs: spec.outputs.map(shaped) }
  writeFileSync(join(folder, 'model.json'), JSON.stringify(manifest))
}

/** Schema ids that `schemas/ids.json` has for features. */
export const IRIS_SCHEMA_ID = 1
export const DIGITS_SCHEMA_ID = 2
export const IMAGE_SCHEMA_ID = 3

const FEATURE_SCHEMAS: Readonly<Record<number, string>> = {
  [IRIS_SCHEMA_ID]: 'iris-features.avsc',
  [DIGITS_SCHEMA_ID]: 'digits-features.avsc',
  [IMAGE_SCHEMA_ID]: 'image-features.avsc',
}

/** A copy of the feature schemas of `schemas/` in a new folder, which the caller removes: workers add prediction schemas to it. */
export async function copySchemas(): Promise<{ folder: string; schemaDir: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-test-'))
  const schemaDir = join(folder, 'schemas')
  for (const file of Object.values(FEATURE_SCHEMAS)) await cp(new URL(`schemas/${file}`, ROOT), join(schemaDir, file))
  await writeFile(join(schemaDir, 'ids.json'), JSON.stringify(FEATURE_SCHEMAS))
  return { folder, schemaDir }
}

const featureTypes = new Map<number, avro.Type>()

/** Features as Confluent's framing has them: 0x00, the schema id, Avro as avsc, the reference, writes it. */
export function frame(schemaId: number, features: Readonly<Record<string, unknown>>): Buffer {
  let type = featureTypes.get(schemaId)
  if (type === undefined) {
    const file = new URL(`schemas/${FEATURE_SCHEMAS[schemaId]}`, ROOT)
    type = avro.Type.forSchema(JSON.parse(readFileSync(file, 'utf8')))
    featureTypes.set(schemaId, type)
  }
  const head = Buffer.alloc(5)
  head.writeInt32BE(schemaId, 1)
  return Buffer.concat([head, type.toBuffer(features)])
}

/** Decodes predictions in Confluent's framing with avsc and the schemas that workers left in `schemaDir`. */
export class PredictionDecoder {
  readonly #schemaDir: string
  readonly #types = new Map<number, avro.Type>()

  constructor(schemaDir: string) {
    this.#schemaDir = schemaDir
  }

  async decode(value: Buffer): Promise<Record<string, unknown>> {
    assert.equal(value[0], 0, 'a prediction begins with the magic byte')
    const id = value.readInt32BE(1)
    let type = this.#types.get(id)
    if (type === undefined) {
      const ids = JSON.parse(await readFile(join(this.#schemaDir, 'ids.json'), 'utf8')) as Record<string, string>
      assert.ok(ids[id], `schema ${id} of a prediction is in SCHEMA_DIR`)
      type = avro.Type.forSchema(JSON.parse(await readFile(join(this.#schemaDir, ids[id]), 'utf8')))
      this.#types.set(id, type)
    }
    return { ...type.fromBuffer(value.subarray(5)) }
  }
}

/** How a prediction differs from the trainer's output by more than the bundle allows, in words; undefined if it does not. */
export function disagreement(model: string, expected: Golden['output'], got: Readonly<Record<string, unknown>>) {
  const { tolerance } = manifestOf(model)
  const close = (a: unknown, b: unknown): boolean => {
    if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => close(item, b[i]))
    if (typeof a !== 'number' || typeof b !== 'number') return a === b
    return Math.abs(a - b) <= tolerance.absolute + tolerance.relative * Math.abs(a)
  }
  const fields = new Set([...Object.keys(expected), ...Object.keys(got)])
  const wrong = [...fields].filter(field => !close(expected[field], got[field]))
  if (wrong.length === 0) return undefined
  return `${model} gave ${JSON.stringify(got)}, the trainer ${JSON.stringify(expected)}: ${wrong.join(', ')}`
}
