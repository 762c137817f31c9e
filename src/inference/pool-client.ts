import type { Clock } from '../core/clock.ts'
import { unpackError } from '../core/error-transfer.ts'
import { SluiceError } from '../core/errors.ts'
import {
  type HungThreads,
  type Reservation,
  RunError,
  type RunTimings,
  type SessionChoice,
  type SessionPool,
} from '../core/inference.ts'
import type { TensorSlot } from '../core/tensor.ts'
import { PoolBoard } from './pool-board.ts'
import type { PoolLoan, PoolReply, PoolRequest, SentChoice } from './pool-messages.ts'
import { putStrings, takeStrings, viewSlot } from './slots.ts'

interface PendingRun {
  readonly slot: TensorSlot
  readonly first: number
  readonly sentAt: number
  readonly resolve: (timings: RunTimings) => void
  readonly reject: (error: Error) => void
}

interface PendingReserve {
  readonly resolve: (reservation: Reservation) => void
  readonly reject: (error: Error) => void
}

/**
 * A pool that another thread has, as a port like any other. Slots are lent for good and lie in shared memory, so packing
 * and reading outputs needs nobody; runs travel as messages to the `PoolServer`, a few dozen microseconds each way.
 */
export class PoolClient implements SessionPool {
  readonly #loan: PoolLoan
  readonly #clock: Clock
  readonly #board: PoolBoard
  readonly #free: TensorSlot[]
  readonly #inUse = new Set<TensorSlot>()
  /** Slots that a thread which hangs may still read. */
  readonly #haunted = new Set<TensorSlot>()
  readonly #runs = new Map<number, PendingRun>()
  readonly #reserves = new Map<number, PendingReserve>()
  /** Numbers of the reservations that are held, for `run`. */
  readonly #held = new Map<Reservation, number>()
  #nextId = 0
  #listener = () => {}
  #closed = false

  constructor(loan: PoolLoan, clock: Clock) {
    this.#loan = loan
    this.#clock = clock
    this.#board = new PoolBoard(loan.board)
    this.#free = loan.slots.map(id => this.#view(id))
    loan.port.on('message', (reply: PoolReply) => this.#onReply(reply))
  }

  get idle(): number {
    return this.#closed ? 0 : this.#board.idleOrWait(this.#loan.client)
  }

  get busy(): number {
    return this.size - this.#board.idle
  }

  get size(): number {
    return this.#loan.size
  }

  get hung(): HungThreads {
    return { count: this.#board.hung, most: this.#loan.mostHung }
  }

  acquire(): TensorSlot | undefined {
    const slot = this.#closed ? undefined : this.#free.pop()
    if (slot !== undefined) this.#inUse.add(slot)
    return slot
  }

  release(slot: TensorSlot): void {
    if (!this.#inUse.delete(slot)) throw new SluiceError('internal', `slot ${slot.id} was released, but is not in use`)
    if (this.#haunted.delete(slot)) this.#send({ kind: 'exchange', slot: slot.id })
    else this.#free.push(slot)
    this.#listener()
  }

  run(slot: TensorSlot, first: number, rows: number, choice?: SessionChoice): Promise<RunTimings> {
    if (this.#closed) return Promise.reject(closed())
    return new Promise((resolve, reject) => {
      const id = this.#nextId++
      this.#runs.set(id, { slot, first, sentAt: this.#clock.now(), resolve, reject })
      this.#board.announce()
      const strings = takeStrings(slot.inputs, first, rows)
      this.#send({ kind: 'run', id, slot: slot.id, first, rows, choice: this.#sent(choice), strings })
    })
  }

  reserve(choice?: SessionChoice): Promise<Reservation> {
    if (this.#closed) return Promise.reject(closed())
    return new Promise((resolve, reject) => {
      const id = this.#nextId++
      this.#reserves.set(id, { resolve, reject })
      this.#send({ kind: 'reserve', id, choice: this.#sent(choice) })
    })
  }

  distrust(session: number, reason: string): void {
    this.#send({ kind: 'distrust', session, reason })
  }

  onAvailable(listener: () => void): void {
    this.#listener = listener
    // The server has told everybody that too many threads hang: whoever comes later must hear of it, too.
    if (this.hung.count >= this.hung.most) queueMicrotask(listener)
  }

  /** Ends this client; the pool goes on. Runs in flight are rejected, and what it has reserved is released. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#loan.port.close()
    for (const { reject } of [...this.#runs.values(), ...this.#reserves.values()]) reject(closed())
    this.#runs.clear()
    this.#reserves.clear()
  }

  #view(id: number): TensorSlot {
    const { layout, capacity, memory } = this.#loan
    return viewSlot(id, layout, capacity, memory[id]!)
  }

  #sent(choice: SessionChoice | undefined): SentChoice | undefined {
    if (choice === undefined || !('only' in choice)) return choice
    const by = choice.by === undefined ? undefined : this.#held.get(choice.by)
    return { only: choice.only, ...(by !== undefined && { by }) }
  }

  #send(request: PoolRequest): void {
    this.#loan.port.postMessage(request)
  }

  #onReply(reply: PoolReply): void {
    if (this.#closed) return
    switch (reply.kind) {
      case 'ran':
        this.#onRan(reply)
        break
      case 'reserved':
        this.#onReserved(reply.id, reply.session)
        break
      case 'failed':
        this.#onFailed(reply.id, unpackError(reply.error))
        break
      case 'lent':
        this.#free.push(this.#view(reply.slot))
        this.#listener()
        break
      case 'available':
        this.#listener()
    }
  }

  #onRan({ id, computeMs, provider, session, strings }: Extract<PoolReply, { kind: 'ran' }>): void {
    const { slot, first, sentAt, resolve } = this.#runs.get(id)!
    this.#runs.delete(id)
    putStrings(slot.outputs, first, strings)
    resolve({ computeMs, waitMs: Math.max(0, this.#clock.now() - sentAt - computeMs), provider, session })
  }

  #onReserved(id: number, session: number): void {
    const release = () => {
      if (this.#held.delete(reservation)) this.#send({ kind: 'release', reservation: id })
    }
    const reservation: Reservation = { session, release }
    this.#held.set(reservation, id)
    this.#reserves.get(id)!.resolve(reservation)
    this.#reserves.delete(id)
  }

  #onFailed(id: number, error: Error): void {
    const run = this.#runs.get(id)
    if (run !== undefined && error instanceof RunError && error.code === 'session-hung') this.#haunted.add(run.slot)
    const pending = run ?? this.#reserves.get(id)!
    this.#runs.delete(id)
    this.#reserves.delete(id)
    pending.reject(error)
  }
}

const closed = () => new SluiceError('session-crashed', 'the client of the session pool was closed')
