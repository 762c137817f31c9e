import type { SluiceError } from './errors.ts'
import type { TensorColumn } from './tensor.ts'

/** Rows that somebody waits for, and that no log keeps: a request of the inference API. */
export interface RowRequest {
  readonly rows: number
  /** In the clock's milliseconds; if no session has begun its rows by then, it is refused. */
  readonly deadline: number
  /** Nobody waits for the answer any more. */
  readonly abandoned: boolean
  /** Copies its rows [from, from + count) into the rows of `inputs` that begin at `at`. */
  pack(inputs: readonly TensorColumn[], from: number, count: number, at: number): void
  /** Those rows have run: reads them from the rows of `outputs` that begin at `at`, which are others' afterwards. */
  ran(outputs: readonly TensorColumn[], from: number, count: number, at: number): void
  /** All rows have run. Called once, unless `refuse` is. */
  done(): void
  /** It is not answered. Called once, unless `done` is. */
  refuse(error: SluiceError): void
}
