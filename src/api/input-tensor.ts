import { isUtf8 } from 'node:buffer'
import { SluiceError } from '../core/errors.ts'
import { byteLength, type ElementType, type RowSpec, type TensorColumn, type TensorData } from '../core/tensor.ts'

/** One input of a request, checked, and still where it came: in its JSON, or in its body. */
export interface InputTensor {
  /** Copies its rows [from, from + count) into `column`, from its row `at`. */
  pack(column: TensorColumn, from: number, count: number, at: number): void
}

export function invalid(message: string): SluiceError {
  return new SluiceError('request-invalid', message)
}

/**
 * A tensor whose elements are in `data`, an array of JSON that may be nested as its shape is, or flat.
 * @throws SluiceError `request-invalid` when they are too many or too few, or one does not fit the type
 */
export function jsonTensor(spec: RowSpec, data: unknown, shape: readonly number[]): InputTensor {
  const named = `the data of input "${spec.tensor}"`
  if (!Array.isArray(data)) throw invalid(`${named} is missing, or is no array`)
  const size = shape.reduce((product, dimension) => product * dimension, 1)
  const flat = Array.isArray(data[0]) ? flattened(data, shape, named) : data
  if (flat.length !== size) throw invalid(`${named} has ${flat.length} elements, its shape [${shape}] has ${size}`)
  const { take, words } = RULES[spec.type]
  for (let i = 0; i < size; i++) {
    const given = flat[i]
    const taken = take(given)
    if (taken === undefined) throw invalid(`element ${i} of ${named} is ${shown(given)}, expected ${words}`)
    if (taken !== given) flat[i] = taken
  }
  return new ArrayTensor(flat as (number | bigint | string)[])
}

/**
 * A tensor of the binary extension: its elements row by row, little-endian; strings each after their length in 4 bytes.
 * @throws SluiceError `request-invalid`
 */
export function binaryTensor(spec: RowSpec, bytes: Uint8Array, rows: number): InputTensor {
  const named = `the binary data of input "${spec.tensor}"`
  const elements = rows * spec.width
  if (spec.type === 'string') return new ArrayTensor(stringsOf(bytes, elements, named))
  const expected = byteLength(spec.type, elements)
  if (bytes.length !== expected) throw invalid(`${named} has ${bytes.length} bytes, its shape needs ${expected}`)
  if (spec.type === 'bool' && bytes.some(byte => byte > 1)) throw invalid(`${named} has a byte that is neither 0 nor 1`)
  return new BytesTensor(bytes, byteLength(spec.type, spec.width))
}

/** Elements that JSON, or a string of the binary extension, has given. */
class ArrayTensor implements InputTensor {
  readonly #elements: readonly (number | bigint | string)[]

  constructor(elements: readonly (number | bigint | string)[]) {
    this.#elements = elements
  }

  pack({ spec, data }: TensorColumn, from: number, count: number, at: number): void {
    const source = this.#elements
    const first = from * spec.width
    const target = at * spec.width
    const length = count * spec.width
    if (data instanceof BigInt64Array) {
      for (let i = 0; i < length; i++) data[target + i] = BigInt(source[first + i]!)
    } else {
      const elements = data as Exclude<TensorData, BigInt64Array> as (number | string)[]
      for (let i = 0; i < length; i++) elements[target + i] = source[first + i] as number | string
    }
  }
}

/** Elements as they lie in memory. */
class BytesTensor implements InputTensor {
  readonly #bytes: Uint8Array
  readonly #rowBytes: number

  constructor(bytes: Uint8Array, rowBytes: number) {
    this.#bytes = bytes
    this.#rowBytes = rowBytes
  }

  pack({ data }: TensorColumn, from: number, count: number, at: number): void {
    const { buffer, byteOffset } = data as Float32Array
    const size = this.#rowBytes
    const rows = this.#bytes.subarray(from * size, (from + count) * size)
    new Uint8Array(buffer, byteOffset + at * size, count * size).set(rows)
  }
}

interface ElementRule {
  /** The element as it is packed; undefined if it is not of the type. */
  readonly take: (value: unknown) => number | bigint | string | undefined
  readonly words: string
}

const NON_FINITE: Readonly<Record<string, number>> = { NaN, Infinity, '-Infinity': -Infinity }

/** JSON cannot write these three, so they come as text; a finite number that the type makes infinite is refused. */
function float(largest: number): ElementRule['take'] {
  return value => {
    if (typeof value === 'number') return value <= largest && value >= -largest ? value : undefined
    if (typeof value === 'bigint') return value <= largest && value >= -largest ? Number(value) : undefined
    return typeof value === 'string' && Object.hasOwn(NON_FINITE, value) ? NON_FINITE[value] : undefined
  }
}

const FLOAT_WORDS = 'a number that it can hold, "NaN", "Infinity" or "-Infinity"'

const RULES: Readonly<Record<ElementType, ElementRule>> = {
  float16: { take: float(65_504), words: FLOAT_WORDS },
  float32: { take: float(3.4028234663852886e38), words: FLOAT_WORDS },
  float64: { take: float(Number.MAX_VALUE), words: FLOAT_WORDS },
  int64: {
    take: value => {
      if (typeof value === 'bigint') return BigInt.asIntN(64, value) === value ? value : undefined
      return Number.isSafeInteger(value) ? (value as number) : undefined
    },
    words: 'an integer from -2^63 to 2^63 - 1',
  },
  int32: {
    take: value =>
      Number.isInteger(value) && (value as number) === ((value as number) | 0) ? (value as number) : undefined,
    words: 'an integer from -2^31 to 2^31 - 1',
  },
  bool: { take: value => (typeof value === 'boolean' ? Number(value) : undefined), words: 'true or false' },
  string: { take: value => (typeof value === 'string' ? value : undefined), words: 'a string' },
}

function flattened(data: readonly unknown[], shape: readonly number[], named: string): unknown[] {
  const flat: unknown[] = []
  const walk = (part: unknown, depth: number) => {
    if (depth === shape.length) flat.push(part)
    else if (!Array.isArray(part) || part.length !== shape[depth])
      throw invalid(`${named} is nested otherwise than its shape [${shape}] says`)
    else for (const inner of part) walk(inner, depth + 1)
  }
  walk(data, 0)
  return flat
}

function stringsOf(bytes: Uint8Array, count: number, named: string): string[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const strings: string[] = []
  let at = 0
  while (at < buffer.length && strings.length < count) {
    const end = at + 4 <= buffer.length ? at + 4 + buffer.readUInt32LE(at) : Number.POSITIVE_INFINITY
    if (end > buffer.length) throw invalid(`${named} ends within element ${strings.length}`)
    const text = buffer.subarray(at + 4, end)
    if (!isUtf8(text)) throw invalid(`element ${strings.length} of ${named} is no UTF-8`)
    strings.push(text.toString('utf8'))
    at = end
  }
  if (strings.length === count && at === buffer.length) return strings
  throw invalid(`${named} has ${strings.length < count ? strings.length : 'more'} elements, its shape needs ${count}`)
}

/** What a value is, for people: short, whatever it is. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return value.length <= 40 ? `the string ${JSON.stringify(value)}` : 'a long string'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
