import { type FloatCheck, floatCheckOf } from '../core/float-check.ts'
import type { TensorColumn, TensorData } from '../core/tensor.ts'

/**
 * The storage of a column, seen three ways. Avro and the tensors agree on little-endian numbers (onnxruntime-node has no
 * build for a big-endian machine), so floats are copied as bytes, and an int64 is two words instead of a BigInt object.
 */
export interface ColumnViews {
  readonly data: TensorData
  /** All bytes of `data`; empty for strings. */
  readonly bytes: Uint8Array
  /** All words of `data`, the low one of an int64 or a float64 first; empty for strings and bools. */
  readonly words: Int32Array
  /** Of the memory that `bytes` lie in, if it has one. */
  readonly floatCheck: FloatCheck | undefined
}

const NO_BYTES = new Uint8Array(0)
const NO_WORDS = new Int32Array(0)

const known = new WeakMap<readonly TensorColumn[], readonly ColumnViews[]>()

/** The views of all columns of a slot, made once for each array of columns: pass the slot's own array, not a copy. */
export function viewsOf(columns: readonly TensorColumn[]): readonly ColumnViews[] {
  let views = known.get(columns)
  if (views === undefined) {
    views = columns.map(column => viewData(column.data))
    known.set(columns, views)
  }
  return views
}

function viewData(data: TensorData): ColumnViews {
  if (Array.isArray(data)) return { data, bytes: NO_BYTES, words: NO_WORDS, floatCheck: undefined }
  const { buffer, byteOffset, byteLength, BYTES_PER_ELEMENT } = data
  return {
    data,
    bytes: new Uint8Array(buffer, byteOffset, byteLength),
    words: BYTES_PER_ELEMENT >= 4 ? new Int32Array(buffer, byteOffset, byteLength / 4) : NO_WORDS,
    floatCheck: floatCheckOf(buffer),
  }
}
