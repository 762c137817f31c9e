import type { RecordFault, Stage } from '../../src/core/errors.ts'
import { offsetOf, type RecordBatch } from '../../src/core/record-batch.ts'
import type { TimelineEntry } from '../../src/core/timeline.ts'
import type { Arm, Committer, ModelIdentity, OutputWriter, StartPosition } from '../../src/core/transaction.ts'
import { predictionFor } from './fake-pool.ts'

/** One output record: of which input, and what it says. */
export interface Written {
  readonly offset: number
  /** The predicted number as text, or the code of a dead letter. */
  readonly said: string
  readonly stage?: Stage
  readonly model?: ModelIdentity | undefined
}

/** The prediction that the record at `offset` must become. */
export const prediction = (offset: number) => ({ offset, said: String(predictionFor(offset)) })

/** Keeps what was written until it is taken. */
export class FakeOutput implements OutputWriter {
  takesShadows = true
  #written: Written[] = []
  /** What was announced, in order. */
  readonly served: { offset: number; version: string }[] = []
  /** Every prediction that was written, by whom, in order. */
  readonly predicted: { offset: number; said: string; version: string; arm: Arm }[] = []

  get records(): number {
    return this.#written.length
  }

  serve({ offset, stable: { version } }: TimelineEntry): void {
    if (this.#written.length > 0) throw new Error('another serving within a transaction')
    this.served.push({ offset, version })
  }

  prediction(
    batch: RecordBatch,
    index: number,
    value: Uint8Array,
    length: number,
    model: ModelIdentity,
    arm: Arm,
  ): void {
    const said = Buffer.from(value.subarray(0, length)).toString()
    const written = { offset: offsetOf(batch, index), said }
    this.predicted.push({ ...written, version: model.version, arm })
    if (arm !== 'shadow') this.#written.push(written)
  }

  deadLetter(batch: RecordBatch, index: number, fault: RecordFault, stage: Stage, model?: ModelIdentity): void {
    this.#written.push({ offset: offsetOf(batch, index), said: fault.code, stage, model })
  }

  take(): Written[] {
    return this.#written.splice(0)
  }
}

/** A transaction under way, until the test ends it. */
export interface FakeCommit {
  readonly nextOffset: number
  readonly records: readonly Written[]
  succeed(): void
  fail(error: Error): void
}

/** A committer whose transactions and initialisations end when the test says so. Starts where it has committed. */
export class FakeCommitter implements Committer {
  readonly output = new FakeOutput()
  /** Transactions that succeeded. */
  readonly committed: { readonly nextOffset: number; readonly records: readonly Written[] }[] = []
  /** The transaction under way. */
  underWay: FakeCommit | undefined
  /** What the next initialisations do first; throw to fail them. */
  readonly beforeStart: (() => Promise<void> | void)[] = []
  initialisations = 0
  closed = false
  start: number
  /** Where the task is to end. */
  end: number | undefined

  constructor(start = 0) {
    this.start = start
  }

  async initialise(): Promise<StartPosition> {
    this.initialisations++
    this.output.take()
    await this.beforeStart.shift()?.()
    return { offset: this.start, committed: true, end: this.end }
  }

  commit(nextOffset: number): Promise<void> {
    if (this.underWay !== undefined) throw new Error('two transactions at once')
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const records = this.output.take()
    this.underWay = {
      nextOffset,
      records,
      succeed: () => {
        this.underWay = undefined
        this.start = nextOffset
        this.committed.push({ nextOffset, records })
        resolve()
      },
      fail: error => {
        this.underWay = undefined
        reject(error)
      },
    }
    return promise
  }

  async close(): Promise<void> {
    this.closed = true
  }

  /** All that was committed, in order. */
  get records(): Written[] {
    return this.committed.flatMap(({ records }) => records)
  }
}
