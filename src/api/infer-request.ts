import { messageOf, SluiceError } from '../core/errors.ts'
import type { InputSpec, ModelSpec } from '../core/model.ts'
import { byteLength } from '../core/tensor.ts'
import { DATATYPES } from './datatypes.ts'
import { binaryTensor, type InputTensor, invalid, jsonTensor, shown } from './input-tensor.ts'

/** An output that the client wants. */
export interface WantedOutput {
  /** Its place among the outputs of the model. */
  readonly index: number
  /** In the binary extension instead of JSON. */
  readonly binary: boolean
}

/** A request for inference that the model can take. */
export interface InferRequest {
  readonly id: string | undefined
  readonly rows: number
  /** In the order of the model's inputs. */
  readonly inputs: readonly InputTensor[]
  /** In the order in which they are wanted. */
  readonly outputs: readonly WantedOutput[]
  /** How long it may wait at most, if it says so. */
  readonly timeoutMs: number | undefined
  /** A larger one is refused. */
  readonly maxAnswerBytes: number
}

/** The settings of the same names. */
export interface RequestLimits {
  readonly apiMaxRows: number
  readonly apiMaxBodyBytes: number
}

type Json = Readonly<Record<string, unknown>>

/** Characters that an element takes in JSON: a float seldom more, and how long a text is, only the run will say (see `InferAnswerWriter`). */
const JSON_ELEMENT = 20

/**
 * Reads and checks a request of the Open Inference Protocol; its answer is not expected to be larger than a body may be.
 * @param headerLength bytes of `body` that are JSON; undefined for all
 * @throws SluiceError `request-invalid`, `request-too-large`
 */
export function parseInferRequest(
  body: Uint8Array,
  headerLength: number | undefined,
  spec: ModelSpec,
  limits: RequestLimits,
): InferRequest {
  const jsonBytes = headerLength ?? body.length
  if (jsonBytes > body.length)
    throw invalid(`Inference-Header-Content-Length is ${jsonBytes}, but the body has ${body.length} bytes`)
  const request = parseJson(body, jsonBytes, spec)
  const { id, parameters, outputs } = request
  if (id !== undefined && typeof id !== 'string') throw invalid('"id" is no string')
  const asked = objectOf(parameters, 'parameters')
  const { inputs, rows } = readInputs(request.inputs, spec, body.subarray(jsonBytes), limits.apiMaxRows)
  const wanted = readOutputs(outputs, spec, asked.binary_data_output === true)
  const { apiMaxBodyBytes: maxAnswerBytes } = limits
  requireSmallAnswer(rows, wanted, spec, maxAnswerBytes)
  return { id, rows, inputs, outputs: wanted, timeoutMs: timeoutOf(asked.timeout), maxAnswerBytes }
}

function parseJson(body: Uint8Array, bytes: number, spec: ModelSpec): Json {
  const text = Buffer.from(body.buffer, body.byteOffset, bytes).toString('utf8')
  let parsed: unknown
  try {
    // JSON.parse rounds an integer that a double cannot hold; where the model takes such, its digits are looked at.
    const exact = spec.inputs.some(({ type }) => type === 'int64') && /\d{16}/.test(text)
    parsed = exact ? JSON.parse(text, exactIntegers as (key: string, value: unknown) => unknown) : JSON.parse(text)
  } catch (error) {
    throw invalid(`the request is no JSON: ${messageOf(error)}`)
  }
  return objectOf(parsed, 'the request', false)
}

function exactIntegers(_key: string, value: unknown, { source }: { source?: string }): unknown {
  const rounded = typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)
  return rounded && source !== undefined && /^-?\d{1,40}$/.test(source) ? BigInt(source) : value
}

function readInputs(given: unknown, spec: ModelSpec, binary: Uint8Array, maxRows: number) {
  if (!Array.isArray(given)) throw invalid('"inputs" is missing, or is no array')
  const tensors = new Map<string, InputTensor>()
  let rows: number | undefined
  let at = 0
  for (const item of given) {
    const input = objectOf(item, 'an input', false)
    const known = spec.inputs.find(({ tensor }) => tensor === input.name)
    if (known === undefined) throw invalid(`the model has no input ${named(input.name)}; ${namesOf(spec.inputs)}`)
    if (tensors.has(known.tensor)) throw invalid(`input "${known.tensor}" is there twice`)
    const shape = shapeOf(input, known)
    if (rows !== undefined && shape[0] !== rows)
      throw invalid(`input "${known.tensor}" has ${shape[0]} rows, another one has ${rows}`)
    rows = shape[0]!
    if (rows > maxRows)
      throw new SluiceError('request-too-large', `the request has ${rows} rows; API_MAX_ROWS allows ${maxRows}`)
    const size = binarySizeOf(input, known)
    if (size === undefined) tensors.set(known.tensor, jsonTensor(known, input.data, shape))
    else {
      if (at + size > binary.length) throw invalid(`the body ends within the binary data of input "${known.tensor}"`)
      tensors.set(known.tensor, binaryTensor(known, binary.subarray(at, at + size), rows))
      at += size
    }
  }
  if (at < binary.length) throw invalid(`the body has ${binary.length - at} bytes that belong to no input`)
  const missing = spec.inputs.filter(({ tensor }) => !tensors.has(tensor))
  if (missing.length > 0 || rows === undefined) throw invalid(`inputs are missing: ${namesOf(missing)}`)
  return { rows, inputs: spec.inputs.map(({ tensor }) => tensors.get(tensor)!) }
}

