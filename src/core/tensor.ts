/** ONNX element types that a feature or an output may have. */
export type ElementType = 'float16' | 'float32' | 'float64' | 'int64' | 'int32' | 'bool' | 'string'

export const ELEMENT_TYPES: readonly ElementType[] = [
  'float16',
  'float32',
  'float64',
  'int64',
  'int32',
  'bool',
  'string',
]

export type TensorData = Float16Array | Float32Array | Float64Array | BigInt64Array | Int32Array | Uint8Array | string[]

/** The type and shape of one row of a tensor. The batch dimension comes first and is left out here. */
export interface RowSpec {
  /** The name in the ONNX graph. */
  readonly tensor: string
  readonly type: ElementType
  /** Dimensions of one row, without the batch dimension; `[]` is a scalar a row. */
  readonly rowShape: readonly number[]
  /** Elements in a row: the product of `rowShape`. */
  readonly width: number
}

/**
 * Storage for up to `capacity` rows of one tensor, row after row: element `e` of row `r` is `data[r * width + e]`.
 * Numbers lie in shared memory that the session threads read and write; strings, which cannot, in a plain array.
 */
export interface TensorColumn {
  readonly spec: RowSpec
  readonly data: TensorData
}

/**
 * The place of one micro-batch, inputs and outputs, reused from batch to batch. Whoever packs it owns it until it is
 * handed to a session; whoever reads its outputs owns it until it gives it back.
 */
export interface TensorSlot {
  readonly id: number
  readonly capacity: number
  readonly inputs: readonly TensorColumn[]
  readonly outputs: readonly TensorColumn[]
}

const BYTES: Record<Exclude<ElementType, 'string'>, number> = {
  float16: 2,
  float32: 4,
  float64: 8,
  int64: 8,
  int32: 4,
  bool: 1,
}

/** Bytes that `elements` of `type` take in shared memory; 0 for strings, which lie elsewhere. */
export function byteLength(type: ElementType, elements: number): number {
  return type === 'string' ? 0 : BYTES[type] * elements
}

/** A typed view of `elements` elements over `buffer` from its start, or an empty array for strings. */
export function viewOf(type: ElementType, buffer: SharedArrayBuffer | ArrayBuffer, elements: number): TensorData {
  switch (type) {
    case 'float16':
      return new Float16Array(buffer, 0, elements)
    case 'float32':
      return new Float32Array(buffer, 0, elements)
    case 'float64':
      return new Float64Array(buffer, 0, elements)
    case 'int64':
      return new BigInt64Array(buffer, 0, elements)
    case 'int32':
      return new Int32Array(buffer, 0, elements)
    case 'bool':
      return new Uint8Array(buffer, 0, elements)
    case 'string':
      return new Array<string>(elements).fill('')
  }
}

/** A column of `rows` rows in memory of its own, which no session thread sees. */
export function ownColumn<S extends RowSpec>(spec: S, rows: number): { readonly spec: S; readonly data: TensorData } {
  const elements = rows * spec.width
  return { spec, data: viewOf(spec.type, new ArrayBuffer(byteLength(spec.type, elements)), elements) }
}
