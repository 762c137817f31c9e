import type { RecordFault } from './errors.ts'
import type { ElementType, TensorColumn } from './tensor.ts'

/** What the folders that read, score and write files agree on. */

/** A column of a file. `any` is what has no single type: objects, unions, whatever JSON may hold. */
export interface FileColumn {
  readonly name: string
  readonly type: ElementType | 'any'
  /** Whether its values are arrays of `type`. */
  readonly array: boolean
}

/** A row as plain values by column name; its text where it could not be taken apart, null where not even that is known. */
export type FileRow = Readonly<Record<string, unknown>> | string | null

/** Consecutive rows of a file that were read and not yet scored. */
export interface RowChunk {
  readonly rows: number
  /** Bytes that it keeps from being used otherwise. */
  readonly memory: number
  /**
   * Decodes row `index` into row `row` of `inputs` (in the order of the model's inputs). Each index once, in order.
   * Returns undefined when the row is complete, or what is wrong with it: then the row's content is undefined, and the
   * same row may be packed again. Never throws for anything that a file can contain.
   */
  decode(index: number, row: number, inputs: readonly TensorColumn[]): RecordFault | undefined
  /** A row that was decoded, well or not, with all its columns. */
  values(index: number): FileRow
  /** These columns of a row that was decoded well; undefined for what it does not have. */
  pick(index: number, names: readonly string[]): readonly unknown[]
  /** Gives its memory back; it is not touched afterwards. */
  release(): void
}

/** Reads a file from its beginning to its end. */
export interface RowReader {
  readonly columns: readonly FileColumn[]
  /** Bytes of the file, and how many of them have been read. */
  readonly size: number
  readonly position: number
  /**
   * The next rows, undefined after the last.
   * @throws SluiceError `file-invalid` when the file is damaged beyond single rows, `file-unusable` when it cannot be read
   */
  next(): Promise<RowChunk | undefined>
  close(): Promise<void>
}

/** Decodes single records of a binary file that lie one behind the other. */
export interface RecordDecoder {
  readonly columns: readonly FileColumn[]
  /** Where the record that was decoded last ends; -1 where that cannot be told, because its bytes make no sense. */
  readonly end: number
  /** Decodes the record at `from`, which ends at `to` or before. */
  decode(bytes: Buffer, from: number, to: number, row: number, inputs: readonly TensorColumn[]): RecordFault | undefined
  /** All its fields, or null where they cannot be read. */
  values(bytes: Buffer, from: number, to: number): FileRow
  pick(bytes: Buffer, from: number, to: number, names: readonly string[]): readonly unknown[]
}

/** Decodes single records of a file of lines. */
export interface LineDecoder {
  decodeLine(
    bytes: Buffer,
    from: number,
    to: number,
    row: number,
    inputs: readonly TensorColumn[],
  ): RecordFault | undefined
}

/** A column of the output: the row's number, an input column that is kept, or a field of the prediction. */
export interface OutputColumn extends FileColumn {
  readonly nullable: boolean
}

/** Encodes rows of the output as bytes: `row` is the place of the prediction in `outputs`. */
export interface FileRowEncoder {
  /** The most bytes that the row can take. */
  maxBytes(kept: readonly unknown[], row: number, outputs: readonly TensorColumn[]): number
  /** Writes it at `at` into `target`, which has room for `maxBytes`; returns the position after it. */
  encode(
    number: number,
    kept: readonly unknown[],
    row: number,
    outputs: readonly TensorColumn[],
    target: Buffer,
    at: number,
  ): number
}

/** Where bytes of a file go. */
export interface ByteSink {
  /** Bytes that were appended and not yet written. */
  readonly pending: number
  /** Takes `bytes`, which nobody changes afterwards. */
  append(bytes: Uint8Array): void
  /** @throws SluiceError `file-unusable` when they cannot be written */
  flush(): Promise<void>
}

/** Writes predictions, in the order of their rows. */
export interface PredictionWriter {
  /** Bytes that wait, in the writer and in its sink. */
  readonly pending: number
  write(number: number, kept: readonly unknown[], row: number, outputs: readonly TensorColumn[]): void
  flush(): Promise<void>
  /** Writes what is left, and what a file of this format ends with. */
  finish(): Promise<void>
}
