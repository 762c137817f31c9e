/**
 * Walks messages in the wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding) that lie in memory.
 *
 * Not a library: models have up to 2 GB, nearly all of it weights, and of a model only a handful of names are wanted.
 * Libraries build objects of what they know, and those that skip what they do not know still want the schema of it
 * (protobufjs compiles it with `eval`). This reads tags and lengths, jumps over all else, and copies nothing.
 */

/** Wire types. Groups (3 and 4) are deprecated, and ONNX has none. */
const VARINT = 0
const FIXED64 = 1
const LENGTH_DELIMITED = 2
const FIXED32 = 5

/** Deeper than any graph within a graph that people make; each level is a call on the stack. */
const DEEPEST = 100

/** What is done about the fields of one kind of message: by field number, those that are not named are passed over. */
export interface Visitor {
  /** Messages within. */
  readonly messages?: Readonly<Record<number, (part: Message) => void>>
  /** Numbers. Beyond 2^53 they are not exact. */
  readonly varints?: Readonly<Record<number, (value: number) => void>>
}

/** One message, or one string: bytes [from, to) of a file. */
export class Message {
  readonly #bytes: Uint8Array
  readonly #to: number
  readonly #depth: number
  #at: number

  constructor(bytes: Uint8Array, from = 0, to = bytes.length, depth = 0) {
    this.#bytes = bytes
    this.#at = from
    this.#to = to
    this.#depth = depth
  }

  /** As text, where it is a string. */
  text(): string {
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + this.#at, this.#to - this.#at).toString('utf8')
  }

  /**
   * Goes through the message once, in the order of the file.
   * @throws Error with the byte at which it is no message, or goes on beyond its end
   */
  visit({ messages = {}, varints = {} }: Visitor): void {
    if (this.#depth > DEEPEST)
      throw new Error(`at byte ${this.#at}, messages lie in each other more than ${DEEPEST} deep`)
    while (this.#at < this.#to) {
      const start = this.#at
      const tag = this.#varint()
      const field = Math.floor(tag / 8)
      if (field === 0) throw new Error(`byte ${start} begins a field without a number`)
      switch (tag % 8) {
        case VARINT: {
          const value = this.#varint()
          varints[field]?.(value)
          break
        }
        case FIXED64:
          this.#skip(8)
          break
        case LENGTH_DELIMITED: {
          const length = this.#varint()
          const from = this.#at
          this.#skip(length)
          messages[field]?.(new Message(this.#bytes, from, this.#at, this.#depth + 1))
          break
        }
        case FIXED32:
          this.#skip(4)
          break
        default:
          throw new Error(`byte ${start} begins a field of wire type ${tag % 8}, which ONNX does not use`)
      }
    }
  }

  #skip(length: number): void {
    const left = this.#to - this.#at
    if (length > left)
      throw new Error(`at byte ${this.#at}, a field of ${length} bytes begins where only ${left} are left`)
    this.#at += length
  }

  /** At most ten bytes, seven bits each, the lowest first. */
  #varint(): number {
    const start = this.#at
    let value = 0
    for (let scale = 1; this.#at < this.#to && this.#at < start + 10; scale *= 128) {
      const byte = this.#bytes[this.#at++]!
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
    throw new Error(`the number at byte ${start} does not end`)
  }
}
