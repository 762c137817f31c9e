import { type InferenceSession, Tensor } from 'onnxruntime-node'
import type { ModelSpec } from '../core/model.ts'
import { type ElementType, ownColumn, type TensorColumn, type TensorData, type TensorSlot } from '../core/tensor.ts'
import { beginStoring, endStoring, type RunPhase } from './run-phase.ts'

/**
 * Runs rows of slots through one ONNX Runtime session. Inputs are views of the slot's memory; outputs are copied there,
 * because the runtime's Node binding returns buffers of its own even for preallocated outputs.
 */
export class Runner {
  readonly #session: InferenceSession
  readonly #phase: RunPhase
  readonly #fixedBatch: number | null
  readonly #fetches: string[]
  /** For graphs with a fixed batch dimension: where the last, incomplete chunk is padded. A column for each input. */
  readonly #padding: readonly TensorColumn[]

  /** @param phase of this thread: asked before anything is written to a slot */
  constructor(session: InferenceSession, spec: Pick<ModelSpec, 'inputs' | 'outputs' | 'fixedBatch'>, phase: RunPhase) {
    this.#session = session
    this.#phase = phase
    this.#fixedBatch = spec.fixedBatch
    // Only the tensors that model.json names: fetching a ZipMap's sequence would fail inside the binding.
    this.#fetches = spec.outputs.map(output => output.tensor)
    this.#padding = spec.inputs.map(input => ownColumn(input, spec.fixedBatch ?? 0))
  }

  /**
   * Computes rows [first, first + rows) of `slot`, in chunks where the graph fixes the batch dimension.
   * @returns false when the pool gave up the run meanwhile: from then on nothing was written
   * @throws Error with the runtime's reason, or when an output has another shape than model.json says.
   */
  async run(slot: TensorSlot, first: number, rows: number): Promise<boolean> {
    const chunk = this.#fixedBatch ?? rows
    for (let done = 0; done < rows; done += chunk) {
      const real = Math.min(chunk, rows - done)
      const feeds = this.#feeds(slot.inputs, first + done, real, chunk)
      const results = await this.#session.run(feeds, this.#fetches)
      if (!beginStoring(this.#phase)) return false
      for (const column of slot.outputs) {
        store(results[column.spec.tensor] as Tensor, column, first + done, real, chunk)
      }
      endStoring(this.#phase)
    }
    return true
  }

  #feeds(inputs: readonly TensorColumn[], first: number, real: number, chunk: number): Record<string, Tensor> {
    const feeds: Record<string, Tensor> = {}
    for (let i = 0; i < inputs.length; i++) {
      const column = inputs[i]!
      const data =
        real === chunk
          ? rowsOf(column, first, chunk)
          : padded(rowsOf(column, first, real), this.#padding[i]!.data, column.spec.width)
      const { tensor, rowShape } = column.spec
      feeds[tensor] = tensorOf(column.spec.type, data, [chunk, ...rowShape])
    }
    return feeds
  }
}

/**
 * A tensor over `data`. onnxruntime-node 1.30 takes half floats only as the Uint16Array of their bits, and finds no bytes in
 * a Float16Array, yet the constructor makes one of it wherever the engine knows that class. So the constructor sees
 * numbers, and the binding, which goes by the name alone, half floats. What comes out is a Float16Array in any case.
 */
export function tensorOf(type: ElementType, data: TensorData, dims: number[]): Tensor {
  if (!(data instanceof Float16Array)) return new Tensor(type, data as Tensor.DataType, dims)
  const bits = new Tensor('uint16', new Uint16Array(data.buffer, data.byteOffset, data.length), dims)
  return Object.assign(bits, { type })
}

/** Rows as the runtime takes them: a view for numbers, a copy for strings. */
function rowsOf({ spec, data }: TensorColumn, first: number, rows: number): TensorData {
  const start = first * spec.width
  const end = start + rows * spec.width
  return Array.isArray(data) ? data.slice(start, end) : data.subarray(start, end)
}

/** `rows` at the start of `target`, and the last of them again until it is full: values the model is known to take. */
function padded(rows: TensorData, target: TensorData, width: number): TensorData {
  const lastRow = rows.length - width
  for (let i = 0; i < target.length; i++) {
    target[i] = rows[i < rows.length ? i : lastRow + (i % width)]!
  }
  return target
}

/** Copies the first `real` rows of an output of `chunk` rows to row `first` of its column. */
function store(result: Tensor, { spec, data }: TensorColumn, first: number, real: number, chunk: number): void {
  const { dims } = result
  if (dims[0] !== chunk || result.size !== chunk * spec.width) {
    throw new Error(
      `output "${spec.tensor}" has the shape [${dims.join(',')}], but model.json says ` +
        `[${[chunk, ...spec.rowShape].join(',')}] for ${chunk} rows`,
    )
  }
  const start = first * spec.width
  const length = real * spec.width
  const values = result.data
  if (Array.isArray(data)) {
    for (let i = 0; i < length; i++) data[start + i] = (values as string[])[i]!
  } else {
    const source = real === chunk ? values : (values as Float32Array).subarray(0, length)
    // The signature check has made sure that both sides have the same element type.
    ;(data as Float32Array).set(source as Float32Array, start)
  }
}
