/** The length before every frame. */
const PREFIX_BYTES = 4
/** A broker's `socket.request.max.bytes`; also more than any answer that a client here asks for. */
const MAX_FRAME_BYTES = 100 * 1024 * 1024

/**
 * Cuts a byte stream of Kafka's protocol into frames, each with the four bytes of its length, ready to be sent on.
 * Holds no more than the frame that has begun.
 */
export class FrameSplitter {
  #chunks: Buffer[] = []
  #buffered = 0
  /** Bytes that must be there before anything can be cut: a prefix, or the frame that has begun. */
  #needed = PREFIX_BYTES

  /**
   * The frames that `chunk` completes; views of it, where it holds them whole.
   * @throws Error when a length is negative or beyond what Kafka allows: this is not Kafka's protocol, or TLS
   */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk)
    this.#buffered += chunk.length
    const frames: Buffer[] = []
    while (this.#buffered >= this.#needed) {
      const bytes = this.#joined()
      this.#needed = PREFIX_BYTES + frameLength(bytes)
      if (bytes.length < this.#needed) break
      frames.push(bytes.subarray(0, this.#needed))
      this.#keep(bytes.subarray(this.#needed))
    }
    return frames
  }

  #joined(): Buffer {
    const bytes = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#buffered)
    this.#chunks = [bytes]
    return bytes
  }

  #keep(rest: Buffer): void {
    this.#chunks = rest.length === 0 ? [] : [rest]
    this.#buffered = rest.length
    this.#needed = PREFIX_BYTES
  }
}

function frameLength(bytes: Buffer): number {
  const length = bytes.readInt32BE(0)
  if (length < 0 || length > MAX_FRAME_BYTES) {
    throw new Error(`A frame of ${length} bytes is not Kafka's protocol; the proxy does not understand TLS.`)
  }
  return length
}

/** What the header of a request says, versions 1 and 2 (KIP-482 adds tags after these fields). */
export interface RequestHeader {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  readonly clientId: string | null
}

/** Length, key, version, correlation id and the length of the client id. */
const FIXED_HEADER_BYTES = PREFIX_BYTES + 10

/** Reads the header of a request. @throws Error when the frame is too short to have one */
export function requestHeader(frame: Buffer): RequestHeader {
  if (frame.length < FIXED_HEADER_BYTES) throw new Error(`A request of ${frame.length} bytes has no header.`)
  const idLength = frame.readInt16BE(12)
  return {
    apiKey: frame.readInt16BE(4),
    apiVersion: frame.readInt16BE(6),
    correlationId: frame.readInt32BE(8),
    clientId: idLength < 0 ? null : frame.toString('utf8', FIXED_HEADER_BYTES, FIXED_HEADER_BYTES + idLength),
  }
}

/** The correlation id that an answer begins with. @throws Error when the frame is too short to have one */
export function answerCorrelationId(frame: Buffer): number {
  if (frame.length < PREFIX_BYTES + 4) throw new Error(`An answer of ${frame.length} bytes has no correlation id.`)
  return frame.readInt32BE(PREFIX_BYTES)
}

/** What comes after the correlation id. */
export function answerBody(frame: Buffer): Buffer {
  return frame.subarray(PREFIX_BYTES + 4)
}
