import net from 'node:net'
import tls from 'node:tls'
import Connection from 'kafkajs/src/network/connection.js'
import { answerMemory } from './answer-memory.ts'

/**
 * kafkajs keeps every piece that a socket reads, 64 KiB of new memory each, and joins them when a response is whole. Here
 * sockets read the beginning of a response into memory that they share, from which it is copied, and the rest of a large
 * one where it will lie: no copy, few reads, and nothing for the garbage collector if that memory was lent (`AnswerMemory`).
 */

/** For all sockets of this thread: what was read is copied out before anything else is read. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024)

/** As long as so much of a response is still to come, it is read in place; the end may come with the next response. */
const LEAST_IN_PLACE_BYTES = READ_BUFFER.length

const KEEP_ALIVE_MS = 60_000

/** Of a response, before its body. */
const SIZE_BYTES = 4
const CORRELATION_ID_BYTES = 4

/** A Fetch response has 16 MiB and what its last batch exceeds them by. More is no response, but for one an alert of TLS. */
const MOST_RESPONSE_BYTES = 1 << 28

interface SocketOptions {
  readonly host: string
  readonly port: number
  readonly ssl?: Readonly<Record<string, unknown>> | undefined
  readonly onConnect: () => void
}

/** Sockets as kafkajs's own factory makes them, which read as said above. Those of TLS have memory of their own. */
export function createSocket({ host, port, ssl, onConnect }: SocketOptions): net.Socket {
  let socket: net.Socket | undefined
  if (ssl === undefined || ssl === null) {
    const onread = {
      // Asked after each read, for the next one; before the first there is no socket yet.
      buffer: () => (socket === undefined ? undefined : responsesOf.get(socket)?.rest) ?? READ_BUFFER,
      callback(bytes: number, buffer: Uint8Array): boolean {
        socket!.emit('data', buffer.subarray(0, bytes))
        return true // and go on reading
      },
    }
    socket = net.connect({ host, port, onread }, onConnect)
  } else {
    const servername = net.isIP(host) === 0 ? { servername: host } : {}
    socket = tls.connect({ host, port, ...servername, ...ssl }, onConnect)
  }
  const speaker = socket
  // Heard before kafkajs's own listener.
  socket.on('data', (chunk: Uint8Array) => {
    heard = chunk
    speaking = speaker
  })
  // kafkajs disconnects what is closed again and again, and each time a socket without a handle keeps a listener.
  const { unref } = socket
  socket.unref = () => (speaker.destroyed ? speaker : unref.call(speaker))
  return socket.setKeepAlive(true, KEEP_ALIVE_MS)
}

/**
 * The socket whose data is being dealt with. A connection that was given up and opened again still hears its old socket:
 * what that says late (a broker that was paused answers all it was asked) must not end up within a response of the new one.
 */
let speaking: net.Socket | undefined
/** What it says: of another chunk, from a socket that somebody else made, nobody tells who speaks. */
let heard: Uint8Array | undefined

/** Puts the responses of one socket together. */
class Responses {
  readonly #size = Buffer.allocUnsafeSlow(SIZE_BYTES)
  #body: Buffer | undefined
  /** Bytes of the size, or of the body once there is one. */
  #filled = 0

  /** Where the rest of a large response is to lie; undefined where none is under way. */
  get rest(): Uint8Array | undefined {
    const body = this.#body
    return body === undefined || body.length - this.#filled < LEAST_IN_PLACE_BYTES
      ? undefined
      : body.subarray(this.#filled)
  }

  /**
   * @param chunk what was read; the beginning of `rest`, or other memory
   * @returns an error when what comes is no response of a broker
   */
  take(chunk: Uint8Array, onResponse: (body: Buffer) => void): Error | undefined {
    const rest = (this.#body?.byteOffset ?? 0) + this.#filled
    const inPlace = chunk.buffer === this.#body?.buffer && chunk.byteOffset === rest
    for (let at = 0; at < chunk.length; ) {
      const target = this.#body ?? this.#size
      const bytes = Math.min(target.length - this.#filled, chunk.length - at)
      if (!inPlace) target.set(chunk.subarray(at, at + bytes), this.#filled)
      at += bytes
      this.#filled += bytes
      if (this.#filled < target.length) break
      this.#filled = 0
      if (this.#body === undefined) {
        const size = this.#size.readInt32BE()
        if (size < CORRELATION_ID_BYTES || size > MOST_RESPONSE_BYTES) return noResponse(size)
        this.#body = answerMemory.lend(size)
      } else {
        const body = this.#body
        this.#body = undefined
        onResponse(body)
      }
    }
    return undefined
  }
}

function noResponse(size: number): Error {
  return new Error(
    `What answers is no Kafka broker, or speaks TLS: a response of ${size} bytes was announced. See KAFKA_BROKERS and KAFKA_SSL.`,
  )
}

const { processData } = Connection.prototype
const responsesOf = new WeakMap<object, Responses>()

Connection.prototype.processData = function processResponses(this: KafkajsConnection, chunk: Uint8Array) {
  // Authentication has no responses of the usual form.
  if (this.authHandlers !== null) return processData.call(this, Buffer.from(chunk))
  const { socket, requestQueue } = this
  const speaker = chunk === heard ? speaking! : socket
  let responses = responsesOf.get(speaker)
  if (responses === undefined) {
    responses = new Responses()
    responsesOf.set(speaker, responses)
  }
  const error = responses.take(chunk, body => {
    const payload = body.subarray(CORRELATION_ID_BYTES)
    requestQueue.fulfillRequest({ correlationId: body.readInt32BE(), payload, size: body.length })
  })
  if (error !== undefined) speaker.destroy(error)
}
