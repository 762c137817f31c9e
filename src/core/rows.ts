import type { ErrorCode, RecordFault } from './errors.ts'
import type { FeatureSpec, InputSpec, OutputSpec } from './model.ts'
import type { ElementType, RowSpec, TensorColumn } from './tensor.ts'

/**
 * Between tensor rows and plain values, as JSON has them. The rules here are those of every input format: the Avro
 * decoder has its own way to the same elements, and takes its faults from {@link featureFaults}.
 */

/** What a feature of each element type must be, in words. */
const EXPECTED: Record<ElementType, string> = {
  float16: 'a number',
  float32: 'a number',
  float64: 'a number',
  int64: 'an integer from -2^63 to 2^63 - 1',
  int32: 'an integer from -2^31 to 2^31 - 1',
  bool: 'a boolean',
  string: 'a string',
}

/** The numbers that JSON cannot write, as text; input and output use the same three words. */
const NON_FINITE: Readonly<Record<string, number>> = { NaN, Infinity, '-Infinity': -Infinity }

/** The faults of single features, in one wording for all formats. `element` is the index in an array feature. */
export const featureFaults = {
  missing: (feature: FeatureSpec): RecordFault =>
    fault('feature-missing', `the record has no field "${feature.name}", and the feature has no default`),
  null: (feature: FeatureSpec, element?: number): RecordFault =>
    fault('feature-null', `${nameOf(feature, element)} is null, and has no default`),
  type: (feature: FeatureSpec, type: ElementType, found: string, element?: number): RecordFault =>
    fault(
      'feature-type',
      feature.array && element === undefined
        ? `${nameOf(feature)} is ${found}; expected an array of ${feature.length}, each ${EXPECTED[type]} (${type})`
        : `${nameOf(feature, element)} is ${found}; expected ${EXPECTED[type]} (${type})`,
    ),
  /** A dotted name steps into something that has no fields. */
  parent: (feature: FeatureSpec, parent: string, found: string): RecordFault =>
    fault('feature-type', `feature "${feature.name}" lies in "${parent}", which is ${found}; expected an object`),
  range: (feature: FeatureSpec, type: ElementType, found: string, element?: number): RecordFault =>
    fault('feature-range', `${nameOf(feature, element)} is ${found}; expected ${EXPECTED[type]} (${type})`),
  notFinite: (feature: FeatureSpec, type: ElementType, found: number, element?: number): RecordFault =>
    fault(
      'feature-not-finite',
      Number.isFinite(found)
        ? `${nameOf(feature, element)} is ${found}, which is infinite as ${type}`
        : `${nameOf(feature, element)} is ${found}; expected a finite number (${type})`,
    ),
  length: (feature: FeatureSpec, found: string): RecordFault =>
    fault('array-length', `${nameOf(feature)} has ${found} elements; expected exactly ${feature.length}`),
}

/**
 * Packs the features of `object` into row `row` of `columns`, which are in the order of `inputs`. A missing or null
 * value (in an array: a null element) takes the feature's default. Numbers go to float tensors, whole numbers (or
 * bigints) in range to integer tensors, booleans to bool, strings to string, and nothing else anywhere. A whole number
 * beyond ±(2^53 - 1) is out of range unless it is a bigint, because JSON has already rounded it. Where `allowNonFinite`
 * is set, float tensors also take the strings "NaN", "Infinity" and "-Infinity".
 *
 * Returns undefined when the row is complete, or the first fault: then the row's content is undefined.
 */
export function packObject(
  object: Readonly<Record<string, unknown>>,
  inputs: readonly InputSpec[],
  columns: readonly TensorColumn[],
  row: number,
  allowNonFinite: boolean,
): RecordFault | undefined {
  for (let i = 0; i < inputs.length; i++) {
    const column = columns[i]!
    let at = row * column.spec.width
    for (const feature of inputs[i]!.features) {
      const fault = packFeature(object, feature, column, at, allowNonFinite)
      if (fault !== undefined) return fault
      at += feature.length
    }
  }
  return undefined
}

/** Puts `value` where `packObject` looks for the feature of this name: dots step into objects, made where there are none. */
export function placeFeature(object: Record<string, unknown>, name: string, value: unknown): void {
  const path = name.split('.')
  const last = path.pop()!
  let at = object
  for (const step of path) {
    at[step] ??= {}
    at = at[step] as Record<string, unknown>
  }
  at[last] = value
}

function packFeature(
  object: Readonly<Record<string, unknown>>,
  feature: FeatureSpec,
  column: TensorColumn,
  at: number,
  allowNonFinite: boolean,
): RecordFault | undefined {
  const type = column.spec.type
  let value: unknown = object
  let path = ''
  for (const name of feature.name.split('.')) {
    if (typeof value !== 'object' || Array.isArray(value)) return featureFaults.parent(feature, path, describe(value))
    // hasOwn, because a feature may be called "constructor".
    value = Object.hasOwn(value!, name) ? (value as Record<string, unknown>)[name] : undefined
    if (value === undefined || value === null) return fillDefault(feature, column, at, value === null)
    path = path === '' ? name : `${path}.${name}`
  }
  if (!feature.array) return packElement(value, feature, column, at, allowNonFinite)
  if (!Array.isArray(value)) return featureFaults.type(feature, type, describe(value))
  if (value.length !== feature.length) return featureFaults.length(feature, String(value.length))
  for (let e = 0; e < value.length; e++) {
    const fault = packElement(value[e] ?? feature.default, feature, column, at + e, allowNonFinite, e)
    if (fault !== undefined) return fault
  }
  return undefined
}

