import { SluiceError } from '../core/errors.ts'
import { allocateCheckable, bufferOf, type SharedMemory } from '../core/float-check.ts'
import type { ModelSpec } from '../core/model.ts'
import { byteLength, type RowSpec, type TensorColumn, type TensorSlot, viewOf } from '../core/tensor.ts'

/** Shared memory of one slot, one for each column; undefined for strings, which travel in messages. */
export interface SharedSlot {
  readonly inputs: readonly (SharedMemory | undefined)[]
  readonly outputs: readonly (SharedMemory | undefined)[]
}

/** The tensors of a model, in the order of their columns in a slot. */
export type SlotLayout = Pick<ModelSpec, 'inputs' | 'outputs'>

const DEFAULT_SLOT_BYTES = 64 * 1024 * 1024

/** Rows that a slot holds: `maxRows`, or as many as fit into `maxBytes` of shared memory; at least 1. */
export function slotCapacity(layout: SlotLayout, maxRows: number, maxBytes: number = DEFAULT_SLOT_BYTES): number {
  const rowBytes = [...layout.inputs, ...layout.outputs].reduce(
    (bytes, spec) => bytes + byteLength(spec.type, spec.width),
    0,
  )
  const fitting = rowBytes === 0 ? maxRows : Math.floor(maxBytes / rowBytes)
  return Math.max(1, Math.min(maxRows, fitting))
}

/** A view of a slot's memory, made once for each thread. String columns of two views are not connected. */
export function viewSlot(id: number, layout: SlotLayout, capacity: number, shared: SharedSlot): TensorSlot {
  const columns = (specs: readonly RowSpec[], memories: SharedSlot['inputs']): TensorColumn[] =>
    specs.map((spec, index) => {
      const memory = memories[index]
      const buffer = memory === undefined ? new ArrayBuffer(0) : bufferOf(memory)
      return { spec, data: viewOf(spec.type, buffer, capacity * spec.width) }
    })
  return {
    id,
    capacity,
    inputs: columns(layout.inputs, shared.inputs),
    outputs: columns(layout.outputs, shared.outputs),
  }
}

/** The strings of rows [first, first + rows), an array for each string column: what a message must carry. */
export function takeStrings(columns: readonly TensorColumn[], first: number, rows: number): string[][] {
  const taken: string[][] = []
  for (const { spec, data } of columns) {
    if (Array.isArray(data)) taken.push(data.slice(first * spec.width, (first + rows) * spec.width))
  }
  return taken
}

/** Puts what `takeStrings` took into the same rows of another view of the slot. */
export function putStrings(columns: readonly TensorColumn[], first: number, taken: readonly string[][]): void {
  let next = 0
  for (const { spec, data } of columns) {
    if (!Array.isArray(data)) continue
    const strings = taken[next++]!
    for (let i = 0; i < strings.length; i++) data[first * spec.width + i] = strings[i]!
  }
}

/** Narrower rows are checked as fast without a call into WebAssembly, and memory for it reserves many addresses. */
const LEAST_CHECKED_WIDTH = 32

function inputMemory(spec: RowSpec, capacity: number): SharedMemory | undefined {
  const { type, width } = spec
  const isChecked = type === 'float32' && width >= LEAST_CHECKED_WIDTH
  return isChecked ? allocateCheckable(byteLength(type, capacity * width)) : memoryOf(spec, capacity)
}

function memoryOf({ type, width }: RowSpec, capacity: number): SharedArrayBuffer | undefined {
  return type === 'string' ? undefined : new SharedArrayBuffer(byteLength(type, capacity * width))
}

/**
 * The slots of a pool: allocated once, then lent and taken back.
 *
 * A slot that a thread may still read, because its run was given up, is held back until `readerGone` says that the
 * thread has ended; a spare takes its place. Spares cost addresses, not memory: nobody touches them until then.
 */
export class TensorSlots {
  readonly capacity: number
  /** The memory of each slot, in the order of their ids, for the threads. */
  readonly shared: readonly SharedSlot[]
  readonly #free: TensorSlot[]
  readonly #spare: TensorSlot[]
  readonly #lent = new Set<TensorSlot>()
  /** Threads that may still read a slot, for slots that have any. */
  readonly #readers = new Map<TensorSlot, number>()

  /** @param spares how many slots may be held back at a time without being missed */
  constructor(layout: SlotLayout, count: number, capacity: number, spares = 0) {
    this.capacity = capacity
    this.shared = Array.from({ length: count + spares }, () => ({
      inputs: layout.inputs.map(spec => inputMemory(spec, capacity)),
      outputs: layout.outputs.map(spec => memoryOf(spec, capacity)),
    }))
    this.#free = this.shared.map((memory, id) => viewSlot(id, layout, capacity, memory))
    this.#spare = this.#free.splice(count)
  }

  /** A slot for the caller, the one last released first because the caches still know it; undefined if all are lent. */
  acquire(): TensorSlot | undefined {
    const slot = this.#free.pop()
    if (slot !== undefined) this.#lent.add(slot)
    return slot
  }

  /** @throws SluiceError `internal` when the slot is not lent: two owners would overwrite each other's rows. */
  release(slot: TensorSlot): void {
    if (!this.#lent.delete(slot)) throw new SluiceError('internal', `slot ${slot.id} was released, but is not lent`)
    if (!this.#readers.has(slot)) this.#free.push(slot)
    else if (this.#spare.length > 0) this.#free.push(this.#spare.pop()!)
  }

  /** A thread was given up that may still read the slot, which is lent. */
  readerLeft(slot: TensorSlot): void {
    this.#readers.set(slot, (this.#readers.get(slot) ?? 0) + 1)
  }

  /** That thread has ended. */
  readerGone(slot: TensorSlot): void {
    const left = this.#readers.get(slot)! - 1
    if (left > 0) this.#readers.set(slot, left)
    else {
      this.#readers.delete(slot)
      if (!this.#lent.has(slot)) this.#spare.push(slot)
    }
  }

  isLent(slot: TensorSlot): boolean {
    return this.#lent.has(slot)
  }
}
