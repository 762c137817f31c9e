import type { RecordFault } from '../core/errors.ts'
import { type FetchedRecords, offsetOf, ownCopy, type RecordBatch } from '../core/record-batch.ts'
import type { Arm } from '../core/transaction.ts'
import type { CommitLoop } from './commit-loop.ts'
import type { BatchPart, MicroBatch } from './micro-batch.ts'
import { type ServedVersion, type Serving, versionOf } from './serving.ts'

/** A fetched batch on its way through the task. */
export interface QueuedBatch {
  batch: RecordBatch
  /** The next record to decode. */
  cursor: number
  /** Where the partition stands once all its records are settled: past control records that follow it, too. */
  endOffset: number
}

/** Consecutive records of one batch that one version answers and that were decoded into the same micro-batch, good and bad. */
export class Part implements BatchPart {
  readonly queued: QueuedBatch
  /** Records [from, to) of the batch. */
  readonly from: number
  to: number
  readonly firstRow: number
  /** What was in effect when they were decoded. */
  readonly serving: Serving
  readonly arm: Exclude<Arm, 'shadow'>
  microBatch: MicroBatch | undefined
  /** Records that could not be decoded, by index; they have no row. */
  faults: Map<number, RecordFault> | undefined
  done = false
  readonly #run: TaskRun

  constructor(run: TaskRun, queued: QueuedBatch, firstRow: number, serving: Serving, arm: Exclude<Arm, 'shadow'>) {
    this.#run = run
    this.queued = queued
    this.serving = serving
    this.arm = arm
    this.from = queued.cursor
    this.to = queued.cursor
    this.firstRow = firstRow
  }

  get version(): ServedVersion {
    return versionOf(this.serving, this.arm)
  }

  get records(): number {
    return this.to - this.from
  }

  /** Whether the batch is done with once this part is out. */
  get endsBatch(): boolean {
    return this.to === this.queued.batch.count
  }

  /** The offset that is committed once this part is out. */
  get endOffset(): number {
    const { batch, endOffset } = this.queued
    return this.endsBatch ? endOffset : offsetOf(batch, this.to - 1) + 1
  }

  fault(index: number, fault: RecordFault): void {
    this.faults ??= new Map()
    this.faults.set(index, fault)
  }

  settled(): void {
    this.done = true
    if (this.#run.over) this.microBatch?.letGo()
    else this.#run.settled()
  }
}

/**
 * What a task holds between two initialisations of its producer. A re-initialisation throws the whole object away, and
 * with it every buffer and result of before; results that arrive later find that their run is over and are dropped.
 */
export class TaskRun {
  /** Fetched, not yet decoded; in offset order. */
  readonly undecoded: QueuedBatch[] = []
  /** Decoded, in offset order; the head leaves when it is done, so that output keeps the order of input. */
  readonly parts: Part[] = []
  over = false
  /** What answers the records that were written last; undefined before the first. */
  emitting: Serving | undefined
  /** The first record that it answered here. */
  emittingFrom = 0
  /** Next offset to fetch. */
  position: number
  /** Of what has settled. */
  readonly commits: CommitLoop
  #blockedOn: number | undefined
  readonly #onSettled: () => void

  /** @param onSettled is told when a part is done, while the run lasts */
  constructor(start: number, commits: CommitLoop, onSettled: () => void) {
    this.position = start
    this.commits = commits
    this.#onSettled = onSettled
  }

  /** Takes a fetch; its control records count as settled with the record before them. */
  queue(fetched: FetchedRecords): number {
    let records = 0
    for (const came of fetched.batches) {
      const batch = this.#blockedOn === undefined ? came : ownCopy(came)
      this.undecoded.push({ batch, cursor: 0, endOffset: offsetOf(batch, batch.count - 1) + 1 })
      records += batch.count
      this.commits.holding.take(batch)
    }
    this.position = fetched.nextOffset
    const last = this.undecoded.at(-1) ?? this.parts.at(-1)?.queued
    if (last === undefined) this.commits.skip(fetched.nextOffset)
    else last.endOffset = fetched.nextOffset
    return records
  }

  /** The schema that decoding waits for. */
  get blockedOn(): number | undefined {
    return this.#blockedOn
  }

  /** That may take long: memory that is lent to others as well gets free. */
  block(schemaId: number): void {
    this.#blockedOn = schemaId
    for (const queued of this.undecoded) queued.batch = ownCopy(queued.batch)
  }

  unblock(): void {
    this.#blockedOn = undefined
  }

  settled(): void {
    this.#onSettled()
  }

  /** Ends the run: its micro-batches are let go of, its results will be ignored. */
  abandon(): void {
    this.over = true
    this.undecoded.length = 0
    for (const part of this.parts.splice(0)) {
      if (part.done) part.microBatch?.letGo()
    }
    this.commits.close()
  }
}
