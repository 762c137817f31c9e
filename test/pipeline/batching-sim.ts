import type { BatchTrigger } from '../../src/core/telemetry.ts'
import { Batcher } from '../../src/pipeline/batcher.ts'
import type { MicroBatch } from '../../src/pipeline/micro-batch.ts'
import type { RowSource } from '../../src/pipeline/row-sources.ts'
import { randomFrom, seedFor } from '../sim/random.ts'
import { SimClock } from '../sim/sim-clock.ts'
import { FakePool } from './fake-pool.ts'
import { FakeBatcherTelemetry } from './fake-telemetry.ts'

/** Sessions whose runs take `rowMs · rows + fixedMs`, times a noise; and what comes to them. */
export interface Workload {
  readonly rowMs: number
  readonly fixedMs: number
  /** Times that a run of this session takes longer than it should. Default: 0.9 to 1.1, and twice as long once in 500. */
  readonly noise?: (random: () => number) => number
  readonly sessions: number
  readonly capacity: number
  readonly arrivals: readonly Phase[]
}

/** A while in which rows arrive at random (Poisson), some at a time. */
export interface Phase {
  readonly ms: number
  readonly rowsPerMs: number
  /** Rows of one arrival. Default: 1. */
  readonly atOnce?: number
}

interface BatchingOptions {
  readonly targetLatencyMs: number
  readonly maxQueueDelayMs?: number
  readonly seed: number
}

/** The rows that arrived in one phase, and how they fared. */
interface PhaseOutcome {
  readonly rows: number
  /** From arrival to commit. */
  readonly p50: number
  readonly p99: number
}

export interface Outcome {
  readonly phases: readonly PhaseOutcome[]
  /** Rows that arrived. */
  readonly rows: number
  /** Rows committed, and when the last one was. */
  readonly committed: number
  readonly endedAt: number
  readonly batches: readonly { readonly rows: number; readonly trigger: BatchTrigger; readonly at: number }[]
  /** Rows that had been run by then. */
  runBy(at: number): number
  /** Of the time of the sessions, until the last row was committed. */
  readonly busy: number
  readonly telemetry: FakeBatcherTelemetry
}

const usualNoise = (random: () => number) => (random() < 0.002 ? 2 : 0.9 + 0.2 * random())

/** Runs the real batcher on a clock that jumps from event to event, until every row that arrived is committed. */
export async function simulate(workload: Workload, options: BatchingOptions): Promise<Outcome> {
  const clock = new SimClock()
  const telemetry = new FakeBatcherTelemetry()
  const pool = new TimedPool(workload, clock, randomFrom(seedFor(options.seed, 'sessions')))
  const batcher = new Batcher({
    pool,
    model: { name: 'sim', version: '1', sha256: '0' },
    maxQueueDelayMs: options.maxQueueDelayMs ?? 0,
    targetLatencyMs: options.targetLatencyMs,
    telemetry,
    clock,
    probe: async () => {},
    onCondition: () => {},
  })
  const commits = randomFrom(seedFor(options.seed, 'commits'))
  const partitions = Array.from({ length: 4 }, () => new SimPartition(batcher, clock, () => 4 + 2 * commits()))
  const rows = scheduleArrivals(workload.arrivals, partitions, clock, randomFrom(seedFor(options.seed, 'arrivals')))
  const committed = () => partitions.reduce((sum, { latencies }) => sum + latencies.length, 0)
  while (committed() < rows && clock.now() < 1e7) await clock.advance(1000, () => committed() === rows)
  const endedAt = clock.now()
  return {
    phases: phaseOutcomes(workload.arrivals, partitions),
    rows,
    committed: committed(),
    endedAt,
    batches: telemetry.batches.map((batch, i) => ({ ...batch, at: pool.ends[i]!.at })),
    runBy: at => pool.ends.reduce((sum, end) => (end.at <= at ? sum + end.rows : sum), 0),
    busy: pool.busyMs / (endedAt * workload.sessions),
    telemetry,
  }
}

/** Sessions that take as long as the workload says. */
class TimedPool extends FakePool {
  /** In the order in which they ended. */
  readonly ends: { readonly at: number; readonly rows: number }[] = []
  busyMs = 0
  readonly #workload: Workload
  readonly #clock: SimClock
  readonly #random: () => number

