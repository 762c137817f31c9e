import { markdownTable } from './markdown.ts'
import { showNumber, showSpread, spreadOf } from './statistics.ts'

/** Something that a workload is to show, and what it showed. */
export interface Goal {
  readonly what: string
  readonly goal: string
  /** By run. */
  readonly values: readonly number[]
  readonly digits: number
  /** Whether the median reaches it. */
  readonly met: boolean
}

/** No goal, where nothing was measured. */
export function atLeast(least: number, what: string, values: readonly number[], digits = 2): Goal[] {
  return goalOf(what, `≥ ${showNumber(least, digitsOf(least))}`, values, digits, median => median >= least)
}

/** No goal, where nothing was measured. */
export function atMost(most: number, what: string, values: readonly number[], digits = 2): Goal[] {
  return goalOf(what, `≤ ${showNumber(most, digitsOf(most))}`, values, digits, median => median <= most)
}

/** A row for each; empty where there are none. */
export function goalTable(goals: readonly Goal[]): string {
  if (goals.length === 0) return ''
  const rows = goals.map(({ what, goal, values, digits, met }) => {
    return [what, goal, showSpread(values, digits), met ? 'yes' : '**no**']
  })
  return markdownTable(['to show', 'goal', 'found', 'met by the median'], rows)
}

function goalOf(
  what: string,
  goal: string,
  values: readonly number[],
  digits: number,
  holds: (median: number) => boolean,
): Goal[] {
  const spread = spreadOf(values)
  return spread === undefined ? [] : [{ what, goal, values, digits, met: holds(spread.median) }]
}

/** As many as it takes, and at most two. */
function digitsOf(value: number): number {
  return [0, 1].find(digits => Number(value.toFixed(digits)) === value) ?? 2
}
