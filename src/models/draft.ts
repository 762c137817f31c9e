import { SluiceError } from '../core/errors.ts'
import { ELEMENT_TYPES } from '../core/tensor.ts'

/** One input or output as the runtime describes it. */
export interface GraphTensor {
  readonly name: string
  /** Null for what is no tensor. */
  readonly type: string | null
  /** Batch dimension first; null where the graph leaves the size open. Empty when it says nothing of a shape. */
  readonly shape: readonly (number | null)[]
}

interface DraftTensor {
  readonly tensor: string
  readonly type: string
  readonly shape: readonly (number | null)[]
}

export interface DraftFeature {
  readonly name: string
  readonly length?: number
}

/** An entry of `inputs` in model.json. */
export interface DraftInput extends DraftTensor {
  readonly features: readonly DraftFeature[]
}

/** An entry of `outputs` in model.json. */
export interface DraftOutput extends DraftTensor {
  readonly field: string
  readonly tolerance?: { readonly absolute: number; readonly relative: number }
}

/** A part of a model.json, and what a person should know of how it came about. */
export interface Draft<Part> {
  readonly parts: readonly Part[]
  readonly notes: readonly string[]
}

/** A row of more values than this is one array rather than so many fields that nobody would write. */
const MOST_FIELDS = 32

const CARRIED: readonly string[] = ELEMENT_TYPES

/** 16-bit floats have eleven bits: another order of additions shows in the third digit. */
const HALF_TOLERANCE = { absolute: 1e-3, relative: 1e-2 }

/**
 * Names the features of a graph. `given` are names in the order of the row, through all inputs, `name[n]` for an array of
 * n. Without them: an input of one value a row is a feature by its own name; the only input, if it has up to 32 values a
 * row, has the features f0, f1, …; any other is one array by its own name.
 * @throws SluiceError `model-unsupported`, or `invalid-config` when `given` does not fill the rows.
 */
export function draftInputs(tensors: readonly GraphTensor[], given?: readonly string[]): Draft<DraftInput> {
  const names = given?.map(parseFeature)
  const shaped = tensors.map(tensor => {
    const type = carriedType('input', tensor)
    return { tensor: tensor.name, type, shape: shapeOfInput(tensor, tensors.length === 1 ? names : undefined) }
  })
  if (names !== undefined) return { parts: shareOut(shaped, names), notes: [] }
  const parts = shaped.map(each => ({ ...each, features: ownFeatures(each, shaped.length === 1) }))
  const renamed = parts.filter(({ tensor, features }) => features.length === 1 && features[0]!.name !== tensor)
  const notes = renamed.map(
    ({ tensor, features }) =>
      `input "${tensor}" is fed by the field ${features[0]!.name}, as a field may not be called so`,
  )
  if (parts[0]!.features.length > 1) {
    notes.push(`the fields are called ${span(parts[0]!.features)}; --features gives them names`)
  }
  return { parts, notes }
}

/**
 * Takes the outputs that can be fields of a prediction; those that cannot are left out as long as one remains.
 * @param shapes of the outputs that are tensors, as they came out of a run of `rows` rows
 * @param fixedBatch that the inputs have
 * @throws SluiceError `model-unsupported` when none remains
 */
export function draftOutputs(
  tensors: readonly GraphTensor[],
  shapes: ReadonlyMap<string, readonly number[]>,
  rows: number,
  fixedBatch: number | null,
): Draft<DraftOutput> {
  const parts: DraftOutput[] = []
  const refused: string[] = []
  const fields = new Set<string>()
  for (const tensor of tensors) {
    const problem = outputProblem(tensor, shapes.get(tensor.name), rows)
    if (problem !== undefined) {
      refused.push(`output "${tensor.name}" ${problem}`)
      continue
    }
    const shape = [fixedBatch, ...rowShapeOf(tensor, shapes.get(tensor.name)!)]
    const field = unused(avroName(tensor.name), fields)
    const draft = { tensor: tensor.name, field, type: tensor.type!, shape }
    parts.push(tensor.type === 'float16' ? { ...draft, tolerance: HALF_TOLERANCE } : draft)
  }
  if (parts.length === 0)
    throw new SluiceError('model-unsupported', `no output can be predicted: ${refused.join('; ')}`)
  return { parts, notes: refused.map(problem => `${problem}; it is left out`) }
}

/**
 * What one row came out as; but a single value a row keeps the number of dimensions that the graph declares, which the
 * signature check goes by: CatBoost's regressors declare [N] and give [N, 1].
 */
function rowShapeOf({ shape }: GraphTensor, came: readonly number[]): readonly number[] {
  const single = came.slice(1).every(dimension => dimension === 1)
  return single && shape.length > 0 ? Array<number>(shape.length - 1).fill(1) : came.slice(1)
}

/** The batch dimension that the inputs fix, or null. */
export function batchOf(inputs: readonly DraftInput[]): number | null {
  return inputs.map(({ shape }) => shape[0]!).find(batch => batch !== null) ?? null
}

