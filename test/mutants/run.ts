// Breaks the protocol on purpose, in copies, and lets the simulation find out:
//
//   node test/mutants/run.ts [--only NAME] [--schedules N] [--seed S] [--random] [--json]
//
// --random leaves out the schedules that are known to be hard, which come first otherwise.
// Exit code 1 when a mutant survives, or the code as it is fails.

import { parseArgs } from 'node:util'
import { diffOf, type Verdict } from './lab.ts'
import { MUTANTS } from './mutants.ts'
import { examineAll, tableOf } from './report.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    schedules: { type: 'string', default: '3000' },
    seed: { type: 'string', default: String(Date.now() & 0x7fffffff) },
    random: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
})

const { only } = values
const chosen = MUTANTS.filter(({ name }) => only === undefined || name === only)
if (chosen.length === 0) {
  console.error(`There is no mutant ${only}. There are: ${MUTANTS.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}

const limits = { schedules: Number(values.schedules), seed: Number(values.seed), random: values.random }
const verdicts = await examineAll(chosen, limits)
console.log(values.json ? JSON.stringify(verdicts, null, 2) : tableOf(verdicts))
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