/**
 * Fills all elements of a feature, from `at`, with its default. Returns the fault when it has none: `feature-null` or
 * `feature-missing`.
 */
export function fillDefault(
  feature: FeatureSpec,
  column: TensorColumn,
  at: number,
  isNull: boolean,
): RecordFault | undefined {
  if (feature.default === undefined) return isNull ? featureFaults.null(feature) : featureFaults.missing(feature)
  for (let e = 0; e < feature.length; e++) {
    const fault = packElement(feature.default, feature, column, at + e, true, feature.array ? e : undefined)
    if (fault !== undefined) return fault
  }
  return undefined
}

/** Packs one value of a feature as element `at`. `element` is its index where the feature is an array. */
export function packElement(
  value: unknown,
  feature: FeatureSpec,
  column: TensorColumn,
  at: number,
  allowNonFinite: boolean,
  element?: number,
): RecordFault | undefined {
  if (value === undefined || value === null) return featureFaults.null(feature, element)
  const { data } = column
  const { type } = column.spec
  switch (type) {
    case 'float16':
    case 'float32':
    case 'float64': {
      const number = toNumber(value, allowNonFinite)
      if (number === undefined) return featureFaults.type(feature, type, describe(value), element)
      ;(data as Float32Array)[at] = number
      if (allowNonFinite || Number.isFinite((data as Float32Array)[at])) return undefined
      return featureFaults.notFinite(feature, type, number, element)
    }
    case 'int64':
    case 'int32': {
      const integer = typeof value === 'bigint' ? value : Number.isInteger(value) ? (value as number) : undefined
      if (integer === undefined) return featureFaults.type(feature, type, describe(value), element)
      if (!inRange(integer, type)) return featureFaults.range(feature, type, String(integer), element)
      if (type === 'int64') (data as BigInt64Array)[at] = BigInt(integer)
      else (data as Int32Array)[at] = Number(integer)
      return undefined
    }
    case 'bool':
      if (typeof value !== 'boolean') return featureFaults.type(feature, type, describe(value), element)
      ;(data as Uint8Array)[at] = value ? 1 : 0
      return undefined
    case 'string':
      if (typeof value !== 'string') return featureFaults.type(feature, type, describe(value), element)
      ;(data as string[])[at] = value
      return undefined
  }
}

function toNumber(value: unknown, allowNonFinite: boolean): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number(value)
  if (allowNonFinite && typeof value === 'string' && Object.hasOwn(NON_FINITE, value)) return NON_FINITE[value]
  return undefined
}

function inRange(integer: number | bigint, type: 'int64' | 'int32'): boolean {
  if (type === 'int32') return integer >= -(2 ** 31) && integer < 2 ** 31
  return typeof integer === 'bigint' ? BigInt.asIntN(64, integer) === integer : Number.isSafeInteger(integer)
}

/** Whether a row of `spec` is one value (`rowShape` is [], [1], [1, 1], …) rather than an array. */
export function isScalar(spec: RowSpec): boolean {
  return spec.rowShape.every(dimension => dimension === 1)
}

/**
 * Row `row` of `columns`, which are in the order of `outputs`, as plain values by prediction field: number, string,
 * boolean, or an array of them where the row is no scalar; a matrix is flattened, row by row. An int64 is a number
 * where a number can hold it exactly, otherwise a bigint. Floats may be NaN or infinite.
 */
export function unpackRow(
  outputs: readonly OutputSpec[],
  columns: readonly TensorColumn[],
  row: number,
): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  for (let i = 0; i < outputs.length; i++) {
    const output = outputs[i]!
    const column = columns[i]!
    const first = row * output.width
    values[output.field] = isScalar(output)
      ? unpackElement(column, first)
      : Array.from({ length: output.width }, (_, e) => unpackElement(column, first + e))
  }
  return values
}

function unpackElement({ spec, data }: TensorColumn, at: number): number | bigint | string | boolean {
  const element = data[at]!
  if (typeof element === 'bigint') {
    const number = Number(element)
    return Number.isSafeInteger(number) ? number : element
  }
  return spec.type === 'bool' ? element !== 0 : element
}

function fault(code: ErrorCode, message: string): RecordFault {
  return { code, message }
}

function nameOf(feature: FeatureSpec, element?: number): string {
  return element === undefined ? `feature "${feature.name}"` : `element ${element} of feature "${feature.name}"`
}

/** What a value is, for people: its type and, where it is short, the value. */
function describe(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'object') return value === null ? 'null' : 'an object'
  if (typeof value === 'string') return value.length <= 40 ? `the string ${JSON.stringify(value)}` : 'a string'
  return `the ${typeof value} ${String(value)}`
}
