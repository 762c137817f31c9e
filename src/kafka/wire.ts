import { readInt64, writeInt64 } from './batch-layout.ts'

/** A topic's id as Kafka's tools print it: sixteen bytes in base64url, without padding (KIP-516). */
export type Uuid = string

/** The id of nothing. */
export const ZERO_UUID: Uuid = 'AAAAAAAAAAAAAAAAAAAAAA'

const UUID_BYTES = 16

/**
 * Writes the primitive types of Kafka's protocol (https://kafka.apache.org/protocol#protocol_types) into one buffer of
 * the exact size, which the caller computes first.
 *
 * Flexible versions of a request (KIP-482) use the compact types, end every structure with its tagged fields, and have
 * a request header that ends with them too. kafkajs writes the header without: the body begins with `noTags`.
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

  uuid(id: Uuid): this {
    const written = this.#bytes.write(id, this.#at, 'base64url')
    if (written !== UUID_BYTES) throw new RangeError(`"${id}" is no UUID in base64url`)
    this.#at += written
    return this
  }

  /** A varint without sign: seven bits a byte, lowest first. */
  uvarint(value: number): this {
    let rest = value
    for (; rest >= MORE; rest = Math.floor(rest / MORE)) this.#bytes[this.#at++] = (rest % MORE) | MORE
    this.#bytes[this.#at++] = rest
    return this
  }

  /** Of a flexible version. */
  compactString(value: string): this {
    this.uvarint(Buffer.byteLength(value) + 1)
    this.#at += this.#bytes.write(value, this.#at)
    return this
  }

  /** The head of an array of a flexible version; the elements follow. */
  compactCount(count: number): this {
    return this.uvarint(count + 1)
  }

  /** The end of a structure of a flexible version that has no tagged fields. */
  noTags(): this {
    return this.uvarint(0)
  }

  /**
   * What was written.
   * @throws RangeError where the size announced was not the size written
   */
  finish(): EncodedRequest {
    if (this.#at !== this.#bytes.length) {
      throw new RangeError(`${this.#bytes.length} bytes of a request were announced, ${this.#at} written`)
    }
    return encodedRequest(this.#bytes)
  }
}

/** The body of a request, after the request header that kafkajs writes. */
export interface EncodedRequest {
  readonly buf: Buffer
  readonly buffer: Buffer
}

/**
 * A body in the shape of kafkajs's Encoder, as far as its `protocol/request.js` looks: that frames the bytes by copying
 * `buffer`, and takes `buf` as the sign that it may.
 */
export function encodedRequest(body: Buffer): EncodedRequest {
  return { buf: body, buffer: body }
}

/** Bytes that `string` takes. */
export function sizeOfString(value: string | null): number {
  return 2 + (value === null ? 0 : Buffer.byteLength(value))
}

/** Bytes that {@link WireWriter.uvarint} takes. */
export function sizeOfUvarint(value: number): number {
  let size = 1
  for (let rest = value; rest >= MORE; rest = Math.floor(rest / MORE)) size++
  return size
}

/** Bytes that `string` takes in a flexible version. */
export function sizeOfCompactString(value: string): number {
  const length = Buffer.byteLength(value)
  return sizeOfUvarint(length + 1) + length
}

/** The bit of a byte that says that more follow, and the number that the other seven count to. */
const MORE = 0x80

/** Five bytes hold 35 bits; no length of the protocol has more. */
const MAX_UVARINT_BYTES = 5

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

  boolean(): boolean {
    return this.#take(1)[0] !== 0
  }

  uuid(): Uuid {
    return this.#take(UUID_BYTES).toString('base64url')
  }

  uvarint(): number {
    let value = 0
    let scale = 1
    for (let read = 0; read < MAX_UVARINT_BYTES; read++) {
      const byte = this.#take(1)[0]!
      value += (byte % MORE) * scale
      if (byte < MORE) return value
      scale *= MORE
    }
    throw new RangeError(`a varint of more than ${MAX_UVARINT_BYTES} bytes`)
  }

  /** A string of a flexible version; null reads as empty. */
  compactString(): string {
    return this.compactBytes().toString()
  }

  /** A view; null reads as empty. */
  compactBytes(): Buffer {
    return this.#take(Math.max(0, this.uvarint() - 1))
  }

  /** An array of a flexible version; null reads as empty. */
  compactArray<T>(read: (reader: WireReader) => T): T[] {
    return this.#items(this.uvarint() - 1, read)
  }

  /** The tagged fields at the end of a structure of a flexible version: `read` is given each, and may ignore it. */
  tags(read: (tag: number, field: WireReader) => void = () => {}): void {
    for (let rest = this.uvarint(); rest > 0; rest--) {
      const tag = this.uvarint()
      read(tag, new WireReader(this.#take(this.uvarint())))
    }
  }

  /** A view; null reads as empty. */
  bytes(): Buffer {
    return this.#take(Math.max(0, this.int32()))
  }

  /** A null array reads as empty. */
  array<T>(read: (reader: WireReader) => T): T[] {
    return this.#items(this.int32(), read)
  }

  #items<T>(count: number, read: (reader: WireReader) => T): T[] {
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
