import { writeInt64 } from '../../../src/kafka/batch-layout.ts'

const FIRST_CAPACITY = 256
const MORE = 0x80

/** Writes responses in the primitive types of Kafka's protocol, into a buffer that grows. */
export class ResponseWriter {
  #bytes = Buffer.allocUnsafe(FIRST_CAPACITY)
  #at = 0

  int8(value: number): this {
    this.#room(1)
    this.#at = this.#bytes.writeInt8(value, this.#at)
    return this
  }

  int16(value: number): this {
    this.#room(2)
    this.#at = this.#bytes.writeInt16BE(value, this.#at)
    return this
  }

  int32(value: number): this {
    this.#room(4)
    this.#at = this.#bytes.writeInt32BE(value, this.#at)
    return this
  }

  int64(value: number): this {
    this.#room(8)
    writeInt64(this.#bytes, this.#at, value)
    this.#at += 8
    return this
  }

  string(value: string): this {
    return this.int16(Buffer.byteLength(value)).#raw(Buffer.from(value))
  }

  array<T>(items: readonly T[], write: (item: T) => void): this {
    this.int32(items.length)
    for (const item of items) write(item)
    return this
  }

  uuid(id: string): this {
    return this.#raw(Buffer.from(id, 'base64url'))
  }

  uvarint(value: number): this {
    this.#room(5)
    let rest = value
    for (; rest >= MORE; rest = Math.floor(rest / MORE)) this.#bytes[this.#at++] = (rest % MORE) | MORE
    this.#bytes[this.#at++] = rest
    return this
  }

  compactString(value: string): this {
    return this.compactBytes(Buffer.from(value))
  }

  compactBytes(value: Uint8Array): this {
    return this.uvarint(value.length + 1).#raw(value)
  }

  /** Each item ends with its tagged fields, which `write` writes. */
  compactArray<T>(items: readonly T[], write: (item: T) => void): this {
    this.uvarint(items.length + 1)
    for (const item of items) write(item)
    return this
  }

  noTags(): this {
    return this.uvarint(0)
  }

  /** A copy of what was written. */
  finish(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#at))
  }

  #raw(value: Uint8Array): this {
    this.#room(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
    return this
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(2 * (this.#at + bytes))
    this.#bytes.copy(grown, 0, 0, this.#at)
    this.#bytes = grown
  }
}
