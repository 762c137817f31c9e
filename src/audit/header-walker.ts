import { COLUMNS, Column, type RecordBatch } from '../core/record-batch.ts'

/** Walks the headers of a record where they lie. The batch's layout was checked when it was read. */
export class HeaderWalker {
  /** Positions of the header that `next` came to. `valueLength` is -1 for null. */
  nameStart = 0
  nameLength = 0
  valueStart = 0
  valueLength = -1
  bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #end = 0

  /** Before the first header of record `index`. */
  enter(batch: RecordBatch, index: number): void {
    const at = index * COLUMNS
    this.bytes = batch.bytes
    this.#at = batch.columns[at + Column.headersStart]!
    this.#end = batch.columns[at + Column.headersEnd]!
  }

  /** Steps to the next header; false where there is none. */
  next(): boolean {
    if (this.#at >= this.#end) return false
    this.nameLength = this.#varint()
    this.nameStart = this.#at
    this.#at += this.nameLength
    this.valueLength = this.#varint()
    this.valueStart = this.#at
    if (this.valueLength > 0) this.#at += this.valueLength
    return true
  }

  isNamed(name: Buffer): boolean {
    if (this.nameLength !== name.length) return false
    for (let i = 0; i < name.length; i++) if (this.bytes[this.nameStart + i] !== name[i]) return false
    return true
  }

  /** A zigzag varint of Kafka's record format. */
  #varint(): number {
    let bits = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.bytes[this.#at++]!
      bits |= (byte & 0x7f) << shift
      if (byte < 0x80) return (bits >>> 1) ^ -(bits & 1)
    }
  }
}

/** The last value of each of these headers as text, empty where there is none. */
export function headerTexts(batch: RecordBatch, index: number, names: readonly Buffer[]): string[] {
  const walker = new HeaderWalker()
  const texts = names.map(() => '')
  walker.enter(batch, index)
  while (walker.next()) {
    const which = names.findIndex(name => walker.isNamed(name))
    if (which < 0) continue
    const end = walker.valueStart + Math.max(0, walker.valueLength)
    texts[which] = walker.bytes.toString('utf8', walker.valueStart, end)
  }
  return texts
}
