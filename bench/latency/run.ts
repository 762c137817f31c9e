// Latency of contenders under open-loop load, one after another on one broker. --help says how.

import { readOptions, refuse, wholeNumber } from '../../dev/command-line.ts'
import type { Contender, Guarantee } from '../contender.ts'
import { echo, worker } from '../contenders.ts'
import { PEERS } from '../peers/index.ts'
import { Stage } from '../stage.ts'
import { openWorkload, WORKLOADS, type Workload, type WorkloadName } from '../workload.ts'
import type { Step } from './arrivals.ts'
import { latencyOf } from './contender-latency.ts'
import { latencyTable, type Row, remarks } from './report.ts'

/** By name; peers are built when they are first asked for. */
const CONTENDERS: ReadonlyMap<string, Contender> = new Map([worker(), echo, ...PEERS].map(one => [one.name, one]))

const HELP = `node bench/latency/run.ts [options]

Publishes records as Poisson arrivals, and measures how long after each was due a read_committed reader had its output: p50,
p90, p99, p99.9, in ms. Starts a Kafka unless KAFKA_BROKERS names one. Every combination of contender, guarantee and rate is
measured in turn, each in new topics with a new process.

  --rate N,…           records a second, 1000 unless given
  --seconds N          how long each rate is held, 20 unless given; 5 s of warm-up come before
  --steps R:S,…        instead: rates with their seconds one after another in one run, 1000:10,90000:30,1000:30
  --contender NAME,…   ${[...CONTENDERS.keys()].join(', ')}; worker unless given. Settings may follow, to compare them:
                       worker,worker+COMMIT_INTERVAL_MS=20+MAX_BATCH_SIZE=64
  --guarantee G,…      exactly-once unless given, at-least-once
  --workload NAME      ${WORKLOADS.join(', ')}; iris unless given
  --partitions N       4 unless given
  --warm-up N          seconds, 5 unless given
  --runs N             rounds in which everything is measured once, 1 unless given
  --seed N             of the arrivals, 42 unless given
  --json               prints all figures, and the course of each run

Example: node bench/latency/run.ts --contender worker,echo --rate 1000,10000`

const options = readOptions(HELP, {
  rate: { type: 'string', default: '1000' },
  seconds: { type: 'string' },
  steps: { type: 'string' },
  contender: { type: 'string', default: 'worker' },
  guarantee: { type: 'string', default: 'exactly-once' },
  workload: { type: 'string', default: 'iris' },
  partitions: { type: 'string' },
  'warm-up': { type: 'string' },
  runs: { type: 'string' },
  seed: { type: 'string' },
  json: { type: 'boolean', default: false },
})

const SECONDS = wholeNumber('seconds', options.seconds, 20, 1)
const RUNS = wholeNumber('runs', options.runs, 1, 1)
const SUBJECTS = options.contender.split(',').map(subjectOf)
const GUARANTEES = choices('guarantee', options.guarantee.split(','), [
  'exactly-once',
  'at-least-once',
]) as readonly Guarantee[]
const [WORKLOAD] = choices('workload', [options.workload], WORKLOADS) as readonly [WorkloadName]
const PROFILES = options.steps === undefined ? ratesOf(options.rate) : [stepsOf(options.steps)]
const MEASUREMENTS = PROFILES.flatMap(steps =>
  GUARANTEES.flatMap(guarantee => SUBJECTS.map(subject => ({ steps, guarantee, subject }))),
)
/** The same for all. */
const FIXED = {
  partitions: wholeNumber('partitions', options.partitions, 4, 1),
  warmUpSeconds: wholeNumber('warm-up', options['warm-up'], 5, 1),
  seed: wholeNumber('seed', options.seed, 42),
}

const BROKER_WARM_UP: Step = { rate: 5_000, seconds: 20 }

const say = (line: string) => console.error(line)
for (const peer of PEERS) if (SUBJECTS.some(({ contender }) => contender === peer)) await peer.prepare(say)
const stage = process.env.KAFKA_BROKERS ? await Stage.at(process.env.KAFKA_BROKERS) : await Stage.open(say)
try {
  const workload = await openWorkload(WORKLOAD)
  const rows: Row[] = []
  if (stage.brokerPid !== undefined) await warmBroker(workload)
  for (let round = 0; round < RUNS; round++) {
    for (const { steps, guarantee, subject } of MEASUREMENTS) {
      const { contender, env } = subject
      const result = await latencyOf(stage, contender, { ...FIXED, workload, guarantee, env, steps })
      rows.push({ contender: subject.title, guarantee, result })
      tell(rows.at(-1)!, steps)
    }
  }
  console.log(options.json ? JSON.stringify(rows) : latencyTable(rows))
} finally {
  await stage.close()
}

/** A broker that has just started compiles its code for half a minute, at the expense of whoever is measured first. */
async function warmBroker(workload: Workload): Promise<void> {
  say(`warming the broker: ${BROKER_WARM_UP.rate}/s for ${BROKER_WARM_UP.seconds} s`)
  await latencyOf(stage, echo, { ...FIXED, workload, guarantee: 'exactly-once', steps: [BROKER_WARM_UP] })
}

function tell(row: Row, steps: readonly Step[]): void {
  const { p50, p99 } = row.result.whole.latencyMs
  const load = steps.map(({ rate, seconds }) => `${rate}/s for ${seconds} s`).join(', ')
  say(`${row.contender}, ${row.guarantee}, ${load}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`)
  for (const remark of remarks(row)) say(remark)
}

/** A contender with settings: `worker+NAME=VALUE`. */
function subjectOf(title: string) {
  const [name, ...settings] = title.split('+')
  choices('contender', [name!], [...CONTENDERS.keys()])
  return { title, contender: CONTENDERS.get(name!)!, env: Object.fromEntries(settings.map(pairOf)) }
}

/** Each rate is a run. */
function ratesOf(text: string): Step[][] {
  return text.split(',').map(rate => [{ rate: wholeNumber('rate', rate, 0, 1), seconds: SECONDS }])
}

function stepsOf(text: string): Step[] {
  return text.split(',').map(step => {
    const [rate, seconds, ...more] = step.split(':')
    if (seconds === undefined || more.length > 0) refuse(`--steps has "${step}", but needs RATE:SECONDS`)
    return { rate: wholeNumber('steps', rate, 0, 1), seconds: wholeNumber('steps', seconds, 0, 1) }
  })
}

function choices(option: string, chosen: readonly string[], allowed: readonly string[]): readonly string[] {
  const unknown = chosen.find(choice => !allowed.includes(choice))
  if (unknown !== undefined) refuse(`--${option} is "${unknown}", but must be of ${allowed.join(', ')}`)
  return chosen
}

function pairOf(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at < 1) refuse(`--contender has "${text}", but needs NAME=VALUE`)
  return [text.slice(0, at), text.slice(at + 1)]
}
