import type { AbortedTransaction } from '../../../src/kafka/aborted-transactions.ts'
import { encodeMarker } from './batch-encoder.ts'
import { ErrorCode } from './error-code.ts'
import { LeaderEpochs } from './leader-epochs.ts'
import { type LogBatch, maxTimestamp, placeBatch, type StoredRecord, storedRecords } from './log-batch.ts'
import { ProducerState } from './producer-state.ts'

export const READ_COMMITTED = 1
export type Isolation = 0 | 1

export interface LogRead {
  readonly errorCode: ErrorCode
  readonly records: Buffer
  readonly aborted: readonly AbortedTransaction[]
}

interface AbortedRange extends AbortedTransaction {
  /** Offset of the abort marker. */
  readonly lastOffset: number
}

/**
 * One partition: its batches, what it knows of producers, and the index of aborted transactions. Replicas are always in
 * sync, so the high watermark is the end of the log.
 *
 *   start ── records that can be read ── stable ── first open transaction ── end
 */
export class PartitionLog {
  #batches: LogBatch[] = []
  #start = 0
  #end = 0
  #producers = new Map<bigint, ProducerState>()
  #aborted: AbortedRange[] = []
  readonly epochs = new LeaderEpochs()

  get start(): number {
    return this.#start
  }

  get end(): number {
    return this.#end
  }

  /** Last stable offset: the first record of the oldest open transaction. */
  get stable(): number {
    let stable = this.#end
    for (const { transactionStart } of this.#producers.values()) {
      if (transactionStart !== undefined && transactionStart < stable) stable = transactionStart
    }
    return Math.max(stable, this.#start)
  }

  /** Whether the producer has records here that no marker has ended yet. */
  hasOngoingTransaction(producerId: bigint, epoch: number): boolean {
    const state = this.#producers.get(producerId)
    return state !== undefined && state.transactionStart !== undefined && state.epoch === epoch
  }

  /** The same, whatever the epoch. */
  isOpen(producerId: bigint): boolean {
    return this.#producers.get(producerId)?.transactionStart !== undefined
  }

  /** Before a batch is looked up in its producer's transaction: it may be the first of it here. */
  verify(batch: LogBatch): void {
    this.#stateOf(batch.producerId).verify(batch)
  }

  /** Appends a producer's batch; one that is here already is answered as the first time. */
  append(sent: Buffer): { readonly errorCode: ErrorCode; readonly baseOffset: number } {
    const batch = placeBatch(sent, this.#end, this.epochs.current)
    if (batch.producerId >= 0n) {
      const state = this.#producers.get(batch.producerId) ?? new ProducerState()
      const duplicate = state.duplicateOf(batch)
      if (duplicate !== undefined) return { errorCode: ErrorCode.NONE, baseOffset: duplicate.baseOffset }
      const errorCode = state.check(batch)
      if (errorCode !== ErrorCode.NONE) return { errorCode, baseOffset: -1 }
    }
    this.#add(batch)
    return { errorCode: ErrorCode.NONE, baseOffset: batch.baseOffset }
  }

  /** Ends the producer's transaction here. */
  appendMarker(producerId: bigint, epoch: number, committed: boolean, wallTime: number): void {
    const bytes = encodeMarker(producerId, epoch, committed, wallTime)
    this.#add(placeBatch(bytes, this.#end, this.epochs.current, committed ? 'commit' : 'abort'))
  }

  /** Batches from the one that holds `position` on, as many as fit; one more than fits if `atLeastOne`. */
  read(position: number, isolation: Isolation, maxBytes: number, atLeastOne: boolean): LogRead {
    if (position < this.#start || position > this.#end) {
      return { errorCode: ErrorCode.OFFSET_OUT_OF_RANGE, records: Buffer.alloc(0), aborted: [] }
    }
    const limit = isolation === READ_COMMITTED ? this.stable : this.#end
    const taken: Buffer[] = []
    let bytes = 0
    let upTo = position
    for (let at = this.#indexOf(position); at < this.#batches.length; at++) {
      const batch = this.#batches[at]!
      if (batch.baseOffset >= limit) break
      if (bytes + batch.bytes.length > maxBytes && (taken.length > 0 || !atLeastOne)) break
      taken.push(batch.bytes)
      bytes += batch.bytes.length
      upTo = batch.lastOffset + 1
    }
    const aborted = isolation === READ_COMMITTED ? this.#abortedWithin(position, upTo) : []
    return { errorCode: ErrorCode.NONE, records: Buffer.concat(taken), aborted }
  }

  /** Offset and time of the first record at or after a time, among what `isolation` may see. */
  offsetForTime(time: number, isolation: Isolation): { offset: number; timestamp: number } | undefined {
    const limit = isolation === READ_COMMITTED ? this.stable : this.#end
    for (const batch of this.#batches) {
      if (batch.baseOffset >= limit) return undefined
      if (batch.marker !== undefined || maxTimestamp(batch) < time) continue
      const found = storedRecords(batch, this.#start).find(({ timestamp }) => timestamp >= time)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** The truth: what a read_committed reader sees from the start of the log. */
  committed(): StoredRecord[] {
    const { stable } = this
    const open = (batch: LogBatch) => batch.baseOffset >= stable
    const aborted = (batch: LogBatch) =>
      batch.transactional &&
      this.#aborted.some(
        ({ producerId, firstOffset, lastOffset }) =>
          producerId === batch.producerId && firstOffset <= batch.baseOffset && batch.lastOffset <= lastOffset,
      )
    return this.#batches
      .filter(batch => batch.marker === undefined && !open(batch) && !aborted(batch))
      .flatMap(batch => storedRecords(batch, this.#start))
  }

  /** Moves the start of the log; never back. */
  deleteBefore(offset: number): void {
    this.#start = Math.max(this.#start, Math.min(offset, this.#end))
    this.#batches = this.#batches.filter(batch => batch.lastOffset >= this.#start)
  }

  /** Forgets the batches from that of `offset` on, and what they said of producers, as an unclean leader election does. */
  truncate(offset: number): void {
    const kept = this.#batches.filter(batch => batch.lastOffset < offset)
    this.#start = Math.min(this.#start, offset)
    this.#producers = new Map()
    this.#aborted = []
    this.#batches = []
    this.#end = this.#start
    for (const batch of kept) this.#add(batch)
    this.epochs.begin(this.#end)
  }

  #add(batch: LogBatch): void {
    this.#batches.push(batch)
    this.#end = batch.lastOffset + 1
    if (batch.producerId < 0n) return
    const state = this.#stateOf(batch.producerId)
    if (batch.marker === undefined) {
      state.appended(batch)
      return
    }
    if (batch.marker === 'abort' && state.transactionStart !== undefined) {
      const { producerId, lastOffset } = batch
      this.#aborted.push({ producerId, firstOffset: state.transactionStart, lastOffset })
    }
    state.ended(batch.producerEpoch)
  }

  #stateOf(producerId: bigint): ProducerState {
    const known = this.#producers.get(producerId)
    if (known !== undefined) return known
    const state = new ProducerState()
    this.#producers.set(producerId, state)
    return state
  }

  /** Index of the first batch that ends at or after `offset`. */
  #indexOf(offset: number): number {
    let low = 0
    let high = this.#batches.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#batches[middle]!.lastOffset < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  #abortedWithin(from: number, to: number): AbortedTransaction[] {
    return this.#aborted
      .filter(({ firstOffset, lastOffset }) => lastOffset >= from && firstOffset < to)
      .map(({ producerId, firstOffset }) => ({ producerId, firstOffset }))
  }
}