function carriedType(side: string, { name, type }: GraphTensor): string {
  if (type !== null && CARRIED.includes(type)) return type
  throw new SluiceError('model-unsupported', `${side} "${name}" ${typeProblem(type)}`)
}

function typeProblem(type: string | null): string {
  if (type !== null)
    return `is of type ${type}; Sluice has ${CARRIED.join(', ')}: put a Cast to one of them into the graph`
  return (
    'is a sequence or a map, no tensor; for a classifier of scikit-learn, convert it with ' +
    `options={"zipmap": False}, as in to_onnx(model, X, options={"zipmap": False})`
  )
}

function outputProblem({ type }: GraphTensor, shape: readonly number[] | undefined, rows: number): string | undefined {
  if (type === null || !CARRIED.includes(type)) return typeProblem(type)
  if (shape?.[0] === rows) return undefined
  return `has the shape [${shape?.join(',')}] for ${rows} rows, so its first dimension is not that of the rows`
}

/** The shape with a size for every dimension but the first. Names say how long the row of an only input is. */
function shapeOfInput({ name, shape }: GraphTensor, names: readonly DraftFeature[] | undefined): (number | null)[] {
  const [batch = null, ...row] = shape.length === 0 && names !== undefined ? [null, null] : shape
  const open = row.filter(size => size === null).length
  if (shape.length === 0 && names === undefined) throw openRow(name, shape)
  if (open === 0) return [batch, ...row]
  if (open > 1 || names === undefined) throw openRow(name, shape)
  const known = row.reduce<number>((product, size) => product * (size ?? 1), 1)
  const inferred = lengthOf(names) / known
  if (!Number.isInteger(inferred)) throw openRow(name, shape)
  return [batch, ...row.map(size => size ?? inferred)]
}

function openRow(name: string, shape: readonly (number | null)[]): SluiceError {
  const shown = `[${shape.map(size => size ?? '?').join(',')}]`
  return new SluiceError(
    'model-unsupported',
    `input "${name}" has the shape ${shown}, which leaves open how many values a row has; if it is the only input, ` +
      '--features says that (name,name,… or name[LENGTH]); otherwise export the model with fixed sizes after the first',
  )
}

function parseFeature(text: string): DraftFeature {
  const [, name, length] = /^([^[\]]+)(?:\[(\d+)\])?$/.exec(text.trim()) ?? []
  if (name === undefined) {
    throw new SluiceError('invalid-config', `--features has "${text}"; expected NAME, or NAME[LENGTH] for an array`)
  }
  return length === undefined ? { name } : { name, length: Number(length) }
}

/** Fills the rows of the inputs, one after the other, with the features. */
function shareOut(tensors: readonly DraftTensor[], features: readonly DraftFeature[]): DraftInput[] {
  const wrong = () => {
    const rows = tensors.map(each => `${each.tensor} (${widthOf(each)})`).join(', ')
    const given = features.map(({ name, length }) => (length === undefined ? name : `${name}[${length}]`)).join(',')
    return new SluiceError(
      'invalid-config',
      `--features must fill the rows of the model's inputs, ${rows}; ${given} makes ${lengthOf(features)} in all, or one ` +
        'of them belongs to two inputs',
    )
  }
  let next = 0
  const inputs = tensors.map(tensor => {
    const own: DraftFeature[] = []
    while (lengthOf(own) < widthOf(tensor)) {
      const feature = features[next++]
      if (feature === undefined) throw wrong()
      own.push(feature)
    }
    if (lengthOf(own) > widthOf(tensor)) throw wrong()
    return { ...tensor, features: own }
  })
  if (next < features.length) throw wrong()
  return inputs
}

function ownFeatures(tensor: DraftTensor, alone: boolean): DraftFeature[] {
  const width = widthOf(tensor)
  const name = avroName(tensor.tensor)
  if (width === 1) return [{ name }]
  if (alone && width <= MOST_FIELDS && tensor.shape.length === 2) {
    return Array.from({ length: width }, (_, index) => ({ name: `f${index}` }))
  }
  return [{ name, length: width }]
}

function span(features: readonly DraftFeature[]): string {
  return `${features[0]!.name} to ${features.at(-1)!.name}`
}

function widthOf({ shape }: DraftTensor): number {
  return shape.slice(1).reduce<number>((product, size) => product * size!, 1)
}

function lengthOf(features: readonly DraftFeature[]): number {
  return features.reduce((sum, { length = 1 }) => sum + length, 0)
}

/** What is no letter, digit or underscore becomes an underscore; no digit comes first. */
function avroName(tensor: string): string {
  const name = tensor.replace(/[^A-Za-z0-9_]+/g, '_')
  return /^[A-Za-z_]/.test(name) ? name : `_${name}`
}

function unused(name: string, taken: Set<string>): string {
  let free = name
  for (let number = 2; taken.has(free); number++) free = `${name}_${number}`
  taken.add(free)
  return free
}
