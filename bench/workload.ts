import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FRAME_BYTES } from '../src/codec/framed-avro-decoder.ts'
import { createPredictionEncoder } from '../src/codec/prediction-encoder.ts'
import type { ModelSpec } from '../src/core/model.ts'
import { packElement } from '../src/core/rows.ts'
import { type TensorColumn, viewOf } from '../src/core/tensor.ts'
import type { ModelBundle } from '../src/models/bundle.ts'
import { FolderStore } from '../src/models/store.ts'
import { flowerRows, uniformRows } from './rows.ts'

/** How the records of a workload lie: what peers are told as INPUT_FORMAT. */
type InputLayout = 'iris' | 'avro-array' | 'json'

interface Recipe {
  readonly model: string
  readonly layout: InputLayout
  readonly schemaId: number
  /** Different values that are published in turn. */
  readonly values: number
}

const RECIPES = {
  /** A forest of a hundred small trees on four floats: half a microsecond a row, so the client is most of the work. */
  iris: { model: 'iris-regressor', layout: 'iris', schemaId: 1, values: 150 },
  /** The same with four outputs, a label and its probabilities. */
  'iris-forest': { model: 'iris-classifier', layout: 'iris', schemaId: 1, values: 150 },
  /** 784→32→32→32→32→10, the network of the Crayfish benchmark (EDBT 2024), from an Avro array. */
  ffnn: { model: 'ffnn', layout: 'avro-array', schemaId: 3, values: 64 },
  /** The same from JSON. */
  'ffnn-json': { model: 'ffnn', layout: 'json', schemaId: 3, values: 64 },
  /** A convolutional network of the shape of ResNet-50: all is the runtime's work. */
  heavy: { model: 'resnet50-shaped', layout: 'avro-array', schemaId: 4, values: 2 },
} as const satisfies Record<string, Recipe>

export type WorkloadName = keyof typeof RECIPES

export const WORKLOADS = Object.keys(RECIPES) as WorkloadName[]

/** A model, and the records that it is given. */
export interface Workload {
  readonly name: WorkloadName
  /** The folder that workers are given as MODEL_STORE. */
  readonly store: string
  readonly bundle: ModelBundle
  readonly modelName: string
  readonly modelVersion: string
  /** Path of model.onnx. */
  readonly modelFile: string
  /** Name of the graph's only input tensor, and of the outputs that predictions carry. */
  readonly modelInput: string
  readonly modelOutputs: readonly string[]
  /** Floats of a record. */
  readonly features: number
  /** INPUT_FORMAT of the worker. */
  readonly format: 'avro' | 'json'
  readonly layout: InputLayout
  /** Field of the record that holds the array of floats, in the layouts `avro-array` and `json`. */
  readonly field: string
  /** Rows of the input tensor, and the values of the records that hold them, to be published in turn. */
  readonly rows: readonly Float32Array[]
  readonly values: readonly Buffer[]
  /** Bytes of the value of a prediction. */
  readonly predictionBytes: number
}

/** The store of the demo, and that of the models which only the bench needs. */
const STORES = ['../models', './models'].map(path => fileURLToPath(new URL(path, import.meta.url)))

/**
 * Reads the bundle of a workload and makes its records, the same ones in each run.
 * @throws Error when no store has the bundle; SluiceError when it is damaged
 */
export async function openWorkload(name: WorkloadName): Promise<Workload> {
  const { model, layout, values } = RECIPES[name]
  const store = STORES.find(folder => existsSync(join(folder, model)))
  if (store === undefined) throw new Error(`${model} is in none of ${STORES.join(', ')}; training/README.md makes it`)
  const bundle = await new FolderStore(store).find(model)
  const { spec, modelFile } = bundle
  const [input] = spec.inputs
  if (input === undefined || spec.inputs.length !== 1) throw new Error(`${model} has not one input tensor`)
  const rows = layout === 'iris' ? flowerRows() : uniformRows(values, input.width)
  const field = input.features[0]!.name
  return {
    name,
    store,
    bundle,
    modelName: spec.name,
    modelVersion: spec.version,
    modelFile,
    modelInput: input.tensor,
    modelOutputs: spec.outputs.map(output => output.tensor),
    features: input.width,
    format: layout === 'json' ? 'json' : 'avro',
    layout,
    field,
    rows,
    values: rows.map(row => encodeRow(row, layout, field, RECIPES[name].schemaId)),
    predictionBytes: await predictionBytes(bundle),
  }
}

