import type { Socket } from 'node:net'
import { answerBody, answerCorrelationId, type RequestHeader, requestHeader } from './frames.ts'
import { type Arrival, Lane, write } from './lane.ts'
import type { Direction, Link } from './link.ts'
import type { ArmedFaults, RequestFault } from './request-fault.ts'

/** How a connection is cut: RST, as after a crash, or FIN, as by a broker that shuts down. */
export type Cut = 'reset' | 'end'

/** An answer that the broker owes. A broker answers the requests of a connection in their order. */
interface Expected {
  readonly header: RequestHeader
  /** The fault that is settled by this answer. */
  readonly fault: RequestFault | undefined
  readonly fate: 'pass' | 'swallow' | 'cut'
}

/**
 * A client's connection, and the proxy's own to the broker that goes with it. Owns both sockets, which are half-open
 * (`allowHalfOpen`): an end is passed on when all that came before it has been.
 *
 * The client's side may go first, and a held request stay behind:
 *   1. the client sends EndTxn; the proxy holds it;
 *   2. the client gives up, closes, and goes on over a new connection;
 *   3. the hold is over: the broker gets the EndTxn over the old connection, which is still open on its side;
 *   4. only then the broker sees the end of that connection, and its answer goes nowhere.
 */
export class ProxiedConnection {
  /** Resolves when both sockets are closed. */
  readonly closed: Promise<void>
  readonly #client: Socket
  readonly #upstream: Socket
  readonly #link: Link
  readonly #armed: ArmedFaults
  readonly #expected: Expected[] = []
  readonly #cut = new AbortController()
  /** Of the last request. */
  #header: RequestHeader | undefined
  #holding = false
  /** The broker's side has ended: nothing more will be answered. */
  #answersOver = false

  constructor(client: Socket, upstream: Socket, link: Link, armed: ArmedFaults) {
    this.#client = client
    this.#upstream = upstream
    this.#link = link
    this.#armed = armed
    this.closed = this.#run()
  }

  /** As the client said it in its last request; null before the first. */
  get clientId(): string | null {
    return this.#header?.clientId ?? null
  }

  /** Ends the connection now. What is on its way is lost, except a request that is held: that still reaches the broker. */
  cut(how: Cut): void {
    this.#cut.abort()
    this.#endClient(how)
    if (this.#holding) return
    if (how === 'reset') this.#upstream.resetAndDestroy()
    else this.#upstream.end()
  }

  /** Ends both sides, held requests included. */
  destroy(): void {
    this.#cut.abort()
    this.#client.destroy()
    this.#upstream.destroy()
  }

  async #run(): Promise<void> {
    const closed = [this.#client, this.#upstream].map(socket => {
      // An error needs no handling of its own: the close that follows it does.
      socket.on('error', () => {})
      return new Promise<void>(resolve => socket.once('close', () => resolve()))
    })
    // Both lanes listen from here on; a frame that comes before anybody takes it waits there.
    const lanes = [this.#passRequests(new Lane(this.#client)), this.#passAnswers(new Lane(this.#upstream))]
    await Promise.all(lanes).catch((error: Error) => {
      process.emitWarning(`The proxy gave a connection up: ${error.message}`)
      this.destroy()
    })
    this.#forgetExpected()
    await Promise.all(closed)
  }

  async #passRequests(lane: Lane): Promise<void> {
    for await (const arrival of lane) {
      const header = requestHeader(arrival.frame)
      this.#header = header
      await this.#admit('requests', header, arrival)
      if (this.#cut.signal.aborted) break
      await this.#request(arrival.frame, header)
    }
    await this.#admitEnd('requests')
    this.#upstream.end()
  }

  async #request(frame: Buffer, header: RequestHeader): Promise<void> {
    const fault = this.#armed.take(header)
    if (fault?.kind === 'hold') {
      this.#holding = true
      await fault.released
      this.#holding = false
    }
    const copies = fault?.kind === 'double' ? [frame, frame] : [frame]
    if (fault?.kind === 'double') this.#expected.push({ header, fault: undefined, fate: 'pass' })
    this.#expected.push({ header, fault, fate: fateOfAnswer(fault) })
    if (this.#answersOver) this.#forgetExpected()
    await write(this.#upstream, copies.length === 1 ? frame : Buffer.concat(copies))
    if (fault?.kind === 'cut-after-request') {
      // Not `cut`: the broker must get the request, and see the end only after it.
      this.#cut.abort()
      this.#endClient('reset')
    }
  }

  async #passAnswers(lane: Lane): Promise<void> {
    for await (const arrival of lane) {
      const { header, fault, fate } = this.#take(answerCorrelationId(arrival.frame))
      await this.#admit('answers', header, arrival)
      fault?.settle(answerBody(arrival.frame))
      if (fate === 'cut') this.cut('reset')
      if (fate === 'pass' && !this.#cut.signal.aborted) await write(this.#client, arrival.frame)
    }
    this.#answersOver = true
    this.#forgetExpected()
    await this.#admitEnd('answers')
    this.#endClient('end')
  }

  /** The request that is answered; those before it wanted no answer (Produce with acks=0). */
  #take(correlationId: number): Expected {
    for (;;) {
      const expected = this.#expected.shift()
      if (expected === undefined) throw new Error(`An answer to request ${correlationId}, which nobody made.`)
      if (expected.header.correlationId === correlationId) return expected
      expected.fault?.settle(undefined)
    }
  }

  #forgetExpected(): void {
    for (const { fault } of this.#expected.splice(0)) fault?.settle(undefined)
  }

  #admit(direction: Direction, header: RequestHeader, { frame, arrivedAt }: Arrival): Promise<void> {
    return this.#link.admit({ direction, header, bytes: frame.length, arrivedAt }, this.#cut.signal)
  }

  /** An end passes a faulty line no sooner than a frame would. */
  async #admitEnd(direction: Direction): Promise<void> {
    const header = this.#header
    if (header === undefined) return
    await this.#link.admit({ direction, header, bytes: 0, arrivedAt: performance.now() }, this.#cut.signal)
  }

  #endClient(how: Cut): void {
    if (how === 'reset') this.#client.resetAndDestroy()
    else this.#client.destroySoon()
  }
}

function fateOfAnswer(fault: RequestFault | undefined): Expected['fate'] {
  if (fault?.kind === 'double' || fault?.kind === 'drop-answer') return 'swallow'
  return fault?.kind === 'cut-before-answer' ? 'cut' : 'pass'
}
