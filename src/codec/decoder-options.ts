import type { RecordFault } from '../core/errors.ts'
import type { InputSpec } from '../core/model.ts'

/** What every decoder has to know. */
export interface DecoderOptions {
  /** The model's inputs; columns come in the same order. */
  readonly inputs: readonly InputSpec[]
  /** Whether NaN and infinities may reach the model. */
  readonly allowNonFinite: boolean
  /** Larger values are refused before they are looked at. */
  readonly maxRecordBytes: number
}

/** The faults that do not depend on the format. `length` is that of the value, -1 for null. */
export function checkLength(length: number, maxRecordBytes: number): RecordFault | undefined {
  if (length < 0) return { code: 'null-value', message: 'the record has no value; expected features' }
  if (length <= maxRecordBytes) return undefined
  return { code: 'record-too-large', message: `the value has ${length} bytes; expected at most ${maxRecordBytes}` }
}
