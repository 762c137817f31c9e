import { availableParallelism } from 'node:os'
import PQueue from 'p-queue'
import { examine, type Limits, requireUpToDate, type Verdict } from './lab.ts'
import type { Mutant } from './mutants.ts'

/** Schedules that the code as it is has to pass beside its mutants: the simulation proper plays thousands. */
const UNMUTATED_SCHEDULES = 100

/**
 * Examines the code as it is and every mutant, as many at once as there are cores. In the order given.
 * @throws before anything runs, when a mutant does not fit the code any more
 */
export async function examineAll(mutants: readonly Mutant[], limits: Limits): Promise<Verdict[]> {
  await Promise.all(mutants.map(requireUpToDate))
  const queue = new PQueue({ concurrency: availableParallelism() })
  const unmutated = { ...limits, schedules: Math.min(limits.schedules, UNMUTATED_SCHEDULES) }
  return Promise.all([
    queue.add(() => examine(undefined, unmutated)),
    ...mutants.map(mutant => queue.add(() => examine(mutant, limits))),
  ])
}

/** For people: what caught each mutant, and how soon. */
export function tableOf(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ mutant, breach, schedules, seconds, seed }) => {
    const outcome = breach ?? (mutant === undefined ? 'clean' : 'SURVIVED')
    return [mutant ?? '(as it is)', outcome, String(schedules), seconds.toFixed(1), String(seed)]
  })
  const table = [['mutant', 'caught by', 'schedules', 'seconds', 'seed'], ...rows]
  const widths = table[0]!.map((_, column) => Math.max(...table.map(row => row[column]!.length)))
  return table
    .map(row =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
