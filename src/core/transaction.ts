import type { ComparedHeaders } from './comparison.ts'
import type { RecordFault, Stage } from './errors.ts'
import type { FetchedRecords, RecordBatch } from './record-batch.ts'
import type { TimelineEntry } from './timeline.ts'

/** The model version that made a prediction, as the headers name it. */
export interface ModelIdentity {
  readonly name: string
  readonly version: string
  readonly sha256: string
  /** `cpu`, `cuda:0`. */
  readonly provider: string
}

/** In what part a version answers: `model-arm` of the headers, which stable predictions do not have. */
export type Arm = 'stable' | 'canary' | 'shadow'

/** Where a task begins. */
export interface StartPosition {
  /** First offset to read. */
  readonly offset: number
  /** Whether `offset` was committed by the group before, rather than chosen by START_FROM. */
  readonly committed: boolean
  /** Where a replay ends: nothing is read from there on. Left out, it goes on for ever. */
  readonly end?: number | undefined
}

/** Gathers the output of one partition task until its next transaction. Records are written in input order. */
export interface OutputWriter {
  /**
   * These versions answer the records that are written from now on. Called while nothing is written that was not taken for
   * a transaction; writes the entry where it is news.
   */
  serve(entry: TimelineEntry): void
  /** Whether predictions of shadows go anywhere: their topic is there. */
  readonly takesShadows: boolean
  /** A prediction for record `index` of `batch`: its key, timestamp and headers, and `length` bytes of `value`; more headers where it was compared. */
  prediction(
    batch: RecordBatch,
    index: number,
    value: Uint8Array,
    length: number,
    model: ModelIdentity,
    arm: Arm,
    compared?: ComparedHeaders,
  ): void
  /** The record itself, untouched, with headers that say what is wrong with it. */
  deadLetter(batch: RecordBatch, index: number, fault: RecordFault, stage: Stage, model?: ModelIdentity): void
  /** Records written since the last commit took them. */
  readonly records: number
}

/**
 * The transactions of one input partition (exactly-once), or what stands in for them (at-least-once). One instance for
 * each assignment, never reused: its creation and `initialise` are what fences a former owner.
 */
export interface Committer {
  readonly output: OutputWriter
  /**
   * Fences every former owner of the partition and ends its open transaction, and only then reads the committed offset.
   * Throws away all that was written and not committed. May be called again, after any failure, to start over.
   * @throws SluiceError with response `halt` when the committed offset cannot be read from.
   */
  initialise(): Promise<StartPosition>
  /**
   * One transaction: everything written to `output` until this call, and `nextOffset` as the partition's offset.
   * What is written while it runs belongs to the next one. Never called twice at once.
   * @throws FencedError when the partition has another owner: drop the task quietly.
   * @throws SluiceError otherwise: nothing may be retried with this state; `initialise` comes next.
   */
  commit(nextOffset: number): Promise<void>
  /** Lets go of the producer. Never throws. */
  close(): Promise<void>
}

/** Somebody else owns the partition now. No failure: the former owner drops its task quietly. */
export class FencedError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'FencedError'
  }
}

/** What a partition may still take. Both are positive; one batch may exceed them. */
export interface Room {
  readonly records: number
  /** Of memory, which is more than the bytes of a fetch where batches are compressed. */
  readonly bytes: number
}

/** A partition as the fetcher sees it. */
export interface FetchTarget {
  readonly topic: string
  readonly partition: number
  /** The offset to read next, or undefined while nothing is wanted (not running, or enough in flight). */
  readonly position: number | undefined
  /** How much is wanted from there: what exceeds it is fetched again when there is room. Undefined when `position` is. */
  readonly room: Room | undefined
  /** Nothing more is to be asked for just now; what was asked for before is welcome. */
  readonly held?: boolean
  /** Takes what was fetched from exactly `position`, be it nothing; synchronous, keeps the batches. */
  accept(fetched: FetchedRecords): void
  /** The position cannot be read (out of range, a corrupt batch): the task decides. */
  fail(error: Error): void
}
