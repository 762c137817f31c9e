import { readFileSync } from 'node:fs'

/**
 * The real exports of test/fixtures/exports as docs/exports.md shows them: what `node scripts/exports.ts` measured, kept in
 * docs/exports.json. No runtime is needed to make the page.
 */
export interface RecordedExports {
  /** Package and version that predicted. */
  readonly runtime: string
  readonly exports: readonly RecordedExport[]
}

export interface RecordedExport {
  readonly name: string
  /** Of model.onnx: another model was not measured. */
  readonly sha256: string
  /** Packages with versions. */
  readonly library: string
  readonly exporter: string
  readonly model: string
  readonly dataset: string
  /** Types and shapes, such as `float32[N,4]`. */
  readonly inputs: string
  readonly outputs: string
  readonly samples: number
  /** What no answer differs by more than, see `boundOf`; 0 where all are equal. */
  readonly atMost: number
  /** The largest floating-point answer of the library, for comparison; null where all answers are exact. */
  readonly largest: number | null
}

const FILE = new URL('../docs/exports.json', import.meta.url)

export function recordedExports(): RecordedExports {
  return JSON.parse(readFileSync(FILE, 'utf8')) as RecordedExports
}

/**
 * What `difference` does not exceed on other processors either, whose last bits may differ: 1, 2 or 5 times a power of
 * ten, the next one above twice the difference. 0 stays 0.
 */
export function boundOf(difference: number): number {
  if (difference === 0) return 0
  const exponent = Math.floor(Math.log10(2 * difference))
  const steps = [1, 2, 5, 10].map(step => Number(`${step}e${exponent}`))
  return steps.find(step => step >= 2 * difference) ?? steps.at(-1)!
}

/** Cells of a row of the page, without the name. */
export function exportRow(entry: RecordedExport): string[] {
  const { library, exporter, model, dataset, inputs, outputs, samples, atMost, largest } = entry
  const by = exporter === library ? 'its own export' : exporter
  const difference = atMost === 0 ? '0' : `≤ ${atMost.toExponential()}`
  const scale = largest === null ? '' : `, of up to ${Number(largest.toPrecision(2))}`
  return [library, model, dataset, by, inputs, outputs, String(samples), `${difference}${scale}`]
}
