import type { PredictionEncoder } from '../core/codec.ts'
import type { OutputSpec } from '../core/model.ts'
import { plainJson } from '../core/plain-json.ts'
import { unpackRow } from '../core/rows.ts'
import type { TensorColumn } from '../core/tensor.ts'

/** Longer than any number as JavaScript writes it (`-2.2250738585072014e-308`, `"-Infinity"`), and a comma. */
const MAX_NUMBER_BYTES = 26
/** JSON bytes that one UTF-16 unit takes at most: `\u0000`. */
const MAX_JSON_UNIT = 6

/**
 * Encodes predictions as JSON objects. An int64 is written with all its digits; NaN and infinities, which JSON cannot
 * write, are the strings "NaN", "Infinity" and "-Infinity".
 */
export class JsonEncoder implements PredictionEncoder {
  readonly #outputs: readonly OutputSpec[]
  readonly #fixedBytes: number

  constructor(outputs: readonly OutputSpec[]) {
    this.#outputs = outputs
    // Braces and brackets, `"name":`, and an element with its comma.
    const fields = outputs.map(({ field, width }) => field.length + 6 + width * MAX_NUMBER_BYTES)
    this.#fixedBytes = fields.reduce((sum, bytes) => sum + bytes, 2)
  }

  maxBytes(row: number, outputs: readonly TensorColumn[]): number {
    let bytes = this.#fixedBytes
    for (const { spec, data } of outputs) {
      if (spec.type !== 'string') continue
      const texts = data as string[]
      for (let e = row * spec.width; e < (row + 1) * spec.width; e++) bytes += MAX_JSON_UNIT * texts[e]!.length
    }
    return bytes
  }

  encode(row: number, outputs: readonly TensorColumn[], target: Buffer, at: number): number {
    return at + target.write(plainJson(unpackRow(this.#outputs, outputs, row)), at)
  }
}
