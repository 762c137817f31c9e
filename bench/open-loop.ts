import type { Contender, Guarantee } from './contender.ts'
import type { Step } from './latency/arrivals.ts'
import { type Load, latencyOf } from './latency/contender-latency.ts'
import type { LatencyResult } from './latency/measure.ts'
import type { Stage } from './stage.ts'
import type { Workload } from './workload.ts'

/** Who is measured, in which guarantee. */
interface Subject {
  readonly contender: Contender
  readonly guarantee: Guarantee
  /** Other than the contender's own. */
  readonly commitIntervalMs?: number
}

export interface OpenLoopOptions {
  readonly stage: Stage
  readonly workload: Workload
  readonly partitions: number
  readonly subjects: readonly Subject[]
  /** Records a second. */
  readonly rates: readonly number[]
  readonly seconds: number
  readonly runs: number
  /** Whose overload is measured, and for how many seconds each. */
  readonly worker: Contender
  readonly overload: OverloadSeconds
  readonly say: (line: string) => void
}

/** All runs of one subject at one rate. */
export interface OpenLoopRow {
  readonly contender: string
  readonly guarantee: Guarantee
  readonly commitIntervalMs: number | undefined
  readonly rate: number
  readonly runs: readonly LatencyResult[]
}

export interface OpenLoopResult {
  readonly workload: string
  readonly partitions: number
  readonly seconds: number
  readonly rows: readonly OpenLoopRow[]
  readonly overload: Overload | undefined
}

/** What an overload did to the worker. */
export interface Overload {
  /** Records a second that it sustained when offered far more. */
  readonly sustained: number
  readonly steps: readonly Step[]
  readonly result: LatencyResult
}

/** How long an overload lasts, and the calm before and after it; `probe` is how long more than enough is offered. */
export interface OverloadSeconds {
  /** Long enough that what is seen per second is what is sustained, not what buffers take. */
  readonly probe: number
  readonly before: number
  readonly during: number
  readonly after: number
}

const CALM_RATE = 1_000
const OVERLOAD = 1.1
/** Who is seen less fast than this share of what is offered does not keep up: it has a growing lag, and no latency. */
export const KEEPS_UP = 0.95

/** Measures everybody at every rate once a round. */
export async function measureOpenLoop(options: OpenLoopOptions): Promise<OpenLoopResult> {
  const { stage, workload, partitions, subjects, rates, seconds, runs, say } = options
  const rows = subjects.flatMap(({ contender, guarantee, commitIntervalMs }) => {
    return rates.map(rate => ({ contender, guarantee, commitIntervalMs, rate, runs: [] as LatencyResult[] }))
  })
  for (let round = 0; round < runs; round++) {
    for (const { contender, guarantee, commitIntervalMs, rate, runs: done } of rows) {
      const load = { workload, guarantee, commitIntervalMs, partitions, steps: [{ rate, seconds }], seed: round }
      const result = await latencyOf(stage, contender, load)
      done.push(result)
      const { p50, p99 } = result.whole.latencyMs
      const figures = `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`
      say(`${workload.name} ${round + 1}/${runs} ${contender.name}, ${guarantee}, ${rate}/s: ${figures}`)
    }
  }
  return {
    workload: workload.name,
    partitions,
    seconds,
    rows: rows.map(row => ({ ...row, contender: row.contender.name })),
    overload: await overload(options),
  }
}

/** Offers the worker more than it can take, finds what it sustains, and then offers a tenth more than that for a while. */
async function overload(options: OpenLoopOptions): Promise<Overload> {
  const { stage, workload, partitions, worker, say, overload: seconds } = options
  const load = { workload, guarantee: 'exactly-once', partitions } as const
  const sustained = await findSustained(options, load)
  const calm = (length: number): Step => ({ rate: CALM_RATE, seconds: length })
  const rate = Math.round(sustained * OVERLOAD)
  const steps = [calm(seconds.before), { rate, seconds: seconds.during }, calm(seconds.after)]
  const result = await latencyOf(stage, worker, { ...load, steps })
  const after = result.recoverySeconds === undefined ? 'not gone by the end' : `gone in ${result.recoverySeconds} s`
  say(`${workload.name} overload of ${rate}/s: its lag was ${after}, ${result.tally.lost} lost`)
  return { sustained, steps, result }
}

/** What is seen per second when far more is offered; the offer grows until the worker no longer keeps up. */
async function findSustained(options: OpenLoopOptions, load: Omit<Load, 'steps'>): Promise<number> {
  const { stage, worker, say, workload, overload, rates } = options
  for (let offered = 3 * Math.max(...rates, CALM_RATE); ; offered *= 3) {
    const steps = [
      { rate: CALM_RATE, seconds: 1 },
      { rate: offered, seconds: overload.probe },
    ]
    const { achieved } = (await latencyOf(stage, worker, { ...load, steps })).steps[1]!
    if (achieved > KEEPS_UP * offered) continue
    say(`${workload.name} sustains ${Math.round(achieved)}/s while ${offered}/s are offered`)
    return achieved
  }
}
