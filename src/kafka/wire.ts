import { readInt64, writeInt64 } from './batch-layout.ts'

/**
 * Writes the primitive types of Kafka's protocol (https://kafka.apache.org/protocol#protocol_types), non-flexible
 * versions, into one buffer of the exact size, which the caller computes first.
 */
export class WireWriter {
  readonly #bytes: Buffer
  #at = 0

  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafe(size)
  }

  int8(value: number): this {
    this.#at = this.#bytes.writeInt8(value, this.#at)
    return this
  }

  int16(value: number): this {
    this.#at = this.#bytes.writeInt16BE(value, this.#at)
    return this
  }

  int32(value: number): this {
    this.#at = this.#bytes.writeInt32BE(value, this.#at)
    return this
  }

  int64(value: number): this {
    writeInt64(this.#bytes, this.#at, value)
    this.#at += 8
    return this
  }

  /** A (nullable) string. */
  string(value: string | null): this {
    if (value === null) return this.int16(-1)
    this.int16(Buffer.byteLength(value))
    this.#at += this.#bytes.write(value, this.#at)
    return this
  }

  /** Bytes after their length. */
  bytes(value: Uint8Array): this {
    this.int32(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
    return this
  }

  /**
   * What was written, in the shape of kafkajs's Encoder, as far as its `protocol/request.js` looks: that frames the
   * bytes by copying `buffer`, and takes `buf` as the sign that it may.
   * @throws RangeError where the size announced was not the size written
   */
  finish(): EncodedRequest {
    if (this.#at !== this.#bytes.length) {
      throw new RangeError(`${this.#bytes.length} bytes of a request were announced, ${this.#at} written`)
    }
    return { buf: this.#bytes, buffer: this.#bytes }
  }
}

/** The body of a request, after the request header that kafkajs writes. */
export interface EncodedRequest {
  readonly buf: Buffer
  readonly buffer: Buffer
}

/** Bytes that `string` takes. */
export function sizeOfString(value: string | null): number {
  return 2 + (value === null ? 0 : Buffer.byteLength(value))
}

/** Reads what {@link WireWriter} writes. Every method throws a RangeError where the bytes end first. */
export class WireReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  int16(): number {
    this.#at += 2
    return this.#bytes.readInt16BE(this.#at - 2)
  }

  int32(): number {
    this.#at += 4
    return this.#bytes.readInt32BE(this.#at - 4)
  }

  int64(): number {
    this.#at += 8
    return readInt64(this.#bytes, this.#at - 8)
  }

  /** For identifiers, which may use all 64 bits. */
  bigint64(): bigint {
    this.#at += 8
    return this.#bytes.readBigInt64BE(this.#at - 8)
  }

  string(): string {
    return this.#take(this.int16()).toString()
  }

  /** A view; null reads as empty. */
  bytes(): Buffer {
    return this.#take(Math.max(0, this.int32()))
  }

  /** A null array reads as empty. */
  array<T>(read: (reader: WireReader) => T): T[] {
    const count = this.int32()
    const items: T[] = []
    for (let at = 0; at < count; at++) items.push(read(this))
    return items
  }

  #take(length: number): Buffer {
    if (length < 0 || this.#at + length > this.#bytes.length) {
      throw new RangeError(`a field of ${length} bytes at ${this.#at} of a response of ${this.#bytes.length} bytes`)
    }
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}
