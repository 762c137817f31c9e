import type { FileRowEncoder } from '../core/files.ts'
import type { OutputSpec } from '../core/model.ts'
import { plainJson } from '../core/plain-json.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { JsonEncoder } from './json-encoder.ts'

const COMMA = 0x2c
/** UTF-8 bytes that one UTF-16 unit takes at most. */
const MAX_UTF8 = 3
/** `"":` before a row number, and the number. */
const MAX_NUMBER_BYTES = 30

/** Names a column, beside columns that are named already. */
type NameOf = (column: string, used: ReadonlySet<string>) => string

interface JsonRowNames {
  /** Of the row's number; undefined where it is left out. */
  readonly number: string | undefined
  /** Of the columns that are kept, in their order; or how to name each column of a row that is kept whole. */
  readonly kept: readonly string[] | NameOf
}

/** Encodes rows of JSON Lines: the row's number, what is kept of the input, the fields of the prediction. */
export class JsonRowEncoder implements FileRowEncoder {
  readonly #predictions: JsonEncoder
  readonly #number: string
  readonly #names: readonly string[] | NameOf
  /** What comes before the prediction in the row that `maxBytes` was asked for. */
  #kept = ''

  constructor(outputs: readonly OutputSpec[], { number, kept }: JsonRowNames) {
    this.#predictions = new JsonEncoder(outputs)
    this.#number = number === undefined ? '' : `${JSON.stringify(number)}:`
    this.#names = typeof kept === 'function' ? kept : kept.map(name => JSON.stringify(name))
  }

  /** Where the row is kept whole, `kept` is one object. */
  maxBytes(kept: readonly unknown[], row: number, outputs: readonly TensorColumn[]): number {
    this.#kept =
      typeof this.#names === 'function' ? this.#whole(kept[0], this.#names) : this.#columns(kept, this.#names)
    const before = MAX_UTF8 * (this.#kept.length + this.#number.length) + MAX_NUMBER_BYTES
    return before + this.#predictions.maxBytes(row, outputs)
  }

  encode(
    number: number,
    _kept: readonly unknown[],
    row: number,
    outputs: readonly TensorColumn[],
    target: Buffer,
    at: number,
  ): number {
    const parts = [this.#number === '' ? '' : this.#number + number, this.#kept]
    const before = parts.filter(part => part !== '').join(',')
    if (before === '') return this.#predictions.encode(row, outputs, target, at)
    const pos = at + target.write(`{${before}`, at)
    const end = this.#predictions.encode(row, outputs, target, pos)
    // In place of the brace that the prediction begins with. A model has at least one output.
    target[pos] = COMMA
    return end
  }

  #columns(kept: readonly unknown[], names: readonly string[]): string {
    return names.map((name, i) => `${name}:${plainJson(kept[i] ?? null)}`).join(',')
  }

  #whole(row: unknown, nameOf: NameOf): string {
    const used = new Set<string>()
    const parts: string[] = []
    for (const [column, value] of Object.entries(row as Record<string, unknown>)) {
      const name = nameOf(column, used)
      used.add(name)
      parts.push(`${JSON.stringify(name)}:${plainJson(value)}`)
    }
    return parts.join(',')
  }
}
