import type { RecordFault } from './errors.ts'
import type { RecordBatch } from './record-batch.ts'
import type { TensorColumn } from './tensor.ts'

/** The schema that a record needs is not loaded yet. */
export interface SchemaNeeded {
  readonly schemaId: number
}

/** Decodes the values of records into rows of input tensors. One for each model version; synchronous, no allocation. */
export interface FeatureDecoder {
  /**
   * Decodes record `index` of `batch` into row `row` of `inputs` (in the order of the model's inputs).
   * Returns undefined when the row is complete; a fault when the record is bad, or the schema to load first: then the
   * row's content is undefined, and the same row may be packed again. Never throws for anything a record can contain.
   */
  decode(
    batch: RecordBatch,
    index: number,
    row: number,
    inputs: readonly TensorColumn[],
  ): RecordFault | SchemaNeeded | undefined

  /**
   * Loads a schema, so that `decode` can go on: found, or known to be unknown (then `decode` gives the fault).
   * @throws SluiceError `registry-unreachable` when that cannot be told now.
   */
  load(schemaId: number): Promise<void>
}

/** Encodes rows of output tensors as values of prediction records. */
export interface PredictionEncoder {
  /** The most bytes that row `row` can take. */
  maxBytes(row: number, outputs: readonly TensorColumn[]): number
  /** Writes row `row` at `at` into `target`, which has room for `maxBytes`; returns the position after it. */
  encode(row: number, outputs: readonly TensorColumn[], target: Buffer, at: number): number
}
