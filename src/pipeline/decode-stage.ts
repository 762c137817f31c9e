import { Backoff } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import type { FeatureDecoder } from '../core/codec.ts'
import { asSluiceError } from '../core/errors.ts'
import { offsetOf } from '../core/record-batch.ts'
import type { MicroBatch } from './micro-batch.ts'
import { armOf, type ServedVersion, type Serving, versionOf } from './serving.ts'
import { Part, type TaskRun } from './task-run.ts'
import type { Trouble } from './trouble.ts'

export interface DecodeStageOptions {
  readonly serving: (offset: number) => Serving
  readonly clock: Clock
  readonly trouble: Trouble
  /** Aborted when the task ends. */
  readonly stop: AbortSignal
  /** The record at the head can be decoded now: the schema that it waited for is there, or it is another version's turn. */
  readonly onReady: () => void
  /** Records were decoded for the version that answers them; their batch is still held. */
  readonly onDecoded: (part: Part) => void
}

/** Decodes the records of a task into rows of micro-batches, in the order of the input. */
export class DecodeStage {
  readonly #options: DecodeStageOptions

  constructor(options: DecodeStageOptions) {
    this.#options = options
  }

  /** As `RowSource.pack`, for a micro-batch of `version`: returns whether more of its records could be decoded now. */
  pack(run: TaskRun, version: ServedVersion, microBatch: MicroBatch): boolean {
    while (run.undecoded.length > 0 && run.blockedOn === undefined) {
      if (this.versionOfHead(run) !== version) {
        this.#options.onReady()
        return false
      }
      if (microBatch.full) return true
      this.#packBatch(run, microBatch)
    }
    return false
  }

  /** Which version answers the next record to decode. */
  versionOfHead(run: TaskRun): ServedVersion | undefined {
    const head = run.undecoded[0]
    if (head === undefined) return undefined
    const serving = this.#options.serving(offsetOf(head.batch, head.cursor))
    return versionOf(serving, armOf(serving, head.batch, head.cursor))
  }

  /**
   * Decodes records of the batch at the head of the queue until it ends, the micro-batch is full, a schema is needed, or the
   * next one is for another arm, or another version answered it.
   */
  #packBatch(run: TaskRun, microBatch: MicroBatch): void {
    const queued = run.undecoded[0]!
    const { batch } = queued
    const serving = this.#options.serving(offsetOf(batch, queued.cursor))
    const outlasts = offsetOf(batch, batch.count - 1) >= serving.until
    const arm = armOf(serving, batch, queued.cursor)
    const { decoder } = versionOf(serving, arm)
    const { inputs } = microBatch.slot
    const part = new Part(run, queued, microBatch.rows, serving, arm)
    while (queued.cursor < batch.count && !microBatch.full) {
      if (serving.canary !== undefined && armOf(serving, batch, queued.cursor) !== arm) break
      if (outlasts && offsetOf(batch, queued.cursor) >= serving.until) break
      const outcome = decoder.decode(batch, queued.cursor, microBatch.rows, inputs)
      if (outcome === undefined) microBatch.rows++
      else if ('schemaId' in outcome) {
        run.block(outcome.schemaId)
        void this.#loadSchema(run, decoder, outcome.schemaId)
        break
      } else part.fault(queued.cursor, outcome)
      queued.cursor++
    }
    part.to = queued.cursor
    if (queued.cursor === batch.count) run.undecoded.shift()
    if (part.records === 0) return
    // First: a part that is settled at once lets go of its batch.
    this.#options.onDecoded(part)
    admit(run, part, microBatch)
  }

  /** Decoding of this partition waits; the batcher goes on with the others. Tries until the run is over. Never rejects. */
  async #loadSchema(run: TaskRun, decoder: FeatureDecoder, schemaId: number): Promise<void> {
    const { clock, trouble, stop, onReady } = this.#options
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
    onReady()
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
