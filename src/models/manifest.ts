import type { ExternalFile, FeatureSpec, GoldenOrigin, InputSpec, ModelSpec, OutputSpec } from '../core/model.ts'
import { ELEMENT_TYPES, type ElementType, type RowSpec } from '../core/tensor.ts'
import { JsonField } from './json-field.ts'

/** The version of the bundle format that this code reads and `training/` writes. */
export const FORMAT = 1

const LARGEST_DIMENSION = 2 ** 31 - 1

/** Names and versions are folder names: no separator, no leading dot, nothing that could climb out of the store. */
export const FOLDER_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
export const FOLDER_NAME_RULE = 'letters, digits, ".", "_" and "-", beginning with a letter or digit'

const FIELDS = [
  'format',
  'name',
  'version',
  'sha256',
  'external',
  'inputs',
  'outputs',
  'tolerance',
  'golden',
  'training',
] as const

const SHA256 = /^[0-9a-f]{64}$/
const SHA256_RULE = '64 hex digits in lower case'

/** A tensor's row, and the batch dimension that came before it: null where the graph leaves it open. */
interface Shaped {
  readonly row: RowSpec
  readonly batch: number | null
}

/**
 * Reads the text of a model.json (docs/models.md has the format). `file` names it in messages.
 * @throws SluiceError `model-corrupt`, naming the file, the field, what it is and what is allowed.
 */
export function parseManifest(file: string, text: string): ModelSpec {
  const root = JsonField.parse(file, text)
  // The format first: a newer one may well have fields that are unknown here.
  root.object().format?.oneOf([FORMAT])
  const fields = root.object(FIELDS)
  fields.format.oneOf([FORMAT])
  const inputs = fields.inputs.elements().map(parseInput)
  const outputs = fields.outputs.elements().map(parseOutput)
  rejectRepeats(fields.inputs, inputs, input => input.spec.tensor, 'input tensor names that differ')
  rejectRepeats(fields.outputs, outputs, output => output.spec.tensor, 'output tensor names that differ')
  rejectRepeats(fields.outputs, outputs, output => output.spec.field, 'field names that differ')
  return {
    name: fields.name.string(FOLDER_NAME, FOLDER_NAME_RULE),
    version: fields.version.string(FOLDER_NAME, `a string of ${FOLDER_NAME_RULE}`),
    sha256: fields.sha256.string(SHA256, SHA256_RULE),
    inputs: inputs.map(input => input.spec),
    outputs: outputs.map(output => output.spec),
    fixedBatch: commonBatch(root, [...inputs, ...outputs]),
    external: fields.external.isPresent ? parseExternal(fields.external) : [],
    tolerance: parseTolerance(fields.tolerance),
    golden: fields.golden.isPresent ? parseOrigin(fields.golden) : { origin: 'trainer' },
    training: fields.training.isPresent ? plainObject(fields.training) : {},
  }
}

/** The inputs of a model.json that is being made; throws as `parseManifest` does. */
export function parseInputs(file: string, inputs: unknown): InputSpec[] {
  return JsonField.parse(file, JSON.stringify(inputs))
    .elements()
    .map(input => parseInput(input).spec)
}

function parseInput(field: JsonField): { spec: InputSpec; batch: number | null } {
  const fields = field.object(['tensor', 'type', 'shape', 'features'])
  const { row, batch } = parseTensor(fields)
  const features = fields.features.elements().map(feature => parseFeature(feature, row.type))
  rejectRepeats(fields.features, features, feature => feature.name, 'feature names that differ')
  const elements = features.reduce((sum, feature) => sum + feature.length, 0)
  if (elements !== row.width) {
    throw fields.features.wrong(`features that fill a row of ${row.width} elements, but these make ${elements}`)
  }
  return { spec: { ...row, features }, batch }
}

function parseOutput(field: JsonField): { spec: OutputSpec; batch: number | null } {
  const fields = field.object(['tensor', 'type', 'shape', 'field', 'tolerance'])
  const { row, batch } = parseTensor(fields)
  const avroName = fields.field.string(
    /^[A-Za-z_][A-Za-z0-9_]*$/,
    'an Avro name: letters, digits and "_", not beginning with a digit',
  )
  const spec = { ...row, field: avroName }
  if (!fields.tolerance.isPresent) return { spec, batch }
  return { spec: { ...spec, tolerance: parseTolerance(fields.tolerance) }, batch }
}

