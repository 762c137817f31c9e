import assert from 'node:assert/strict'
import {
  type Reservation,
  RunError,
  type RunFailure,
  type RunTimings,
  type SessionChoice,
  type SessionPool,
} from '../../src/core/inference.ts'
import type { RowSpec, TensorColumn, TensorSlot } from '../../src/core/tensor.ts'

/** What the model of these tests answers for a feature. */
export const predictionFor = (feature: number) => 2 * feature + 1

/** A run that a session of the fake pool works on until the test ends it. */
export interface FakeRun {
  readonly slot: TensorSlot
  readonly first: number
  readonly rows: number
  /** The features in its rows. */
  readonly features: readonly number[]
  /** The session that has it. */
  readonly session: number
  /** @param computeMs 1, unless given */
  succeed(computeMs?: number): void
  /** Fails as a session does; another error than a `RunError` is one of the pool as a whole. */
  fail(error?: Error | RunFailure): void
}

export interface FakePoolOptions {
  readonly sessions?: number
  /** Default: two for each session. */
  readonly slots?: number
  /** Rows of a slot. */
  readonly capacity?: number
}

interface Waiting {
  readonly choice: SessionChoice | undefined
  readonly start: (session: number) => void
}

/** Sessions that work when the test tells them to. Slots that nobody owns hold NaN, so that a late look at them shows. */
export class FakePool implements SessionPool {
  readonly size: number
  readonly slots: readonly TensorSlot[]
  /** Under way, oldest first. */
  readonly runs: FakeRun[] = []
  /** What it was told to replace, and why. */
  readonly distrusted: { readonly session: number; readonly reason: string }[] = []
  /** Threads that hang; the test says how many there are, and how many there may be. */
  hung = { count: 0, most: Number.POSITIVE_INFINITY }
  readonly #free: TensorSlot[]
  readonly #waiting: Waiting[] = []
  #listener = () => {}

  constructor({ sessions = 1, slots, capacity = 4 }: FakePoolOptions = {}) {
    this.size = sessions
    this.slots = Array.from({ length: slots ?? 2 * sessions }, (_, id) => ({
      id,
      capacity,
      inputs: [column('x', capacity)],
      outputs: [column('y', capacity)],
    }))
    this.#free = [...this.slots]
  }

  get idle(): number {
    return this.size - this.runs.length
  }

  get busy(): number {
    return this.runs.length
  }

  get slotCapacity(): number {
    return this.slots[0]!.capacity
  }

  get slotMemory() {
    const memory = (columns: readonly TensorColumn[]) => columns.map(({ data }) => sharedMemory(data as Float64Array))
    return this.slots.map(({ inputs, outputs }) => ({ inputs: memory(inputs), outputs: memory(outputs) }))
  }

  get freeSlots(): number {
    return this.#free.length
  }

  acquire(): TensorSlot | undefined {
    return this.#free.shift()
  }

  release(slot: TensorSlot): void {
    assert.ok(!this.#free.includes(slot), `slot ${slot.id} was given back twice`)
    assert.ok(!this.runs.some(run => run.slot === slot), `slot ${slot.id} was given back amid a run`)
    for (const { data } of [...slot.inputs, ...slot.outputs]) (data as Float64Array).fill(Number.NaN)
    this.#free.push(slot)
    this.#listener()
  }

  onAvailable(listener: () => void): void {
    this.#listener = listener
  }

  run(slot: TensorSlot, first: number, rows: number, choice?: SessionChoice): Promise<RunTimings> {
    const { promise, resolve, reject } = Promise.withResolvers<RunTimings>()
    const start = (session: number) => {
      const end = () => {
        this.runs.splice(this.runs.indexOf(run), 1)
        this.#serveWaiting()
      }
      const run: FakeRun = {
        slot,
        first,
        rows,
        session,
        features: Array.from(slot.inputs[0]!.data as Float64Array).slice(first, first + rows),
        succeed: (computeMs = 1) => {
          const outputs = slot.outputs[0]!.data as Float64Array
          run.features.forEach((feature, i) => {
            outputs[first + i] = predictionFor(feature)
          })
          end()
          resolve({ computeMs, waitMs: 0, provider: 'cpu', session })
        },
        fail: (error = 'inference-failed') => {
          end()
          reject(typeof error === 'string' ? new RunError(error, 'the session failed', session) : error)
        },
      }
      this.runs.push(run)
    }
    this.#waiting.push({ choice, start })
    this.#serveWaiting()
    return promise
  }

  async reserve(choice?: SessionChoice): Promise<Reservation> {
    return { session: this.#idleSession(choice) ?? 0, release: () => {} }
  }

  distrust(session: number, reason: string): void {
    this.distrusted.push({ session, reason })
  }

  /** The first idle session that may take it takes the first run that waits. */
  #serveWaiting(): void {
    for (const waiting of this.#waiting.splice(0)) {
      const session = this.#idleSession(waiting.choice)
      if (session === undefined) this.#waiting.push(waiting)
      else waiting.start(session)
    }
    if (this.idle > 0) this.#listener()
  }

  #idleSession(choice: SessionChoice | undefined): number | undefined {
    const busy = new Set(this.runs.map(({ session }) => session))
    const takes = (session: number) => {
      if (choice === undefined) return true
      return 'only' in choice ? session === choice.only : this.size === 1 || session !== choice.not
    }
    return Array.from({ length: this.size }, (_, session) => session).find(at => !busy.has(at) && takes(at))
  }

  async close(): Promise<void> {
    for (const run of [...this.runs]) run.fail(new Error('the pool was closed'))
  }
}

/** The tensors of a slot, as a server of the pool asks for them. */
export const LAYOUT = { inputs: [{ ...rowSpec('x'), features: [] }], outputs: [{ ...rowSpec('y'), field: 'y' }] }

function rowSpec(tensor: string): RowSpec {
  return { tensor, type: 'float64', rowShape: [], width: 1 }
}

/** In shared memory, because other threads may be lent the slot. */
function column(tensor: string, capacity: number): TensorColumn {
  const memory = new SharedArrayBuffer(capacity * Float64Array.BYTES_PER_ELEMENT)
  return { spec: rowSpec(tensor), data: new Float64Array(memory).fill(Number.NaN) }
}

function sharedMemory({ buffer }: Float64Array): SharedArrayBuffer {
  return buffer as SharedArrayBuffer
}
