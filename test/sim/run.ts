import { readOptions, wholeNumber } from '../../dev/command-line.ts'
import { explore, tell } from './explore.ts'

const HELP = `node test/sim/run.ts [options]

Plays seeded schedules of crashes, lost requests and zombies against the protocol code, on a fake Kafka and a fake clock.
Exit code 1 when one broke the promise: it is made shorter, and told step by step.

  --schedules N   how many, 3000 unless given
  --seed S        repeats a run
  --random        leaves out the known schedules, which come first otherwise
  --first         stops at the first schedule that fails instead of making it shorter
  --json          prints the outcome as JSON

Example: node test/sim/run.ts --schedules 20000 --seed 7`

const options = readOptions(HELP, {
  schedules: { type: 'string' },
  seed: { type: 'string' },
  random: { type: 'boolean', default: false },
  first: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
})

const seed = wholeNumber('seed', options.seed, Date.now() & 0x7fffffff)
const schedules = wholeNumber('schedules', options.schedules, 3_000, 1)
const startedAt = performance.now()
const finding = await explore({ seed, schedules, known: !options.random, shrink: !options.first })
const seconds = Math.round((performance.now() - startedAt) / 100) / 10
if (options.json) {
  const { breach, error, after = schedules } = finding ?? {}
  console.log(JSON.stringify({ breach, message: error?.message, schedules: after, seconds, seed }))
} else if (finding === undefined) console.log(`${schedules} schedules, seed ${seed}, ${seconds} s: nothing broken`)
else console.log(await tell(finding))
process.exitCode = finding === undefined ? 0 : 1
