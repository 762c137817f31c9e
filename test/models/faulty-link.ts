import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Breaks a connection after so many bytes in one direction, `times` in a row. */
interface Cut {
  readonly direction: 'up' | 'down'
  readonly afterBytes: number
  readonly times: number
}

/** A TCP proxy on 127.0.0.1 before a server: what is between a worker and its store, to be broken at will. */
export class FaultyLink {
  /** `open` passes everything on, `away` closes every connection, `silent` takes connections and never answers. */
  #mode: 'open' | 'away' | 'silent' = 'open'
  #cut: Cut | undefined
  #passed = 0
  /** Connections broken by `cutAfter`. */
  cuts = 0
  #unanswered: string | undefined
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #target: number

  private constructor(target: number) {
    this.#target = target
    this.#server = createServer(socket => this.#accept(socket))
  }

  /** Opens one before `http://127.0.0.1:<port>`. */
  static async open(target: string): Promise<FaultyLink> {
    const link = new FaultyLink(Number(new URL(target).port))
    link.#server.listen(0, '127.0.0.1')
    await once(link.#server, 'listening')
    return link
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  set mode(mode: 'open' | 'away' | 'silent') {
    this.#mode = mode
    this.#drop()
  }

  cutAfter(cut: Cut | undefined): void {
    this.#cut = cut
    this.#passed = 0
    this.cuts = 0
  }

  /** Breaks the connection instead of passing on the answer to the next request whose first packet holds `text`. */
  loseAnswerTo(text: string): void {
    this.#unanswered = text
  }

  async close(): Promise<void> {
    this.#drop()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #accept(client: Socket): void {
    this.#keep(client)
    if (this.#mode === 'away') client.destroy()
    if (this.#mode !== 'open') return
    const server = this.#keep(connect(this.#target, '127.0.0.1'))
    this.#pass(client, server, 'up')
    this.#pass(server, client, 'down')
  }

  #pass(from: Socket, to: Socket, direction: Cut['direction']): void {
    from.on('data', chunk => {
      if (direction === 'up' && this.#unanswered !== undefined && chunk.includes(this.#unanswered)) {
        this.#unanswered = undefined
        // Nothing is passed down any more: with the first byte of the answer the connection ends.
        to.removeAllListeners('data').on('data', () => from.destroy())
      }
      if (this.#cut?.direction === direction && this.#isDue(chunk.length, this.#cut)) {
        from.destroy()
        to.destroy()
      } else if (!to.write(chunk)) {
        from.pause()
        to.once('drain', () => from.resume())
      }
    })
    from.on('close', () => to.destroy())
  }

  #isDue(bytes: number, { afterBytes, times }: Cut): boolean {
    this.#passed += bytes
    if (this.#passed < afterBytes || this.cuts === times) return false
    this.#passed = 0
    this.cuts++
    return true
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    // A connection that breaks is what this is for.
    socket.on('error', () => {})
    return socket
  }

  #drop(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}
