// Plays schedules and says whether one broke the promise:
//
//   node test/sim/run.ts [--schedules N] [--seed S] [--random] [--first] [--json]
//
// --random leaves out the known schedules, which come first otherwise.
// --first stops at the first schedule that fails instead of making it shorter. Exit code 1 when one failed.

import { parseArgs } from 'node:util'
import { explore, tell } from './explore.ts'

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '3000' },
    seed: { type: 'string', default: String(Date.now() & 0x7fffffff) },
    random: { type: 'boolean', default: false },
    first: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
})

const seed = Number(values.seed)
const schedules = Number(values.schedules)
const startedAt = performance.now()
const finding = await explore({ seed, schedules, known: !values.random, shrink: !values.first })
const seconds = Math.round((performance.now() - startedAt) / 100) / 10
if (values.json) {
  const { breach, error, after = schedules } = finding ?? {}
  console.log(JSON.stringify({ breach, message: error?.message, schedules: after, seconds, seed }))
} else if (finding === undefined) console.log(`${schedules} schedules, seed ${seed}, ${seconds} s: nothing broken`)
else console.log(await tell(finding))
process.exitCode = finding === undefined ? 0 : 1
