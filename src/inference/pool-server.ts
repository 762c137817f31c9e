import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type { Clock } from '../core/clock.ts'
import { packError } from '../core/error-transfer.ts'
import { SluiceError } from '../core/errors.ts'
import type { Reservation, SessionChoice, SessionPool } from '../core/inference.ts'
import type { TensorSlot } from '../core/tensor.ts'
import { PoolBoard } from './pool-board.ts'
import type { PoolLoan, PoolReply, PoolRequest, SentChoice, SentReserve, SentRun } from './pool-messages.ts'
import { putStrings, type SharedSlot, type SlotLayout, takeStrings } from './slots.ts'

/** A pool whose slots lie in shared memory. */
export interface LendablePool extends SessionPool {
  /** Rows that each slot holds. */
  readonly slotCapacity: number
  /** The memory of each slot, by its id. */
  readonly slotMemory: readonly SharedSlot[]
}

export interface PoolServerOptions {
  readonly pool: LendablePool
  readonly clock: Clock
  readonly layout: SlotLayout
  /** How many clients share the pool. */
  readonly clients: number
  /** How many slots each of them has; the pool has so many that nobody uses. */
  readonly slotsEach: number
  /** Told whenever the number of busy sessions has changed. */
  readonly onBusy?: (busy: number, size: number) => void
}

interface Client {
  readonly place: number
  readonly port: MessagePort
  /** The slots that are lent to it, by their ids. */
  readonly slots: Map<number, TensorSlot>
  /** What it has reserved. */
  readonly reservations: Map<number, Reservation>
  gone: boolean
}

/**
 * Shares a pool with other threads, each of which has a `PoolClient`. The server is the pool's only listener and stays on
 * the thread that has the pool, so restarts, isolation by reservation and the order of runs (first come, first served, over
 * all clients) are the pool's alone.
 *
 * A client that ends, or dies, gives back the sessions that it had reserved. Its slots are lent to nobody else: a run of
 * them may be under way.
 */
export class PoolServer {
  readonly #options: PoolServerOptions
  readonly #board: PoolBoard
  readonly #clients: Client[] = []
  /** Who is told first of an idle session, so that each is in turn. */
  #first = 0
  #busy = -1
  #wokeAt = Number.NEGATIVE_INFINITY
  #toldHung = false

