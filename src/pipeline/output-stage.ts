import type { PredictionEncoder } from '../core/codec.ts'
import { ERRORS, type RecordFault } from '../core/errors.ts'
import type { OutputWriter } from '../core/transaction.ts'
import type { Part } from './task-run.ts'

export interface OutputStage {
  readonly output: OutputWriter
  readonly encoder: PredictionEncoder
  /** The largest value of a prediction. */
  readonly maxOutputBytes: number
}

export interface PartCounts {
  predictions: number
  /** A code for each dead letter. */
  readonly deadLetters: string[]
}

/** Values are encoded here and copied into the output batch at once; one thread, so one buffer serves all. */
let scratch = Buffer.allocUnsafe(4096)

/** Writes every record of a part to the output, in order: a prediction for each good row, a dead letter for the rest. */
export function emitPart(part: Part, stage: OutputStage): PartCounts {
  const counts: PartCounts = { predictions: 0, deadLetters: [] }
  let row = part.firstRow
  for (let index = part.from; index < part.to; index++) {
    const undecodable = part.faults?.get(index)
    const fault = undecodable ?? emitRow(part, index, row, stage)
    if (undecodable === undefined) row++
    if (fault === undefined) counts.predictions++
    else {
      const reachedModel = undecodable === undefined ? part.microBatch!.model : undefined
      stage.output.deadLetter(part.queued.batch, index, fault, ERRORS[fault.code].stage, reachedModel)
      counts.deadLetters.push(fault.code)
    }
  }
  return counts
}

/** Writes the prediction of a row, or says why there is none. */
function emitRow(part: Part, index: number, row: number, stage: OutputStage): RecordFault | undefined {
  const microBatch = part.microBatch!
  const refused = microBatch.faults?.get(row)
  if (refused !== undefined) return refused
  const { outputs } = microBatch.slot
  const needed = stage.encoder.maxBytes(row, outputs)
  if (scratch.length < needed) scratch = Buffer.allocUnsafe(needed * 2)
  const length = stage.encoder.encode(row, outputs, scratch, 0)
  if (length > stage.maxOutputBytes) {
    const message = `The prediction has ${length} bytes; MAX_OUTPUT_BYTES allows ${stage.maxOutputBytes}.`
    return { code: 'prediction-too-large', message }
  }
  stage.output.prediction(part.queued.batch, index, scratch, length, microBatch.model!)
  return undefined
}
