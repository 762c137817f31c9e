import type { TensorColumn } from './tensor.ts'

/** Compares predictions of one input partition with what was said of the same records before. */
export interface Comparison {
  /**
   * Records from `offset` on will be compared, whatever was before.
   * @param onMore is told when more is known of what was said before
   */
  begin(offset: number, onMore: () => void): void
  /**
   * Whether all is known that was said of records from offset `from` to before `to`; if not, it will be. What was said of records
   * below `from` is not asked for any more.
   */
  isReady(from: number, to: number): boolean
  /**
   * Compares row `row` of `outputs`, which `version` says of the record at `offset`; offsets rise.
   * @returns headers that say what came of it; undefined where nothing was said of the record before
   */
  compare(offset: number, version: string, outputs: readonly TensorColumn[], row: number): ComparedHeaders | undefined
  /** Nothing is compared any more. */
  close(): void
}

/** Headers by name, in order. */
export type ComparedHeaders = Readonly<Record<string, string>>

/** In `ComparedHeaders`. */
export const COMPARED = { version: 'live-model-version', prediction: 'live-prediction', differs: 'differs' } as const
