import type { RecordFault } from '../core/errors.ts'
import type { RowChunk } from '../core/files.ts'
import { Signal } from '../core/signal.ts'
import type { BatchPart, MicroBatch } from './micro-batch.ts'
import type { RowSource } from './row-sources.ts'

interface QueuedChunk {
  readonly chunk: RowChunk
  /** Number of its first row in the file. */
  readonly firstNumber: number
  /** The next row to decode. */
  cursor: number
}

/** Consecutive rows of one chunk that were decoded into the same micro-batch, good and bad. */
export class FilePart implements BatchPart {
  readonly chunk: RowChunk
  readonly firstNumber: number
  /** Rows [from, to) of the chunk. */
  readonly from: number
  to: number
  /** Place of the first good one in the micro-batch. */
  readonly firstRow: number
  microBatch: MicroBatch | undefined
  /** Rows that could not be decoded, by index; they have no place in the micro-batch. */
  faults: Map<number, RecordFault> | undefined
  done = false
  readonly #onSettled: () => void

  constructor({ chunk, firstNumber, cursor }: QueuedChunk, firstRow: number, onSettled: () => void) {
    this.chunk = chunk
    this.firstNumber = firstNumber
    this.from = cursor
    this.to = cursor
    this.firstRow = firstRow
    this.#onSettled = onSettled
  }

  /** Whether the chunk is done with once this part is out. */
  get endsChunk(): boolean {
    return this.to === this.chunk.rows
  }

  settled(): void {
    this.done = true
    this.#onSettled()
  }
}

/** The rows of a file on their way through the batcher, in their order. */
export class FileRows implements RowSource {
  /** Notified when the oldest rows may be done. */
  readonly settled = new Signal()
  /** Bytes of the chunks that were put in and are not out yet. */
  memory = 0
  #numbers = 0
  readonly #undecoded: QueuedChunk[] = []
  readonly #parts: FilePart[] = []

  /** Rows that were put in. */
  get rows(): number {
    return this.#numbers
  }

  /** Whether all that was put in is out. */
  get empty(): boolean {
    return this.#undecoded.length === 0 && this.#parts.length === 0
  }

  /** Offer the source to the batcher afterwards. */
  put(chunk: RowChunk): void {
    this.memory += chunk.memory
    this.#undecoded.push({ chunk, firstNumber: this.#numbers, cursor: 0 })
    this.#numbers += chunk.rows
  }

  get backlog(): number {
    return this.#undecoded.reduce((sum, { chunk, cursor }) => sum + chunk.rows - cursor, 0)
  }

  pack(batch: MicroBatch): boolean {
    while (this.#undecoded.length > 0) {
      if (batch.full) return true
      this.#packChunk(batch)
    }
    return false
  }

  /** The oldest part, once it is done. Whoever takes it calls `out` afterwards. */
  takeDone(): FilePart | undefined {
    return this.#parts[0]?.done ? this.#parts.shift() : undefined
  }

  /** The part was written, or is not wanted any more: its memory is given back. */
  out(part: FilePart): void {
    part.microBatch?.letGo()
    if (!part.endsChunk) return
    this.memory -= part.chunk.memory
    part.chunk.release()
  }

  #packChunk(batch: MicroBatch): void {
    const queued = this.#undecoded[0]!
    const { chunk } = queued
    const { inputs } = batch.slot
    const part = new FilePart(queued, batch.rows, () => this.settled.notify())
    let { cursor } = queued
    for (; cursor < chunk.rows && !batch.full; cursor++) {
      const fault = chunk.decode(cursor, batch.rows, inputs)
      if (fault === undefined) batch.rows++
      else {
        part.faults ??= new Map()
        part.faults.set(cursor, fault)
      }
    }
    queued.cursor = cursor
    part.to = cursor
    if (cursor === chunk.rows) this.#undecoded.shift()
    this.#parts.push(part)
    if (batch.rows > part.firstRow) {
      part.microBatch = batch
      batch.hold(part)
    } else part.settled()
  }
}
