import type { RecordFault } from '../core/errors.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { ModelIdentity } from '../core/transaction.ts'

/** The rows of a micro-batch that came from one task; told when they have been run. */
export interface BatchPart {
  /** Called once, when the outputs of the batch are in its slot or its rows are known to be bad. */
  settled(): void
}

/** One run of a session: a slot, the rows packed into it so far, and the parts that wait for their outputs. */
export class MicroBatch {
  readonly slot: TensorSlot
  /** When its first row was packed, in the clock's milliseconds. */
  openedAt: number
  /** When the oldest record of it reached the worker, or earlier. */
  arrivedAt: number
  /** Most rows that it may have: those of its slot, or fewer. */
  limit: number
  /** Rows packed; the next free row of the slot. */
  rows = 0
  /** Milliseconds spent decoding into the slot. */
  inputMs = 0
  /** Runs of its rows so far; more than one where some of them were to be isolated. */
  runs = 0
  readonly parts: BatchPart[] = []
  /** Set once the batch has run. */
  model: ModelIdentity | undefined
  /** Rows that the model refuses, found by isolation; undefined when there are none, as is usual. */
  faults: Map<number, RecordFault> | undefined
  #holders = 0
  readonly #onReleased: (slot: TensorSlot) => void

  /** @param onReleased is told when the last holder let go of the outputs */
  constructor(slot: TensorSlot, openedAt: number, onReleased: (slot: TensorSlot) => void) {
    this.slot = slot
    this.openedAt = openedAt
    this.arrivedAt = openedAt
    this.limit = slot.capacity
    this.#onReleased = onReleased
  }

  get full(): boolean {
    return this.rows >= this.limit
  }

  /** A part with rows in this batch: it holds the slot until it lets go. */
  hold(part: BatchPart): void {
    this.parts.push(part)
    this.#holders++
  }

  /** The part has read its outputs, or no longer wants them. The last one frees the slot. */
  letGo(): void {
    if (--this.#holders === 0) this.#onReleased(this.slot)
  }
}
