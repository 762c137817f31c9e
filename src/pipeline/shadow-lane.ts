import { memoryOf, offsetOf, type RecordBatch } from '../core/record-batch.ts'
import type { ShadowTelemetry } from '../core/telemetry.ts'
import type { OutputWriter } from '../core/transaction.ts'
import type { BatchPart, MicroBatch } from './micro-batch.ts'
import { emitShadowRow } from './output-stage.ts'
import type { RowSource } from './row-sources.ts'
import type { ServedVersion } from './serving.ts'

/** What waits for a shadow at most, for one partition; the rest goes without. */
const MOST_WAITING = { records: 8_192, bytes: 4 * 1024 * 1024 }

export interface ShadowLaneOptions {
  readonly version: ServedVersion
  readonly telemetry: ShadowTelemetry
  /** There are predictions to emit. */
  readonly onSettled: () => void
}

/** Records [cursor, to) of a batch, which is held until they are out. */
interface Waiting {
  readonly batch: RecordBatch
  cursor: number
  to: number
}

/**
 * The records of one task on their way through a shadow version, beside the version that answers: never before it, and
 * never in its way. What a shadow does not manage is dropped and counted: records that come while enough of them wait, that
 * it cannot decode or refuses, and all that it has when the task starts over.
 *
 * The order of its predictions is that of the input. Each goes out in the transaction of its record, or in a later one of the
 * same task; never in an earlier one: what is below the committed offset is not done again, what is above it is.
 *
 *   the shadow is done with 1 ─▶ T commits 0, and the shadow's 1 ─▶ the task starts over at 1 ─▶ the shadow's 1 is there twice
 */
export class ShadowLane implements RowSource {
  readonly #options: ShadowLaneOptions
  readonly #waiting: Waiting[] = []
  #waitingRecords = 0
  #waitingBytes = 0
  readonly #parts: ShadowPart[] = []
  /** A schema is being loaded. */
  #blocked = false
  #closed = false

  constructor(options: ShadowLaneOptions) {
    this.#options = options
  }

  get backlog(): number {
    return this.#blocked ? 0 : this.#waitingRecords
  }

  /** Takes records [from, to) of a batch, or drops them where too many wait. Holds the batch's lease meanwhile. */
  take(batch: RecordBatch, from: number, to: number): void {
    const records = to - from
    const last = this.#waiting.at(-1)
    if (last?.batch === batch && last.to === from) {
      last.to = to
      this.#waitingRecords += records
      return
    }
    const bytes = memoryOf(batch)
    const room =
      this.#waitingRecords + records <= MOST_WAITING.records && this.#waitingBytes + bytes <= MOST_WAITING.bytes
    if (!room && this.#waiting.length > 0) {
      this.#options.telemetry.dropped('behind', records)
      return
    }
    batch.lease?.hold()
    this.#waiting.push({ batch, cursor: from, to })
    this.#waitingRecords += records
    this.#waitingBytes += bytes
    this.#options.version.batcher.offer(this)
  }

  pack(microBatch: MicroBatch): boolean {
    while (this.#waiting.length > 0 && !this.#blocked) {
      if (microBatch.full) return true
      this.#packHead(this.#waiting[0]!, microBatch)
    }
    return false
  }

  #packHead(head: Waiting, microBatch: MicroBatch): void {
    const { decoder } = this.#options.version
    const part = new ShadowPart(head.batch, microBatch, () => this.#onSettled())
    while (head.cursor < head.to && !microBatch.full) {
      const outcome = decoder.decode(head.batch, head.cursor, microBatch.rows, microBatch.slot.inputs)
      if (outcome !== undefined && 'schemaId' in outcome) {
        this.#blocked = true
        void this.#load(outcome.schemaId, head)
        break
      }
      if (outcome === undefined) {
        part.indexes.push(head.cursor)
        microBatch.rows++
      } else this.#options.telemetry.dropped(outcome.code, 1)
      head.cursor++
      this.#waitingRecords--
    }
    if (part.indexes.length > 0) {
      head.batch.lease?.hold()
      this.#parts.push(part)
      microBatch.hold(part)
    }
    this.#leaveIfDone(head)
  }

  /** The head has been decoded, or dropped, to its end. */
  #leaveIfDone({ batch, cursor, to }: Waiting): void {
    if (cursor < to) return
    this.#waiting.shift()
    this.#waitingBytes -= memoryOf(batch)
    batch.lease?.letGo()
  }

  /** A record whose schema cannot be had now goes without. Never rejects. */
  async #load(schemaId: number, head: Waiting): Promise<void> {
    const { version, telemetry } = this.#options
    try {
      await version.decoder.load(schemaId)
    } catch {
      if (this.#closed) return
      telemetry.dropped('registry-unreachable', 1)
      head.cursor++
      this.#waitingRecords--
      this.#leaveIfDone(head)
    }
    if (this.#closed) return
    this.#blocked = false
    version.batcher.offer(this)
  }

  #onSettled(): void {
    if (!this.#closed) this.#options.onSettled()
  }

  /**
   * Writes the predictions that are there, in order, of records below `offset`: the others have not been answered yet.
   * @returns how many
   */
  emit(output: OutputWriter, offset: number, maxOutputBytes: number): number {
    const { version, telemetry } = this.#options
    let written = 0
    while (this.#parts[0]?.done && this.#parts[0].lastOffset < offset) {
      const part = this.#parts.shift()!
      for (const [i, index] of part.indexes.entries()) {
        const row = part.firstRow + i
        const fault = emitShadowRow(part.batch, index, row, part.microBatch, version.encoder, {
          output,
          maxOutputBytes,
        })
        if (fault === undefined) written++
        else telemetry.dropped(fault.code, 1)
      }
      part.microBatch.letGo()
      part.batch.lease?.letGo()
    }
    telemetry.predictions(written)
    return written
  }

  /** Drops what it has; the batcher does not ask it any more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    const { version, telemetry } = this.#options
    version.batcher.withdraw(this)
    for (const { batch, cursor, to } of this.#waiting.splice(0)) {
      telemetry.dropped('closed', to - cursor)
      batch.lease?.letGo()
    }
    for (const part of this.#parts.splice(0)) {
      telemetry.dropped('closed', part.indexes.length)
      if (part.done) part.microBatch.letGo()
      else part.abandoned = true
      part.batch.lease?.letGo()
    }
  }
}

/** Records of one batch, which it holds, that a shadow has decoded into the same micro-batch, in consecutive rows. */
class ShadowPart implements BatchPart {
  readonly batch: RecordBatch
  readonly microBatch: MicroBatch
  readonly firstRow: number
  /** Of the records, in their order. */
  readonly indexes: number[] = []
  done = false
  abandoned = false
  readonly #onSettled: () => void

  constructor(batch: RecordBatch, microBatch: MicroBatch, onSettled: () => void) {
    this.batch = batch
    this.microBatch = microBatch
    this.firstRow = microBatch.rows
    this.#onSettled = onSettled
  }

  get lastOffset(): number {
    return offsetOf(this.batch, this.indexes.at(-1)!)
  }

  settled(): void {
    this.done = true
    if (this.abandoned) this.microBatch.letGo()
    else this.#onSettled()
  }
}
