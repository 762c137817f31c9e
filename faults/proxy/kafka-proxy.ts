import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Address } from '../../dev/broker-config.ts'
import { freePorts } from '../../dev/ports.ts'
import { ActiveFault, type Target } from './active-fault.ts'
import { type Cut, ProxiedConnection } from './connection.ts'
import { type Direction, Link } from './link.ts'
import { ArmedFaults, type RequestFault, type RequestFaultKind } from './request-fault.ts'

/**
 * A TCP proxy for one listener of one broker that understands the frames of Kafka's protocol (plain text, no TLS), and
 * fails in the ways that networks fail, one at a time or several at once. Frames of a connection keep their order. It
 * holds at most a megabyte and one frame a direction and connection; beyond that the sender waits.
 *
 * It listens before its broker starts, because that has to advertise its address: see `startBroker({ advertise })`.
 */
export class KafkaProxy {
  /** Where clients connect to. */
  readonly address: Address
  readonly #server: Server
  readonly #connections = new Set<ProxiedConnection>()
  readonly #link = new Link()
  readonly #armed = new ArmedFaults()
  readonly #refusals = new Set<ActiveFault>()
  #upstream: Address | undefined

  private constructor(server: Server, address: Address) {
    this.#server = server
    this.address = address
    server.on('connection', client => this.#accept(client))
  }

  /** Starts a proxy on a free port of 127.0.0.1. It resets every connection until `forwardTo` says where they go. */
  static async listen(): Promise<KafkaProxy> {
    const [port] = (await freePorts(1)) as [number]
    // Ends are passed on in their turn, behind what may still be held: not by the socket by itself.
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    const proxy = new KafkaProxy(server, { host: '127.0.0.1', port })
    server.listen(proxy.address)
    await once(server, 'listening')
    return proxy
  }

  /** `host:port`, as clients take it. */
  get bootstrap(): string {
    return `${this.address.host}:${this.address.port}`
  }

  /** Connections of clients, and of clients that are gone as long as something for the broker is held. */
  get connections(): number {
    return this.#connections.size
  }

  /** From now on new connections go there; the ones that are open stay. */
  forwardTo(upstream: Address): void {
    this.#upstream = upstream
  }

  /**
   * Cuts all connections, or those of clients with this id, on both sides.
   * @returns how many
   */
  cut(how: Cut = 'reset', { clientId }: Pick<Target, 'clientId'> = {}): number {
    const struck = [...this.#connections].filter(connection => {
      if (clientId === undefined) return true
      return typeof clientId === 'string' ? clientId === connection.clientId : clientId.test(connection.clientId ?? '')
    })
    for (const connection of struck) connection.cut(how)
    return struck.length
  }

  /** New connections are reset as soon as they are there; those that are open go on. */
  refuse(): ActiveFault {
    const fault: ActiveFault = new ActiveFault(() => this.#refusals.delete(fault))
    this.#refusals.add(fault)
    return fault
  }

  /**
   * Half-open: both ends stay connected, new connections are taken, and nothing passes in these directions. When it is
   * lifted all that was sent arrives, ends of connections included, as after a cable was plugged in again.
   */
  block(directions: Direction | 'both' = 'both', target: Target = {}): ActiveFault {
    return this.#link.block(directions, target)
  }

  /** Every frame passes `ms` later than it came, each way; frames behind a delayed one wait for it. */
  delay(ms: number, target: Target = {}): ActiveFault {
    return this.#link.delay(ms, target)
  }

  /** All connections together pass no more than this, each way. */
  throttle(bytesPerSecond: number): ActiveFault {
    return this.#link.throttle(bytesPerSecond)
  }

  /**
   * Aims at the next request that matches; faults for the same request strike one request each, in the order they were
   * armed. `holdMs` is for `hold`, which without it lasts until the fault is lifted.
   */
  strikeNext(kind: RequestFaultKind, target: Target, holdMs?: number): RequestFault {
    return this.#armed.arm(kind, target, holdMs)
  }

  /** Ends all connections and stops listening. Resolves when no socket is left. May be called again. */
  async close(): Promise<void> {
    this.#armed.clear()
    for (const connection of this.#connections) connection.destroy()
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined
    this.#server.close()
    await Promise.all([closed, ...[...this.#connections].map(connection => connection.closed)])
  }

  #accept(client: Socket): void {
    if (this.#refusals.size > 0 || this.#upstream === undefined) {
      for (const fault of this.#refusals) fault.count()
      client.on('error', () => {})
      client.resetAndDestroy()
      return
    }
    const upstream = connect({ ...this.#upstream, allowHalfOpen: true, noDelay: true })
    const connection = new ProxiedConnection(client, upstream, this.#link, this.#armed)
    this.#connections.add(connection)
    void connection.closed.then(() => this.#connections.delete(connection))
  }
}