/** The shape of an input, after its datatype and shape were found to be those of the model. */
function shapeOf({ datatype, shape }: Json, { tensor, type, rowShape }: InputSpec): readonly number[] {
  if (datatype !== DATATYPES[type])
    throw invalid(`input "${tensor}" has the datatype ${named(datatype)}; the model takes ${DATATYPES[type]}`)
  const fits =
    Array.isArray(shape) &&
    shape.length === rowShape.length + 1 &&
    Number.isSafeInteger(shape[0]) &&
    shape[0] >= 1 &&
    rowShape.every((dimension, i) => shape[i + 1] === dimension)
  if (fits) return shape
  throw invalid(
    `input "${tensor}" has the shape ${listed(shape)}; the model takes [${[-1, ...rowShape]}], with at least one row`,
  )
}

function binarySizeOf({ parameters }: Json, { tensor }: InputSpec): number | undefined {
  const asked = objectOf(parameters, `parameters of input "${tensor}"`)
  if (asked.shared_memory_region !== undefined)
    throw invalid(`input "${tensor}" is in shared memory, which is not supported: send it in the request`)
  const { binary_data_size: size } = asked
  if (size === undefined) return undefined
  if (Number.isSafeInteger(size) && (size as number) >= 0) return size as number
  throw invalid(`binary_data_size of input "${tensor}" is no number of bytes`)
}

function readOutputs(given: unknown, spec: ModelSpec, binaryByDefault: boolean): readonly WantedOutput[] {
  if (given !== undefined && !Array.isArray(given)) throw invalid('"outputs" is no array')
  if (given === undefined || given.length === 0)
    return spec.outputs.map((_, index) => ({ index, binary: binaryByDefault }))
  const wanted = given.map(item => {
    const output = objectOf(item, 'an output', false)
    const index = spec.outputs.findIndex(({ tensor }) => tensor === output.name)
    if (index < 0) throw invalid(`the model has no output ${named(output.name)}; ${namesOf(spec.outputs)}`)
    const asked = objectOf(output.parameters, `parameters of output "${output.name}"`)
    for (const unsupported of ['classification', 'shared_memory_region']) {
      if (asked[unsupported] !== undefined)
        throw invalid(`output "${output.name}" asks for ${unsupported}, which is not supported`)
    }
    return { index, binary: typeof asked.binary_data === 'boolean' ? asked.binary_data : binaryByDefault }
  })
  if (new Set(wanted.map(({ index }) => index)).size < wanted.length) throw invalid('an output is wanted twice')
  return wanted
}

/** Before anything is run for it. */
function requireSmallAnswer(rows: number, outputs: readonly WantedOutput[], spec: ModelSpec, maxBytes: number): void {
  const ofRow = outputs.map(({ index, binary }) => {
    const { type, width } = spec.outputs[index]!
    return binary && type !== 'string' ? byteLength(type, width) : JSON_ELEMENT * width
  })
  const bytes = rows * ofRow.reduce((sum, size) => sum + size, 0)
  if (bytes <= maxBytes) return
  throw new SluiceError(
    'request-too-large',
    `the answer to ${rows} rows would have about ${bytes} bytes; API_MAX_BODY_BYTES allows ${maxBytes}. ` +
      'Send fewer rows at a time, name the outputs that are needed, or ask for them in binary',
  )
}

/** Microseconds, as Triton has it; 0 is none. */
function timeoutOf(timeout: unknown): number | undefined {
  if (timeout === undefined || timeout === 0) return undefined
  if (Number.isSafeInteger(timeout) && (timeout as number) > 0) return (timeout as number) / 1000
  throw invalid('the parameter "timeout" is no number of microseconds')
}

function objectOf(value: unknown, named: string, optional = true): Json {
  if (value === undefined && optional) return {}
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  throw invalid(`${named} is no JSON object`)
}

function namesOf(tensors: readonly { readonly tensor: string }[]): string {
  return `expected ${tensors.map(({ tensor }) => `"${tensor}"`).join(', ')}`
}

/** A value that should be a name. */
function named(value: unknown): string {
  return typeof value === 'string' && value.length <= 40 ? JSON.stringify(value) : shown(value)
}

/** A value that should be a shape. */
function listed(value: unknown): string {
  return Array.isArray(value) && value.length <= 16 ? `[${value.map(named).join(',')}]` : shown(value)
}