  constructor(options: PoolServerOptions) {
    this.#options = options
    this.#board = PoolBoard.of(options.clients)
    options.pool.onAvailable(() => this.#publish())
    this.#publish()
  }

  /**
   * Makes the next client. Its port must be transferred with the message that carries the loan.
   * @throws SluiceError `internal` when the pool has too few slots
   */
  lend(): PoolLoan {
    const { pool, layout, slotsEach } = this.#options
    const { port1, port2 } = new MessageChannel()
    const slots = new Map<number, TensorSlot>()
    for (let i = 0; i < slotsEach; i++) {
      const slot = pool.acquire()
      if (slot === undefined) throw new SluiceError('internal', 'The session pool has too few slots for its clients.')
      slots.set(slot.id, slot)
    }
    const client: Client = { place: this.#clients.length, port: port1, slots, reservations: new Map(), gone: false }
    this.#clients.push(client)
    port1.on('message', (request: PoolRequest) => this.#onRequest(client, request))
    port1.on('close', () => this.#onGone(client))
    return {
      port: port2,
      client: client.place,
      board: this.#board.memory,
      layout,
      capacity: pool.slotCapacity,
      memory: pool.slotMemory,
      slots: [...slots.keys()],
      size: pool.size,
      mostHung: pool.hung.most,
    }
  }

  /** Whether a client waits for a session, or was told of one so short a time ago that it may yet come for it. */
  clientsWait(graceMs: number): boolean {
    return this.#board.anyWaits(this.#clients.length) || this.#options.clock.now() - this.#wokeAt < graceMs
  }

  /** Ends the channels. The pool is left to its owner. */
  close(): void {
    for (const { port } of this.#clients) port.close()
  }

  #onRequest(client: Client, request: PoolRequest): void {
    switch (request.kind) {
      case 'run':
        void this.#run(client, request)
        break
      case 'reserve':
        void this.#reserve(client, request)
        break
      case 'release':
        client.reservations.get(request.reservation)?.release()
        client.reservations.delete(request.reservation)
        break
      case 'distrust':
        this.#options.pool.distrust(request.session, request.reason)
        break
      case 'exchange':
        this.#exchange(client, request.slot)
    }
  }

  async #run(client: Client, { id, slot: slotId, first, rows, choice, strings }: SentRun): Promise<void> {
    const slot = client.slots.get(slotId)
    this.#board.arrived()
    try {
      if (slot === undefined)
        throw new SluiceError('internal', `slot ${slotId} is not lent to I/O thread ${client.place}`)
      putStrings(slot.inputs, first, strings)
      const running = this.#options.pool.run(slot, first, rows, chosen(client, choice))
      this.#publish()
      const { computeMs, provider, session } = await running
      const outputs = takeStrings(slot.outputs, first, rows)
      this.#reply(client, { kind: 'ran', id, computeMs, provider, session, strings: outputs })
    } catch (error) {
      // What it says of threads that hang must be there before the client asks, which it does on an error.
      this.#publish()
      this.#reply(client, { kind: 'failed', id, error: packError(error) })
    }
  }

  async #reserve(client: Client, { id, choice }: SentReserve): Promise<void> {
    try {
      const reservation = await this.#options.pool.reserve(chosen(client, choice))
      // While it waited for its turn the client may have ended.
      if (client.gone) return reservation.release()
      client.reservations.set(id, reservation)
      this.#publish()
      this.#reply(client, { kind: 'reserved', id, session: reservation.session })
    } catch (error) {
      this.#reply(client, { kind: 'failed', id, error: packError(error) })
    }
  }

  /** A thread that hangs may read the slot for long: the pool holds it back, and has a spare for every such thread. */
  #exchange(client: Client, slotId: number): void {
    const { pool } = this.#options
    const slot = client.slots.get(slotId)
    if (slot === undefined) return
    client.slots.delete(slotId)
    pool.release(slot)
    const other = pool.acquire()
    if (other === undefined) return
    client.slots.set(other.id, other)
    this.#reply(client, { kind: 'lent', slot: other.id })
  }

  #onGone(client: Client): void {
    client.gone = true
    for (const reservation of client.reservations.values()) reservation.release()
    client.reservations.clear()
  }

  /** Tells the clients what they should know, and wakes those that wait for a session. */
  #publish(): void {
    const { pool, onBusy } = this.#options
    const { idle, size, hung } = pool
    this.#board.publish(idle, hung.count)
    if (size - idle !== this.#busy) {
      this.#busy = size - idle
      onBusy?.(this.#busy, size)
    }
    if (this.#board.idle > 0) this.#wake()
    // Whoever has nothing under way would not look, and must: the worker ends when all have.
    if (hung.count < hung.most) this.#toldHung = false
    else if (!this.#toldHung) {
      this.#toldHung = true
      for (const client of this.#clients) this.#reply(client, { kind: 'available' })
    }
  }

  #wake(): void {
    const { length } = this.#clients
    for (let i = 0; i < length; i++) {
      const client = this.#clients[(this.#first + i) % length]!
      if (!this.#board.takeWait(client.place)) continue
      this.#wokeAt = this.#options.clock.now()
      this.#reply(client, { kind: 'available' })
    }
    if (length > 0) this.#first = (this.#first + 1) % length
  }

  #reply(client: Client, reply: PoolReply): void {
    if (!client.gone) client.port.postMessage(reply)
  }
}

function chosen(client: Client, choice: SentChoice | undefined): SessionChoice | undefined {
  if (choice === undefined || !('only' in choice)) return choice
  return { only: choice.only, by: choice.by === undefined ? undefined : client.reservations.get(choice.by) }
}