/** Writes `schemas/` into `folder`: a schema for each of the workloads, and `ids.json`. */
export async function writeSchemas(folder: string, workloads: readonly Workload[]): Promise<void> {
  const directory = join(folder, 'schemas')
  await mkdir(directory, { recursive: true })
  const ids: Record<number, string> = {}
  for (const { modelName, name, bundle } of workloads) {
    const file = `${modelName}.avsc`
    await writeFile(join(directory, file), featureSchema(bundle.spec))
    ids[RECIPES[name].schemaId] = file
  }
  await writeFile(join(directory, 'ids.json'), JSON.stringify(ids))
}

/** Avro of a record with the features of the model, each a float or an array of floats. */
function featureSchema({ name, inputs }: ModelSpec): string {
  const fields = inputs[0]!.features.map(feature => ({
    name: feature.name,
    type: feature.array ? { type: 'array', items: 'float' } : 'float',
  }))
  return JSON.stringify({ type: 'record', name: `${name.replaceAll(/\W/g, '_')}_features`, fields })
}

function encodeRow(row: Float32Array, layout: InputLayout, field: string, schemaId: number): Buffer {
  if (layout === 'json') return jsonValue(row, field)
  const frame = Buffer.alloc(FRAME_BYTES)
  frame.writeInt32BE(schemaId, 1)
  const floats = Buffer.from(row.buffer, row.byteOffset, row.byteLength)
  if (layout === 'iris') return Buffer.concat([frame, floats])
  return Buffer.concat([frame, zigzag(row.length), floats, Buffer.of(0)])
}

/**
 * The envelope of a Crayfish data point (`CrayfishDataBatchSerde`), one point a record. Crayfish writes the numbers as
 * one string between commas, which no other consumer of JSON could read; here they are an array.
 */
function jsonValue(row: Float32Array, field: string): Buffer {
  const numbers = Array.from(row, shortest)
  const envelope = { creationTimestamp: 1_700_000_000_000, dataPointSz1: 1, dataPointSz2: row.length }
  return Buffer.from(JSON.stringify({ ...envelope, [field]: numbers, prediction: null }))
}

/** The number with the fewest digits that is this float32 again, as Java writes a float. */
function shortest(float: number): number {
  for (let digits = 6; digits < MOST_DIGITS; digits++) {
    const number = Number(float.toPrecision(digits))
    if (Math.fround(number) === float) return number
  }
  return Number(float.toPrecision(MOST_DIGITS))
}

/** So many digits tell every float32 from the next. */
const MOST_DIGITS = 9

/** A whole number from 0 as an Avro int. */
function zigzag(number: number): Buffer {
  const bytes: number[] = []
  let rest = number * 2
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80)
  return Buffer.of(...bytes, rest)
}

/** What the encoder makes of the first golden sample. */
async function predictionBytes({ spec, golden }: ModelBundle): Promise<number> {
  const [sample] = await golden()
  if (sample === undefined) throw new Error(`${spec.name} has no golden sample to measure a prediction by`)
  const columns = spec.outputs.map((output): TensorColumn => {
    const buffer = new ArrayBuffer(Math.max(8, output.width * 8))
    const column = { spec: output, data: viewOf(output.type, buffer, output.width) }
    const feature = { name: output.field, length: output.width, array: output.width > 1 }
    const elements = [sample.output[output.field]].flat(Number.POSITIVE_INFINITY)
    for (const [at, element] of elements.entries()) packElement(element, feature, column, at, true)
    return column
  })
  const encoder = createPredictionEncoder('avro', spec.outputs, 1)
  return encoder.encode(0, columns, Buffer.alloc(encoder.maxBytes(0, columns)), 0)
}
