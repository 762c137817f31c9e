// A regression guard for CI: short runs of the worker and of the echo in turn, compared by ratios. --help says more.

import { readFileSync } from 'node:fs'
import { readOptions, wholeNumber } from '../dev/command-line.ts'
import { echo, worker } from './contenders.ts'
import { measure, type Run } from './measure.ts'
import { ratiosOf, showSpread, spreadOf } from './report/statistics.ts'
import { Stage } from './stage.ts'
import { openWorkload } from './workload.ts'

const HELP = `node bench/guard.ts [--runs N] [--seconds N] [--json]

Lets an echo and the worker go through iris records in turn, for a few seconds each, and compares the worker's records a
second and its processor time per record with the echo's of the same round. bench/guard.json says what the medians of both
ratios were when it was last set. Exit code 1 when one is worse than that by more than its slack: the noise of shared
machines, and less than the third that a change must not cost unnoticed.

  --runs N       rounds, 3 unless given
  --seconds N    how long each is measured, 3 unless given
  --json         prints the figures of all runs

Example: node bench/guard.ts --runs 5`

const WORKLOAD = 'iris'
const PARTITIONS = 4
const RUNS = 3
const SECONDS = 3
/** More than an echo does in a second. */
const RECORDS_PER_SECOND = 1_800_000

/** What is in guard.json. */
export interface Floor {
  /** Median of the worker's records a second over the echo's. */
  readonly speed: number
  /** Median of the worker's processor time per record over the echo's. */
  readonly cpu: number
  /** By what share both may be worse. */
  readonly slack: number
}

/** One round. */
export interface Round {
  readonly echo: Run
  readonly worker: Run
}

/** What is wrong, a line each; nothing when the worker is as fast as it was. */
export function verdict(rounds: readonly Round[], { speed, cpu, slack }: Floor): string[] {
  const { speeds, cpus } = ratios(rounds)
  const found = spreadOf(speeds)!.median
  const cost = spreadOf(cpus)?.median
  const lines: string[] = []
  const least = speed * (1 - slack)
  if (found < least)
    lines.push(`The worker has ${found.toFixed(2)} of the echo's speed; the least is ${least.toFixed(2)}.`)
  const most = cpu * (1 + slack)
  if (cost !== undefined && cost > most) {
    lines.push(`The worker takes ${cost.toFixed(2)} times the echo's CPU per record; the most is ${most.toFixed(2)}.`)
  }
  return lines
}

/** By round; CPU only where the system tells. */
function ratios(rounds: readonly Round[]): { readonly speeds: number[]; readonly cpus: number[] } {
  const of = (pick: (run: Run) => number | undefined) => {
    const [over, under] = [rounds.map(each => pick(each.worker)), rounds.map(each => pick(each.echo))]
    const told = over.every(value => value !== undefined) && under.every(value => value !== undefined)
    return told ? ratiosOf(over as number[], under as number[]) : []
  }
  return { speeds: of(run => run.recordsPerSecond), cpus: of(run => run.cpuPerMillion) }
}

interface GuardOptions {
  readonly runs: number
  readonly seconds: number
  readonly json: boolean
}

/** Measures, says what it found, and sets the exit code. */
async function guard({ runs, seconds, json }: GuardOptions): Promise<void> {
  const say = (line: string) => console.error(line)
  const stage = await Stage.open(say)
  try {
    const rounds = await measureRounds(stage, runs, seconds, say)
    const floor = JSON.parse(readFileSync(new URL('./guard.json', import.meta.url), 'utf8')) as Floor
    const { speeds, cpus } = ratios(rounds)
    if (json) console.log(JSON.stringify({ rounds, floor }, null, 2))
    say(
      `worker / echo: speed ${showSpread(speeds, 2)}, CPU per record ${showSpread(cpus, 2)}; set: ${JSON.stringify(floor)}`,
    )
    const wrong = verdict(rounds, floor)
    for (const line of wrong) say(line)
    process.exitCode = wrong.length === 0 ? 0 : 1
  } finally {
    await stage.close()
  }
}

async function measureRounds(stage: Stage, runs: number, seconds: number, say: (line: string) => void) {
  const input = await stage.createInput(await openWorkload(WORKLOAD), PARTITIONS, RECORDS_PER_SECOND * seconds)
  const subject = worker()
  const rounds: Round[] = []
  // A broker that has just started compiles while it serves: not at the expense of who comes first.
  await measure(stage, echo, input, { seconds: 1 })
  for (let round = 1; round <= runs; round++) {
    const limit = await measure(stage, echo, input, { seconds })
    const run = await measure(stage, subject, input, { seconds })
    rounds.push({ echo: limit, worker: run })
    const [fast, slow] = [limit, run].map(each => Math.round(each.recordsPerSecond / 1000))
    say(`round ${round}/${runs}: echo ${fast} k/s, worker ${slow} k/s`)
  }
  return rounds
}

if (import.meta.main) {
  const options = readOptions(HELP, {
    runs: { type: 'string' },
    seconds: { type: 'string' },
    json: { type: 'boolean', default: false },
  })
  const runs = wholeNumber('runs', options.runs, RUNS, 1)
  await guard({ runs, seconds: wholeNumber('seconds', options.seconds, SECONDS, 1), json: options.json })
}
