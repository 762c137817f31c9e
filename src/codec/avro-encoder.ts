import type { PredictionEncoder } from '../core/codec.ts'
import type { OutputSpec } from '../core/model.ts'
import { isScalar } from '../core/rows.ts'
import type { ElementType, TensorColumn } from '../core/tensor.ts'
import { type ColumnViews, viewsOf } from './column-views.ts'
import { FRAME_BYTES } from './framed-avro-decoder.ts'
import { MAX_INT_BYTES, MAX_LONG_BYTES, writeInt, writeLong } from './varint.ts'

/** Writes elements [first, first + count) of a column as Avro at `at`; returns the position after them. */
type ElementsWriter = (views: ColumnViews, first: number, count: number, target: Buffer, at: number) => number

const WRITERS: Record<ElementType, ElementsWriter> = {
  // Avro has no half floats; every one of them is a float, exactly.
  float16: ({ data }, first, count, target, at) => {
    for (let e = 0; e < count; e++) target.writeFloatLE((data as Float16Array)[first + e]!, at + 4 * e)
    return at + 4 * count
  },
  float32: copyElements(4),
  float64: copyElements(8),
  int64: ({ words }, first, count, target, at) => {
    let pos = at
    for (let e = first; e < first + count; e++) pos = writeLong(target, pos, words[2 * e]!, words[2 * e + 1]!)
    return pos
  },
  int32: ({ data }, first, count, target, at) => {
    let pos = at
    for (let e = first; e < first + count; e++) pos = writeInt(target, pos, (data as Int32Array)[e]!)
    return pos
  },
  bool: ({ data }, first, count, target, at) => {
    for (let e = 0; e < count; e++) target[at + e] = data[first + e] === 0 ? 0 : 1
    return at + count
  },
  string: ({ data }, first, count, target, at) => {
    let pos = at
    for (let e = first; e < first + count; e++) {
      const text = (data as string[])[e]!
      pos = writeInt(target, pos, Buffer.byteLength(text))
      pos += target.write(text, pos)
    }
    return pos
  },
}

/** The most bytes of one element; strings have no such number and are measured. */
const MAX_ELEMENT_BYTES: Record<ElementType, number> = {
  float16: 4,
  float32: 4,
  float64: 8,
  int64: MAX_LONG_BYTES,
  int32: MAX_INT_BYTES,
  bool: 1,
  string: MAX_INT_BYTES,
}

/** UTF-8 bytes that one UTF-16 unit takes at most. */
const MAX_UTF8 = 3

/** Encodes predictions as Avro records, with the Confluent framing where a schema id is given. */
export class AvroEncoder implements PredictionEncoder {
  readonly #outputs: readonly { width: number; scalar: boolean; string: boolean; write: ElementsWriter }[]
  readonly #frame: Buffer
  /** All but the text of strings. */
  readonly #fixedBytes: number

  constructor(outputs: readonly OutputSpec[], schemaId: number | undefined) {
    this.#frame = Buffer.alloc(schemaId === undefined ? 0 : FRAME_BYTES)
    if (schemaId !== undefined) this.#frame.writeInt32BE(schemaId, 1)
    this.#outputs = outputs.map(output => ({
      width: output.width,
      scalar: isScalar(output),
      string: output.type === 'string',
      write: WRITERS[output.type],
    }))
    const fields = outputs.map(({ width, type }) => width * MAX_ELEMENT_BYTES[type] + MAX_INT_BYTES + 1)
    this.#fixedBytes = fields.reduce((sum, bytes) => sum + bytes, this.#frame.length)
  }

  maxBytes(row: number, outputs: readonly TensorColumn[]): number {
    let bytes = this.#fixedBytes
    for (let i = 0; i < this.#outputs.length; i++) {
      const { string, width } = this.#outputs[i]!
      if (!string) continue
      const texts = outputs[i]!.data as string[]
      for (let e = row * width; e < (row + 1) * width; e++) bytes += MAX_UTF8 * texts[e]!.length
    }
    return bytes
  }

  encode(row: number, outputs: readonly TensorColumn[], target: Buffer, at: number): number {
    const views = viewsOf(outputs)
    let pos = at
    for (let i = 0; i < this.#frame.length; i++) target[pos++] = this.#frame[i]!
    for (let i = 0; i < this.#outputs.length; i++) {
      const { width, scalar, write } = this.#outputs[i]!
      if (!scalar && width > 0) pos = writeInt(target, pos, width)
      pos = write(views[i]!, row * width, width, target, pos)
      // An array ends with an empty block.
      if (!scalar) target[pos++] = 0
    }
    return pos
  }
}

/** Elements that lie in the tensor as they lie in Avro. */
function copyElements(size: 4 | 8): ElementsWriter {
  return ({ bytes }, first, count, target, at) => {
    const from = first * size
    const length = count * size
    // A call into the runtime costs more than a few bytes.
    if (length > 64) target.set(bytes.subarray(from, from + length), at)
    else for (let i = 0; i < length; i++) target[at + i] = bytes[from + i]!
    return at + length
  }
}
