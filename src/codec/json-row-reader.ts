import { isUtf8 } from 'node:buffer'
import { packElement } from '../core/rows.ts'
import type { TensorColumn } from '../core/tensor.ts'
import { addToHash, HASH_START, JsonFields } from './json-fields.ts'
import { JsonNumbers, skipSpace, WORD_BYTES } from './json-number.ts'
import type { Target } from './target.ts'

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const COMMA = 0x2c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const SPACE = 0x20

const TRUE = Buffer.from('true')
const FALSE = Buffer.from('false')
const NULL = Buffer.from('null')

/** Values within values that nobody wants; deeper ones are left to JSON.parse. */
const MAX_DEPTH = 32

/**
 * Reads the usual JSON record straight into a row: an object that has each wanted key once, with a number, a boolean or
 * an array of them. No text, no object and no array of numbers is made of it, as JSON.parse would.
 *
 * Whatever is unusual it leaves alone: a fault of any kind, null, a missing or repeated key, an escape in a string, deep
 * nesting, a number of more than 15 digits for a float64 tensor. `read` then returns false, and the caller decodes the record with JSON.parse, which has the last word
 * on all of these. So a row that is read here must be the one that JSON.parse would have given, to the bit, and nothing
 * else is promised.
 *
 * Positions only grow, and a record counts only if the last one is its end. So steps in between may look beyond the
 * end: they find bytes of the next record, or undefined, and whatever these make of it is refused in the end.
 */
export class JsonRowReader {
  readonly #fields: JsonFields
  /** Numbers of integer tensors, and those that nobody wants. */
  readonly #integer = new Float64Array(1)
  readonly #ignored = new Float32Array(1)
  #bytes: Buffer = Buffer.alloc(0)
  #numbers = new JsonNumbers(this.#bytes)
  #at = 0
  #end = 0
  #columns: readonly TensorColumn[] = []
  #row = 0
  /** Counts records, for {@link JsonField.seenIn}. */
  #record = 0
  /** All bytes of the strings so far, or-ed. */
  #textBits = 0

  constructor(fields: JsonFields) {
    this.#fields = fields
  }

  /** Reads the value at [start, end) into row `row`. Where it returns false, the row's content is undefined. */
  read(bytes: Buffer, start: number, end: number, row: number, columns: readonly TensorColumn[]): boolean {
    if (end + WORD_BYTES > bytes.length) {
      const copy = Buffer.concat([bytes.subarray(start, end)], end - start + WORD_BYTES)
      return this.read(copy, 0, end - start, row, columns)
    }
    if (bytes !== this.#bytes) {
      this.#bytes = bytes
      this.#numbers = new JsonNumbers(bytes)
    }
    this.#at = start
    this.#end = end
    this.#columns = columns
    this.#row = row
    this.#record++
    this.#textBits = 0
    if (!this.#object(this.#fields)) return false
    this.#space()
    if (this.#at !== end) return false
    return this.#textBits < 0x80 || isUtf8(bytes.subarray(start, end))
  }

  #object(fields: JsonFields): boolean {
    if (this.#next() !== OPEN_BRACE) return false
    let missing = fields.size
    let after: number | undefined
    do {
      if (this.#next() !== QUOTE) return false
      const start = this.#at
      const hash = this.#string()
      if (hash === undefined) return false
      const field = fields.find(this.#bytes, start, this.#at - 1, hash)
      if (this.#next() !== COLON) return false
      if (field === undefined) {
        if (!this.#skip(0)) return false
      } else {
        // Of a repeated key the last one counts.
        if (field.seenIn === this.#record) return false
        field.seenIn = this.#record
        missing--
        const { content } = field
        if (!(content instanceof JsonFields ? this.#object(content) : this.#feature(content))) return false
      }
      after = this.#next()
    } while (after === COMMA)
    return after === CLOSE_BRACE && missing === 0
  }

  #feature(target: Target): boolean {
    const { feature, input, width, offset, type } = target
    const column = this.#columns[input]!
    const first = this.#row * width + offset
    if (feature.array && this.#next() !== OPEN_BRACKET) return false
    const { length } = feature
    if (type === 'float32' || type === 'float64') {
      if (!this.#read(column.data as Float32Array | Float64Array, first, length)) return false
    } else {
      for (let e = 0; e < length; e++) {
        if (e > 0 && this.#next() !== COMMA) return false
        if (!this.#element(column, first + e, target)) return false
      }
    }
    return !feature.array || this.#next() === CLOSE_BRACKET
  }

  #read(target: Float32Array | Float64Array, first: number, count: number): boolean {
    const at = this.#numbers.read(this.#at, target, first, count)
    if (at < 0) return false
    this.#at = at
    return true
  }

  #element(column: TensorColumn, at: number, { feature, type }: Target): boolean {
    let value: number | boolean | undefined
    if (type === 'bool') value = this.#boolean()
    else if (this.#read(this.#integer, 0, 1)) value = this.#integer[0]
    return value !== undefined && packElement(value, feature, column, at, false) === undefined
  }

  #boolean(): boolean | undefined {
    this.#space()
    if (this.#literal(TRUE)) return true
    return this.#literal(FALSE) ? false : undefined
  }

  /** Steps over a value that nobody wants, if it is valid. */
  #skip(depth: number): boolean {
    this.#space()
    switch (this.#bytes[this.#at]) {
      case QUOTE:
        this.#at++
        return this.#string() !== undefined
      case OPEN_BRACE:
      case OPEN_BRACKET:
        return depth < MAX_DEPTH && this.#skipMembers(depth + 1)
      default:
        return this.#read(this.#ignored, 0, 1) || this.#boolean() !== undefined || this.#literal(NULL)
    }
  }

  #skipMembers(depth: number): boolean {
    const isObject = this.#bytes[this.#at++] === OPEN_BRACE
    const close = isObject ? CLOSE_BRACE : CLOSE_BRACKET
    this.#space()
    if (this.#bytes[this.#at] === close) {
      this.#at++
      return true
    }
    let after: number | undefined
    do {
      if (isObject) {
        if (this.#next() !== QUOTE || this.#string() === undefined || this.#next() !== COLON) return false
      }
      if (!this.#skip(depth)) return false
      after = this.#next()
    } while (after === COMMA)
    return after === close
  }

  /** Steps over a string without escapes, from after its opening quote; returns its hash, or undefined. */
  #string(): number | undefined {
    const bytes = this.#bytes
    let hash = HASH_START
    let bits = 0
    for (let at = this.#at; at < this.#end; at++) {
      const byte = bytes[at]!
      if (byte === QUOTE) {
        this.#at = at + 1
        this.#textBits |= bits
        return hash
      }
      if (byte === BACKSLASH || byte < SPACE) return undefined
      bits |= byte
      hash = addToHash(hash, byte)
    }
    return undefined
  }

  #literal(text: Uint8Array): boolean {
    for (let i = 0; i < text.length; i++) if (this.#bytes[this.#at + i] !== text[i]) return false
    this.#at += text.length
    return true
  }

  /** The next byte that is no white space; steps over it. */
  #next(): number | undefined {
    const byte = this.#bytes[this.#at]
    if (byte! > SPACE) {
      this.#at++
      return byte
    }
    this.#space()
    return this.#bytes[this.#at++]
  }

  #space(): void {
    this.#at = skipSpace(this.#bytes, this.#at)
  }
}
