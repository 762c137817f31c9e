import { SluiceError } from '../core/errors.ts'
import type { InferAnswer } from '../core/inference-api.ts'
import type { ModelSpec } from '../core/model.ts'
import { ownColumn, type TensorColumn, type TensorData } from '../core/tensor.ts'
import { DATATYPES } from './datatypes.ts'
import type { InferRequest, WantedOutput } from './infer-request.ts'

/** What the answer says of one output: JSON up to its data, or its data beside. */
interface Written {
  readonly json: string
  readonly binary: Uint8Array | undefined
}

/**
 * The answer to one request, as its rows come. What comes at once is written straight from the slot; what comes in several
 * micro-batches is gathered first.
 */
export class InferAnswerWriter {
  readonly #spec: ModelSpec
  readonly #request: InferRequest
  #gathered: TensorData[] | undefined
  #written: Written[] = []

  constructor(spec: ModelSpec, request: InferRequest) {
    this.#spec = spec
    this.#request = request
  }

  /** Rows [from, from + count) of the request lie in the rows of `outputs` that begin at `at`. */
  take(outputs: readonly TensorColumn[], from: number, count: number, at: number): void {
    const { rows, outputs: wanted } = this.#request
    if (count === rows) {
      this.#written = wanted.map(want => this.#write(want, rowsOf(outputs[want.index]!, at, count)))
      return
    }
    this.#gathered ??= wanted.map(({ index }) => ownColumn(outputs[index]!.spec, rows).data)
    for (const [i, { index }] of wanted.entries()) {
      const column = outputs[index]!
      const part = rowsOf(column, at, count)
      const all = this.#gathered[i]!
      const first = from * column.spec.width
      if (Array.isArray(all)) for (let e = 0; e < part.length; e++) all[first + e] = part[e] as string
      else (all as Float32Array).set(part as Float32Array, first)
    }
  }

  /**
   * Once all rows were taken.
   * @throws SluiceError `request-too-large`: how long texts are was not known before
   */
  finish(version: string): InferAnswer {
    const answer = this.#answer(version)
    requireSmall(answer, this.#request)
    return answer
  }

  #answer(version: string): InferAnswer {
    const { id, outputs } = this.#request
    if (this.#gathered !== undefined) {
      this.#written = this.#gathered.map((data, i) => this.#write(outputs[i]!, data))
      this.#gathered = undefined
    }
    const { name } = this.#spec
    const said = id === undefined ? '' : `"id":${JSON.stringify(id)},`
    const json = `{"model_name":${JSON.stringify(name)},"model_version":${JSON.stringify(version)},${said}"outputs":[${this.#written.map(output => output.json).join(',')}]}`
    const binary = this.#written.flatMap(output => output.binary ?? [])
    if (binary.length === 0) return { body: json, headerLength: undefined }
    const header = Buffer.from(json)
    return { body: Buffer.concat([header, ...binary]), headerLength: header.length }
  }

  #write({ index, binary }: WantedOutput, data: TensorData): Written {
    const { tensor, type, rowShape } = this.#spec.outputs[index]!
    const shape = [this.#request.rows, ...rowShape].join(',')
    const head = `{"name":${JSON.stringify(tensor)},"datatype":"${DATATYPES[type]}","shape":[${shape}]`
    if (!binary) return { json: `${head},"data":[${elementsOf(data)}]}`, binary: undefined }
    const bytes = bytesOf(data)
    return { json: `${head},"parameters":{"binary_data_size":${bytes.length}}}`, binary: bytes }
  }
}

function requireSmall({ body }: InferAnswer, { rows, maxAnswerBytes }: InferRequest): void {
  // A character takes three bytes at most, so hardly any answer has to be measured.
  if (3 * body.length <= maxAnswerBytes) return
  const bytes = Buffer.byteLength(body)
  if (bytes <= maxAnswerBytes) return
  throw new SluiceError(
    'request-too-large',
    `the answer to ${rows} rows has ${bytes} bytes; API_MAX_BODY_BYTES allows ${maxAnswerBytes}. ` +
      'Send fewer rows at a time, or name the outputs that are needed',
  )
}

function rowsOf({ spec, data }: TensorColumn, at: number, count: number): TensorData {
  const first = at * spec.width
  const end = first + count * spec.width
  return Array.isArray(data) ? data.slice(first, end) : data.subarray(first, end)
}

/** JSON has no words for NaN and infinity, so they are text, as in predictions. */
function elementsOf(data: TensorData): string {
  if (Array.isArray(data)) return JSON.stringify(data).slice(1, -1)
  if (data instanceof Uint8Array) return Array.from(data, element => element !== 0).join(',')
  const text = data.join(',')
  return data instanceof BigInt64Array || data instanceof Int32Array || (!text.includes('N') && !text.includes('I'))
    ? text
    : text.replaceAll(/NaN|-?Infinity/g, '"$&"')
}

/** A copy, because the slot is others' afterwards. */
function bytesOf(data: TensorData): Uint8Array {
  if (!Array.isArray(data)) return Buffer.copyBytesFrom(data as Uint8Array)
  const parts = data.flatMap(text => {
    const bytes = Buffer.from(text)
    const length = Buffer.alloc(4)
    length.writeUInt32LE(bytes.length)
    return [length, bytes]
  })
  return Buffer.concat(parts)
}