  constructor(workload: Workload, clock: SimClock, random: () => number) {
    super(workload)
    this.#workload = workload
    this.#clock = clock
    this.#random = random
  }

  override run(...args: Parameters<FakePool['run']>): ReturnType<FakePool['run']> {
    const { rowMs, fixedMs, noise = usualNoise } = this.#workload
    const outcome = super.run(...args) // at once, as the batcher asks only while a session is idle
    const run = this.runs.at(-1)!
    const ms = (rowMs * run.rows + fixedMs) * noise(this.#random)
    this.busyMs += ms
    this.#clock.after(ms, () => {
      this.ends.push({ at: this.#clock.now(), rows: run.rows })
      run.succeed()
    })
    return outcome
  }
}

/** A partition whose records are the times at which they arrived; commits in groups, as a task does. */
class SimPartition implements RowSource {
  /** By row, in the order of their arrival. */
  readonly latencies: { readonly arrivedAt: number; readonly ms: number }[] = []
  readonly #batcher: Batcher
  readonly #clock: SimClock
  readonly #commitMs: () => number
  readonly #arrivals: number[] = []
  #packed = 0
  #settled: number[] = []
  #settledSince = 0
  #committing = false

  constructor(batcher: Batcher, clock: SimClock, commitMs: () => number) {
    this.#batcher = batcher
    this.#clock = clock
    this.#commitMs = commitMs
  }

  get backlog(): number {
    return this.#arrivals.length - this.#packed
  }

  arrive(rows: number): void {
    for (let i = 0; i < rows; i++) this.#arrivals.push(this.#clock.now())
    this.#batcher.offer(this)
  }

  pack(batch: MicroBatch): boolean {
    const from = this.#packed
    this.#packed = Math.min(this.#arrivals.length, from + batch.limit - batch.rows)
    const rows = this.#packed - from
    const to = this.#packed
    batch.rows += rows
    if (rows > 0) {
      batch.hold({
        settled: () => {
          batch.letGo()
          this.#settle(this.#arrivals.slice(from, to))
        },
      })
    }
    return this.backlog > 0
  }

  #settle(arrivals: readonly number[]): void {
    if (this.#settled.length === 0) this.#settledSince = this.#clock.now()
    for (const at of arrivals) this.#settled.push(at)
    if (!this.#committing) this.#commit()
  }

  #commit(): void {
    const arrivals = this.#settled
    const since = this.#settledSince
    this.#settled = []
    this.#committing = arrivals.length > 0
    if (!this.#committing) return
    this.#clock.after(this.#commitMs(), () => {
      const now = this.#clock.now()
      for (const arrivedAt of arrivals) this.latencies.push({ arrivedAt, ms: now - arrivedAt })
      this.#batcher.delivered(now - since)
      this.#commit()
    })
  }
}

function scheduleArrivals(
  phases: readonly Phase[],
  partitions: readonly SimPartition[],
  clock: SimClock,
  random: () => number,
): number {
  let total = 0
  let begin = 0
  for (const { ms, rowsPerMs, atOnce = 1 } of phases) {
    const gap = () => (-Math.log(1 - random()) * atOnce) / rowsPerMs
    for (let at = begin + gap(); at < begin + ms; at += gap()) {
      const partition = partitions[Math.floor(random() * partitions.length)]!
      clock.after(at, () => partition.arrive(atOnce))
      total += atOnce
    }
    begin += ms
  }
  return total
}

function phaseOutcomes(phases: readonly Phase[], partitions: readonly SimPartition[]): PhaseOutcome[] {
  const all = partitions.flatMap(({ latencies }) => latencies)
  let begin = 0
  return phases.map(({ ms }) => {
    const end = begin + ms
    const sorted = Float64Array.from(
      all.filter(({ arrivedAt }) => arrivedAt >= begin && arrivedAt < end),
      latency => latency.ms,
    ).sort()
    begin = end
    const quantile = (q: number) => sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0
    return { rows: sorted.length, p50: quantile(0.5), p99: quantile(0.99) }
  })
}
