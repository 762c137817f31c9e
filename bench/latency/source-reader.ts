import { HeaderWalker } from '../../src/audit/header-walker.ts'
import type { RecordBatch } from '../../src/core/record-batch.ts'

const SOURCE = Buffer.from('source')
const SLASH = 0x2f
const DIGIT_ZERO = 0x30

/**
 * Reads the header `source`, `topic/partition/offset`, of records where it lies: one object for all of them, and no
 * string, because the reader of a measurement must not cost what it measures.
 */
export class SourceReader {
  /** Of the record that was read last; both -1 where it has no `source` of the topic. */
  partition = -1
  offset = -1
  readonly #prefix: Buffer
  readonly #headers = new HeaderWalker()
  #at = 0

  constructor(topic: string) {
    this.#prefix = Buffer.from(`${topic}/`)
  }

  read(batch: RecordBatch, index: number): void {
    const headers = this.#headers
    this.#set(-1, -1)
    headers.enter(batch, index)
    while (headers.next()) {
      if (headers.isNamed(SOURCE))
        this.#parse(headers.bytes, headers.valueStart, headers.valueStart + headers.valueLength)
    }
  }

  #parse(bytes: Buffer, start: number, end: number): void {
    this.#at = start + this.#prefix.length
    const ours = this.#at < end && bytes.compare(this.#prefix, 0, this.#prefix.length, start, this.#at) === 0
    const partition = ours ? this.#digits(bytes, end) : -1
    const divided = bytes[this.#at++] === SLASH
    const offset = divided && partition >= 0 ? this.#digits(bytes, end) : -1
    if (this.#at === end && offset >= 0) this.#set(partition, offset)
    else this.#set(-1, -1)
  }

  /** The number at the current position, which moves behind it; -1 where there is none. */
  #digits(bytes: Buffer, end: number): number {
    const start = this.#at
    let number = 0
    for (; this.#at < end; this.#at++) {
      const digit = bytes[this.#at]! - DIGIT_ZERO
      if (digit < 0 || digit > 9) break
      number = number * 10 + digit
    }
    return this.#at > start ? number : -1
  }

  #set(partition: number, offset: number): void {
    this.partition = partition
    this.offset = offset
  }
}
