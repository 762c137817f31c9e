import type { RecordBatch } from '../core/record-batch.ts'
import { HeaderWalker } from './header-walker.ts'

/** What an output says of the record that it stands for. */
export const SourceKind = {
  /** A record of the input topic: `partition` and `offset` say which. */
  ours: 0,
  /** There is no header `source`, or it is null. */
  missing: 1,
  /** It is not `topic/partition/offset`, or names another topic. */
  other: 2,
} as const

const NAME = Buffer.from('source')
const SLASH = 0x2f
const DIGIT_ZERO = 0x30

/**
 * Reads the header `source` of outputs where it lies: no string, no object for a record whose source is of the input
 * topic. Of several headers of that name the last counts: a worker adds its own after those that the input brought.
 */
export class SourceReader {
  /** Of the record last read, where it was `ours`. */
  partition = 0
  offset = 0
  readonly #prefix: Buffer
  readonly #walker = new HeaderWalker()
  #bytes: Buffer = NAME
  #valueStart = 0
  #valueLength = -1

  constructor(inputTopic: string) {
    this.#prefix = Buffer.from(`${inputTopic}/`)
  }

  /** Reads record `index` of `batch`, whose headers were checked when the batch was read; returns a {@link SourceKind}. */
  read(batch: RecordBatch, index: number): number {
    this.#find(batch, index)
    if (this.#valueLength < 0) return SourceKind.missing
    return this.#parse() ? SourceKind.ours : SourceKind.other
  }

  /** The header of the record last read, as text. */
  get text(): string {
    return this.#bytes.toString('utf8', this.#valueStart, this.#valueStart + Math.max(0, this.#valueLength))
  }

  #find(batch: RecordBatch, index: number): void {
    const walker = this.#walker
    walker.enter(batch, index)
    this.#bytes = batch.bytes
    this.#valueLength = -1
    while (walker.next()) {
      if (!walker.isNamed(NAME)) continue
      this.#valueStart = walker.valueStart
      this.#valueLength = walker.valueLength
    }
  }

  /** `<input topic>/<partition>/<offset>`, digits only, up to 2^53. */
  #parse(): boolean {
    const prefix = this.#prefix
    const end = this.#valueStart + this.#valueLength
    if (this.#valueLength <= prefix.length) return false
    for (let i = 0; i < prefix.length; i++) if (this.#bytes[this.#valueStart + i] !== prefix[i]) return false
    let at = this.#valueStart + prefix.length
    const slash = this.#bytes.indexOf(SLASH, at)
    if (slash < 0 || slash >= end) return false
    this.partition = this.#number(at, slash)
    at = slash + 1
    this.offset = this.#number(at, end)
    return this.partition >= 0 && this.offset >= 0
  }

  /** The digits in [start, end) as a number, or -1. */
  #number(start: number, end: number): number {
    if (start === end) return -1
    let value = 0
    for (let at = start; at < end; at++) {
      const digit = this.#bytes[at]! - DIGIT_ZERO
      if (digit < 0 || digit > 9) return -1
      value = value * 10 + digit
    }
    return Number.isSafeInteger(value) ? value : -1
  }
}