function parseTensor(fields: Record<'tensor' | 'type' | 'shape', JsonField>): Shaped {
  const tensor = fields.tensor.string(/./, 'the name of a tensor in model.onnx')
  const type = fields.type.oneOf(ELEMENT_TYPES)
  const { value } = fields.shape
  if (Array.isArray(value) && value.length === 0) {
    throw fields.shape.wrong(
      'the batch dimension first: a tensor without one has a single value for a whole batch, which no record can be ' +
        'given; export the model so that it answers for each row',
    )
  }
  const [first, ...rest] = fields.shape.elements()
  const batch = first!.value === null ? null : parseBatch(first!)
  const rowShape = rest.map(dimension => dimension.integer(1, LARGEST_DIMENSION))
  const width = rowShape.reduce((product, dimension) => product * dimension, 1)
  if (width > LARGEST_DIMENSION) throw fields.shape.wrong(`at most ${LARGEST_DIMENSION} elements in a row`)
  return { row: { tensor, type, rowShape, width }, batch }
}

/** Names of the bundle's own files, which nothing else may take. */
const OWN_FILES: ReadonlySet<string> = new Set(['model.json', 'model.onnx', 'golden.jsonl', 'baseline.json'])

/**
 * Whether a bundle may have a file of weights by this name: no folder, nothing that leads out of the bundle, nothing
 * hidden, and not the name of another of its files.
 */
export function isExternalFileName(name: string): boolean {
  return /^[^./\\\p{Cc}][^/\\\p{Cc}]{0,199}$/u.test(name) && !OWN_FILES.has(name)
}

function parseExternal(field: JsonField): ExternalFile[] {
  const files = field.elements().map(element => {
    const { file, sha256 } = element.object(['file', 'sha256'])
    if (typeof file.value !== 'string' || !isExternalFileName(file.value)) {
      throw file.wrong('the plain name of a file beside model.onnx, without folders')
    }
    return { file: file.value, sha256: sha256.string(SHA256, SHA256_RULE) }
  })
  rejectRepeats(field, files, ({ file }) => file, 'file names that differ')
  return files
}

function parseOrigin(field: JsonField): GoldenOrigin {
  const fields = field.object(['origin', 'madeOn'])
  const origin = fields.origin.oneOf(['trainer', 'self-made'])
  if (!fields.madeOn.isPresent) return { origin }
  return { origin, madeOn: fields.madeOn.string(/./, 'a text for people') }
}

function parseBatch(field: JsonField): number {
  if (!Number.isInteger(field.value)) {
    throw field.wrong('the batch dimension: null, or the number of rows that the graph fixes')
  }
  return field.integer(1, LARGEST_DIMENSION)
}

function parseFeature(field: JsonField, type: ElementType): FeatureSpec {
  const fields = field.object(['name', 'length', 'default'])
  const name = fields.name.string(/^[^.]+(\.[^.]+)*$/, 'a field name, or several joined by single dots')
  const array = fields.length.isPresent
  const length = array ? fields.length.integer(1, LARGEST_DIMENSION) : 1
  if (!fields.default.isPresent) return { name, length, array }
  return { name, length, array, default: parseDefault(fields.default, type) }
}

function parseDefault(field: JsonField, type: ElementType): number | string | boolean {
  switch (type) {
    case 'float16':
    case 'float32':
    case 'float64':
      if (typeof field.value === 'number') return field.value
      if (typeof field.value === 'string') return field.oneOf(['NaN', 'Infinity', '-Infinity'])
      throw field.wrong('a number, "NaN", "Infinity" or "-Infinity"')
    case 'int64':
      return field.integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    case 'int32':
      return field.integer(-(2 ** 31), 2 ** 31 - 1)
    case 'bool':
      if (typeof field.value === 'boolean') return field.value
      throw field.wrong('true or false')
    case 'string':
      return field.string(/^/, 'a string')
  }
}

function parseTolerance(field: JsonField): ModelSpec['tolerance'] {
  const { absolute, relative } = field.object(['absolute', 'relative'])
  return { absolute: absolute.magnitude(), relative: relative.magnitude() }
}

function plainObject(field: JsonField): Record<string, unknown> {
  field.object()
  return field.value as Record<string, unknown>
}

/** The one batch dimension that the tensors fix. Tensors that leave it open take any, and so do not speak against it. */
function commonBatch(root: JsonField, tensors: readonly { batch: number | null }[]): number | null {
  const fixed = new Set(tensors.map(tensor => tensor.batch).filter(batch => batch !== null))
  if (fixed.size > 1)
    throw root.wrong(`one batch dimension for all tensors, but shapes begin with ${[...fixed].join(', ')}`)
  return [...fixed][0] ?? null
}

function rejectRepeats<Item>(
  field: JsonField,
  items: readonly Item[],
  nameOf: (item: Item) => string,
  expected: string,
): void {
  const names = items.map(nameOf)
  const repeated = names.find((name, index) => names.indexOf(name) !== index)
  if (repeated !== undefined) throw field.wrong(`${expected}, but "${repeated}" occurs twice`)
}
