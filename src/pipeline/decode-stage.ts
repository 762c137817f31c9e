import { Backoff } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import type { FeatureDecoder } from '../core/codec.ts'
import { asSluiceError } from '../core/errors.ts'
import type { MicroBatch } from './micro-batch.ts'
import { Part, type TaskRun } from './task-run.ts'
import type { Trouble } from './trouble.ts'

export interface DecodeStageOptions {
  readonly decoder: FeatureDecoder
  readonly clock: Clock
  readonly trouble: Trouble
  /** Aborted when the task ends. */
  readonly stop: AbortSignal
  /** The schema that decoding waited for is there. */
  readonly onUnblocked: () => void
}

/** Decodes the records of a task into rows of micro-batches, in the order of the input. */
export class DecodeStage {
  readonly #options: DecodeStageOptions

  constructor(options: DecodeStageOptions) {
    this.#options = options
  }

  /** As `RowSource.pack`: returns whether more records could be decoded now. */
  pack(run: TaskRun, microBatch: MicroBatch): boolean {
    while (run.undecoded.length > 0 && run.blockedOn === undefined) {
      if (microBatch.full) return true
      this.#packBatch(run, microBatch)
    }
    return false
  }

  /** Decodes records of the batch at the head of the queue until it ends, the micro-batch is full, or a schema is needed. */
  #packBatch(run: TaskRun, microBatch: MicroBatch): void {
    const queued = run.undecoded[0]!
    const { batch } = queued
    const { decoder } = this.#options
    const { inputs } = microBatch.slot
    const part = new Part(run, queued, microBatch.rows)
    while (queued.cursor < batch.count && !microBatch.full) {
      const outcome = decoder.decode(batch, queued.cursor, microBatch.rows, inputs)
      if (outcome === undefined) microBatch.rows++
      else if ('schemaId' in outcome) {
        run.block(outcome.schemaId)
        void this.#loadSchema(run, outcome.schemaId)
        break
      } else part.fault(queued.cursor, outcome)
      queued.cursor++
    }
    part.to = queued.cursor
    if (queued.cursor === batch.count) run.undecoded.shift()
    if (part.records > 0) admit(run, part, microBatch)
  }

  /** Decoding of this partition waits; the batcher goes on with the others. Tries until the run is over. Never rejects. */
  async #loadSchema(run: TaskRun, schemaId: number): Promise<void> {
    const { decoder, clock, trouble, stop, onUnblocked } = this.#options
    const backoff = new Backoff(100, 5_000)
    for (;;) {
      try {
        await decoder.load(schemaId)
        break
      } catch (error) {
        if (run.over || stop.aborted) return
        trouble.met('decode', asSluiceError(error, 'registry-unreachable'))
        await clock.sleep(backoff.next(), stop)
      }
    }
    if (run.over) return
    trouble.passed('decode')
    run.unblock()
    onUnblocked()
  }
}

/** A part without rows, all of its records being bad, is settled at once: there is nothing to wait for. */
function admit(run: TaskRun, part: Part, microBatch: MicroBatch): void {
  run.parts.push(part)
  if (microBatch.rows > part.firstRow) {
    part.microBatch = microBatch
    microBatch.hold(part)
  } else part.settled()
}
