import type { HungThreads, Reservation, RunTimings, SessionChoice, SessionPool } from '../core/inference.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { LendablePool } from './pool-server.ts'
import type { SharedSlot } from './slots.ts'

/** What differs between the views of a pool. */
interface PoolViewPort {
  readonly idle: () => number
  readonly hung: () => HungThreads
  readonly acquire: () => TensorSlot | undefined
  readonly release: (slot: TensorSlot) => void
  readonly run: SessionPool['run']
  readonly reserve: SessionPool['reserve']
  readonly listen: (listener: () => void) => void
}

/** The pool, as one of the two sides sees it. Closing it closes nothing: the pool belongs to somebody else. */
export class PoolView implements LendablePool {
  readonly #pool: LendablePool
  readonly #port: PoolViewPort

  constructor(pool: LendablePool, port: PoolViewPort) {
    this.#pool = pool
    this.#port = port
  }

  get idle(): number {
    return this.#port.idle()
  }

  get busy(): number {
    return this.#pool.busy
  }

  get size(): number {
    return this.#pool.size
  }

  get hung(): HungThreads {
    return this.#port.hung()
  }

  get slotCapacity(): number {
    return this.#pool.slotCapacity
  }

  get slotMemory(): readonly SharedSlot[] {
    return this.#pool.slotMemory
  }

  acquire(): TensorSlot | undefined {
    return this.#port.acquire()
  }

  release(slot: TensorSlot): void {
    this.#port.release(slot)
  }

  run(slot: TensorSlot, first: number, rows: number, choice?: SessionChoice): Promise<RunTimings> {
    return this.#port.run(slot, first, rows, choice)
  }

  reserve(choice?: SessionChoice): Promise<Reservation> {
    return this.#port.reserve(choice)
  }

  distrust(session: number, reason: string): void {
    this.#pool.distrust(session, reason)
  }

  onAvailable(listener: () => void): void {
    this.#port.listen(listener)
  }

  async close(): Promise<void> {}
}
