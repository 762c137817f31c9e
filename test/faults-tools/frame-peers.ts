import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { API_KEYS, type ApiName } from '../../faults/proxy/apis.ts'
import { answerBody, answerCorrelationId, FrameSplitter, requestHeader } from '../../faults/proxy/frames.ts'

/** A request as Kafka frames it: api key, version, correlation id, client id, and whatever comes then. */
export function requestFrame(api: ApiName, correlationId: number, clientId: string, payload: Uint8Array): Buffer {
  const id = Buffer.from(clientId)
  const frame = Buffer.alloc(14 + id.length + payload.length)
  frame.writeInt32BE(frame.length - 4, 0)
  frame.writeInt16BE(API_KEYS[api], 4)
  frame.writeInt32BE(correlationId, 8)
  frame.writeInt16BE(id.length, 12)
  frame.set(id, 14)
  frame.set(payload, 14 + id.length)
  return frame
}

/** Answers each request with the bytes after its header, in order; remembers the correlation ids that came. */
export class EchoBroker {
  readonly received: number[] = []
  readonly sockets = new Set<Socket>()
  /** Called after each request was noted. */
  onRequest = () => {}
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', socket => this.#serve(socket))
  }

  static async start(): Promise<EchoBroker> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new EchoBroker(server)
  }

  get address(): { host: string; port: number } {
    return this.#server.address() as never
  }

  /** Resolves when `count` requests have come. */
  async until(count: number): Promise<void> {
    if (this.received.length >= count) return
    await new Promise<void>(resolve => {
      this.onRequest = () => this.received.length >= count && resolve()
    })
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #serve(socket: Socket): void {
    const splitter = new FrameSplitter()
    this.sockets.add(socket)
    socket.on('error', () => {}).on('close', () => this.sockets.delete(socket))
    socket.on('drain', () => socket.resume())
    socket.on('data', chunk => {
      for (const frame of splitter.push(chunk)) {
        const { correlationId, clientId } = requestHeader(frame)
        this.received.push(correlationId)
        this.onRequest()
        const body = frame.subarray(14 + Buffer.byteLength(clientId ?? ''))
        const prefix = Buffer.alloc(8)
        prefix.writeInt32BE(4 + body.length, 0)
        prefix.writeInt32BE(correlationId, 4)
        if (!socket.write(Buffer.concat([prefix, body]))) socket.pause()
      }
    })
  }
}

/** A client that sends requests and keeps what it is answered. */
export class FrameClient {
  readonly socket: Socket
  /** Correlation ids and bodies, in the order of the answers. */
  readonly answers: { readonly correlationId: number; readonly body: Buffer }[] = []
  /** Resolves to how the connection ended: `end` by a FIN, otherwise the code of the error. */
  readonly ended: Promise<string>
  readonly #clientId: string
  #heard = () => {}

  constructor(to: { host: string; port: number }, clientId = 'client') {
    this.#clientId = clientId
    this.socket = connect(to)
    const splitter = new FrameSplitter()
    this.socket.on('data', chunk => {
      for (const frame of splitter.push(chunk)) {
        this.answers.push({ correlationId: answerCorrelationId(frame), body: answerBody(frame) })
      }
      this.#heard()
    })
    this.ended = new Promise(resolve => {
      this.socket.on('end', () => resolve('end'))
      this.socket.on('error', error => resolve((error as NodeJS.ErrnoException).code!))
    })
  }

  send(api: ApiName, correlationId: number, payload: Uint8Array = Buffer.of()): void {
    this.socket.write(requestFrame(api, correlationId, this.#clientId, payload))
  }

  /** Resolves when there are `count` answers, to their correlation ids. */
  async answered(count: number): Promise<number[]> {
    while (this.answers.length < count) {
      await new Promise<void>(resolve => {
        this.#heard = resolve
      })
    }
    return this.answers.map(({ correlationId }) => correlationId)
  }
}
