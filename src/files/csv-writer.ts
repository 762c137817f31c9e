import { stringify } from 'csv-stringify/sync'
import type { ByteSink, OutputColumn, PredictionWriter } from '../core/files.ts'
import type { OutputSpec } from '../core/model.ts'
import { cellText } from '../core/plain-json.ts'
import { isScalar, unpackRow } from '../core/rows.ts'
import type { TensorColumn } from '../core/tensor.ts'

/** Rows that become text at once. */
const ROWS_AT_ONCE = 512
/** Of a cell that waits. */
const CELL_BYTES = 16

interface CsvLayout {
  /** Name of the row's number; undefined where it is left out. */
  readonly number: string | undefined
  readonly kept: readonly OutputColumn[]
  readonly outputs: readonly OutputSpec[]
}

/** Writes CSV with a header row. An array of a prediction is a column for each element, `name[0]`, `name[1]`, … */
export class CsvWriter implements PredictionWriter {
  readonly #layout: CsvLayout
  readonly #sink: ByteSink
  #rows: string[][] = []

  constructor(sink: ByteSink, layout: CsvLayout) {
    this.#layout = layout
    this.#sink = sink
    const { number, kept, outputs } = layout
    const header = [
      ...(number === undefined ? [] : [number]),
      ...kept.map(({ name }) => name),
      ...outputs.flatMap(names),
    ]
    sink.append(Buffer.from(stringify([header])))
  }

  get pending(): number {
    return this.#sink.pending + this.#rows.length * CELL_BYTES * (this.#rows[0]?.length ?? 0)
  }

  write(number: number, kept: readonly unknown[], row: number, outputs: readonly TensorColumn[]): void {
    const cells = this.#layout.number === undefined ? [] : [String(number)]
    for (const value of kept) cells.push(cellText(value))
    const prediction = unpackRow(this.#layout.outputs, outputs, row)
    for (const value of Object.values(prediction)) {
      if (Array.isArray(value)) for (const element of value) cells.push(cellText(element))
      else cells.push(cellText(value))
    }
    if (this.#rows.push(cells) >= ROWS_AT_ONCE) this.#give()
  }

  async flush(): Promise<void> {
    this.#give()
    await this.#sink.flush()
  }

  finish(): Promise<void> {
    return this.flush()
  }

  #give(): void {
    if (this.#rows.length > 0) this.#sink.append(Buffer.from(stringify(this.#rows)))
    this.#rows = []
  }
}

function names(output: OutputSpec): string[] {
  const { field, width } = output
  return isScalar(output) ? [field] : Array.from({ length: width }, (_, e) => `${field}[${e}]`)
}
