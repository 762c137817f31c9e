/** The middle of several runs, with the least and the most. */
export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

/** Undefined where there are no values. */
export function spreadOf(values: readonly (number | undefined)[]): Spread | undefined {
  const sorted = values.filter(value => value !== undefined).sort((a, b) => a - b)
  if (sorted.length === 0) return undefined
  const upper = sorted[sorted.length >> 1]!
  const lower = sorted[(sorted.length - 1) >> 1]!
  return { median: (lower + upper) / 2, least: sorted[0]!, most: sorted.at(-1)! }
}

/** The median with the least and the most in brackets, or a dash where there are no values. */
export function showSpread(values: readonly (number | undefined)[], digits = 0): string {
  const spread = spreadOf(values)
  if (spread === undefined) return '–'
  const show = (value: number) => showNumber(value, digits)
  const { median, least, most } = spread
  return values.length === 1 ? show(median) : `${show(median)} (${show(least)}–${show(most)})`
}

export function countRuns(runs: number): string {
  return runs === 1 ? 'one run' : `medians of ${runs} runs`
}

/** With commas between thousands. */
export function showNumber(value: number, digits = 0): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** Values of two series, run by run, one over the other. */
export function ratiosOf(over: readonly number[], under: readonly number[]): number[] {
  return over.slice(0, under.length).map((value, run) => value / under[run]!)
}
