import type { Sample } from '../test/support/metrics.ts'
import { batchSizesOf, meanBatchSize } from './batch-sizes.ts'
import type { Contender, Guarantee } from './contender.ts'
import { consume } from './contenders.ts'
import type { BatchSize } from './limits/runtime-job.ts'
import { measure, type Run } from './measure.ts'
import { measureRuntime, type RuntimeRun } from './runtime-limit.ts'
import type { Input, Stage } from './stage.ts'

const WARM_UP_SECONDS = 3

/** What one workload is measured with. */
export interface ThroughputOptions {
  readonly stage: Stage
  readonly input: Input
  readonly contenders: readonly Contender[]
  /** Whose batch sizes ONNX Runtime alone is given; it is one of the contenders, and a Sluice worker. */
  readonly worker: Contender
  /** Numbers of sessions that ONNX Runtime alone is measured with. */
  readonly sessions: readonly number[]
  readonly guarantee: Guarantee
  readonly runs: number
  readonly seconds: number
  /** Of the runtime alone. */
  readonly runtimeSeconds: number
  readonly say: (line: string) => void
}

/** All runs of one workload: run i of everybody was made in the same round. */
export interface ThroughputResult {
  readonly workload: string
  readonly guarantee: Guarantee
  readonly records: number
  readonly partitions: number
  readonly inputBytes: number
  readonly predictionBytes: number
  /** Rows in a batch of the worker, on average; by round. */
  readonly batchSizes: readonly number[]
  readonly contenders: readonly { readonly name: string; readonly runs: readonly Run[] }[]
  readonly runtime: readonly { readonly sessions: number; readonly runs: readonly RuntimeRun[] }[]
}

/**
 * Measures everybody once a round, so that a machine which is slow for a while is slow for all; who begins turns from
 * round to round, so that nobody always runs after the same other. The first run of each is audited.
 */
export async function measureThroughput(options: ThroughputOptions): Promise<ThroughputResult> {
  const { input, guarantee, contenders } = options
  const { workload, partitions, records } = input
  const runs = new Map(contenders.map(contender => [contender, [] as Run[]]))
  const runtime = options.sessions.map(sessions => ({ sessions, runs: [] as RuntimeRun[] }))
  const batchSizes: number[] = []
  // A broker that has just started compiles while it serves: not at the expense of who comes first.
  await measure(options.stage, options.worker, input, { guarantee, seconds: WARM_UP_SECONDS })
  for (let round = 0; round < options.runs; round++) {
    const metrics = await measureContenders(options, round, runs)
    batchSizes.push(meanBatchSize(metrics))
    await measureRuntimes(options, round, batchSizesOf(metrics), runtime)
  }
  return {
    workload: workload.name,
    guarantee,
    records,
    partitions,
    inputBytes: workload.values[0]!.length,
    predictionBytes: workload.predictionBytes,
    batchSizes,
    contenders: contenders.map(contender => ({ name: contender.name, runs: runs.get(contender)! })),
    runtime,
  }
}

/** Adds a run of each contender, and returns the worker's metrics. */
async function measureContenders(
  { stage, input, contenders, worker, guarantee, seconds, say, ...options }: ThroughputOptions,
  round: number,
  runs: ReadonlyMap<Contender, Run[]>,
): Promise<readonly Sample[]> {
  let metrics: readonly Sample[] = []
  for (const contender of turned(contenders, round)) {
    const run = await measure(stage, contender, input, {
      guarantee,
      seconds,
      // A bare consumer publishes nothing that could be counted.
      audit: round === 0 && contender !== consume,
      onMetrics:
        contender !== worker
          ? undefined
          : samples => {
              metrics = samples
            },
    })
    runs.get(contender)!.push(run)
    say(`${input.workload.name} ${round + 1}/${options.runs} ${contender.name}: ${describe(run)}`)
  }
  return metrics
}

/** Adds a run of ONNX Runtime alone with each number of sessions. */
async function measureRuntimes(
  { stage, input, runtimeSeconds: seconds, say, ...options }: ThroughputOptions,
  round: number,
  sizes: readonly BatchSize[],
  runtime: readonly { readonly sessions: number; readonly runs: RuntimeRun[] }[],
): Promise<void> {
  const { workload } = input
  for (const { sessions, runs } of runtime) {
    const run = await measureRuntime(stage, workload, { workload: workload.name, sizes, sessions, seconds })
    runs.push(run)
    const title = `${workload.name} ${round + 1}/${options.runs} ONNX Runtime, ${sessions} session${sessions > 1 ? 's' : ''}`
    say(`${title}: ${Math.round(run.rowsPerSecond)}/s`)
  }
}

function turned<T>(items: readonly T[], by: number): T[] {
  const at = by % items.length
  return [...items.slice(at), ...items.slice(0, at)]
}

function describe({ recordsPerSecond, cpuPerMillion, brokerCpuPerMillion, rssMiB, seconds }: Run): string {
  const cpu = cpuPerMillion === undefined ? '' : `, ${cpuPerMillion.toFixed(1)} CPU s/M`
  const broker = brokerCpuPerMillion === undefined ? '' : ` (broker ${brokerCpuPerMillion.toFixed(1)})`
  const memory = rssMiB === undefined ? '' : `, ${rssMiB.toFixed(0)} MiB`
  return `${Math.round(recordsPerSecond)}/s over ${seconds.toFixed(1)} s${cpu}${broker}${memory}`
}
