import { readOptions, refuse, wholeNumber } from '../../dev/command-line.ts'
import { diffOf, type Verdict } from './lab.ts'
import { MUTANTS } from './mutants.ts'
import { examineAll, tableOf } from './report.ts'

const HELP = `npm run mutants [-- options]

Breaks the protocol on purpose, in copies of the source, one named way after another, and lets the simulation find out.
Exit code 1 when a mutant survives, or the code as it is fails.

  --only NAME     only this one
  --schedules N   for each at most, 3000 unless given
  --seed S        repeats a run
  --random        leaves out the schedules that are known to be hard, which come first otherwise
  --json          prints the verdicts as JSON

Example: npm run mutants -- --only fence-ignored`

const options = readOptions(HELP, {
  only: { type: 'string' },
  schedules: { type: 'string' },
  seed: { type: 'string' },
  random: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
})

const { only } = options
const chosen = MUTANTS.filter(({ name }) => only === undefined || name === only)
if (chosen.length === 0) refuse(`There is no mutant ${only}; there are ${MUTANTS.map(({ name }) => name).join(', ')}`)

const limits = {
  schedules: wholeNumber('schedules', options.schedules, 3_000, 1),
  seed: wholeNumber('seed', options.seed, Date.now() & 0x7fffffff),
  random: options.random,
}
const verdicts = await examineAll(chosen, limits)
console.log(options.json ? JSON.stringify(verdicts, null, 2) : tableOf(verdicts))
for (const { mutant, message } of verdicts.filter(isWrong)) {
  const survivor = MUTANTS.find(({ name }) => name === mutant)
  if (survivor === undefined) console.error(`\nThe code as it is fails: ${message}`)
  else console.error(`\n${survivor.name} survived. ${survivor.harm}\n${diffOf(survivor)}`)
}
process.exitCode = verdicts.some(isWrong) ? 1 : 0

/** A mutant that survived, or the code as it is that did not. */
function isWrong({ mutant, breach }: Verdict): boolean {
  return (mutant === undefined) !== (breach === undefined)
}
