import type { PredictionEncoder } from '../core/codec.ts'
import type { Comparison } from '../core/comparison.ts'
import { ERRORS, type RecordFault } from '../core/errors.ts'
import { offsetOf, type RecordBatch } from '../core/record-batch.ts'
import type { Arm, OutputWriter } from '../core/transaction.ts'
import type { MicroBatch } from './micro-batch.ts'
import type { Part } from './task-run.ts'

export interface OutputStage {
  readonly output: OutputWriter
  /** The largest value of a prediction. */
  readonly maxOutputBytes: number
  readonly comparison?: Comparison | undefined
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
  return emit(part.queued.batch, index, row, part.microBatch!, part.version.encoder, part.arm, stage)
}

/** The same for a row of a shadow: why there is none is for its counters. */
export function emitShadowRow(
  batch: RecordBatch,
  index: number,
  row: number,
  microBatch: MicroBatch,
  encoder: PredictionEncoder,
  stage: OutputStage,
): RecordFault | undefined {
  return emit(batch, index, row, microBatch, encoder, 'shadow', stage)
}

function emit(
  batch: RecordBatch,
  index: number,
  row: number,
  { slot, faults, model }: MicroBatch,
  encoder: PredictionEncoder,
  arm: Arm,
  { output, maxOutputBytes, comparison }: OutputStage,
): RecordFault | undefined {
  const refused = faults?.get(row)
  if (refused !== undefined) return refused
  const needed = encoder.maxBytes(row, slot.outputs)
  if (scratch.length < needed) scratch = Buffer.allocUnsafe(needed * 2)
  const length = encoder.encode(row, slot.outputs, scratch, 0)
  if (length > maxOutputBytes) {
    const message = `The prediction has ${length} bytes; MAX_OUTPUT_BYTES allows ${maxOutputBytes}.`
    return { code: 'prediction-too-large', message }
  }
  const compared = comparison?.compare(offsetOf(batch, index), model!.version, slot.outputs, row)
  output.prediction(batch, index, scratch, length, model!, arm, compared)
  return undefined
}
