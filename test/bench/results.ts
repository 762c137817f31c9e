import type { LatencyResult } from '../../bench/latency/measure.ts'
import type { Summary } from '../../bench/latency/summary.ts'
import type { Run } from '../../bench/measure.ts'
import type { OpenLoopResult, OpenLoopRow } from '../../bench/open-loop.ts'
import type { ScaleCell } from '../../bench/scale.ts'
import type { ThroughputResult } from '../../bench/throughput.ts'

/** Results that nobody measured. */

export function run(recordsPerSecond: number, cpuPerMillion: number): Run {
  return {
    records: recordsPerSecond,
    seconds: 1,
    recordsPerSecond,
    secondHalfPerSecond: recordsPerSecond,
    cpuPerMillion,
    brokerCpuPerMillion: 2,
    rssMiB: 200,
    perTransaction: 500,
  }
}

/** The first run of each contender was audited; the runtime alone does 1,000 rows a second. */
export function throughputResult(workload: string, runs: Readonly<Record<string, readonly Run[]>>): ThroughputResult {
  const counts = { inputs: 50, predictions: 50, lost: 0, doubled: 0, otherFaults: 0 }
  const contenders = Object.entries(runs).map(([name, own]) => {
    return { name, runs: own.map((each, i) => (i === 0 ? { ...each, counts } : each)) }
  })
  const alone = contenders[0]!.runs.map(() => ({ rowsPerSecond: 1_000, cpuPerMillion: 1, rssMiB: 100 }))
  return {
    workload,
    guarantee: 'exactly-once',
    records: 1_000,
    partitions: 4,
    inputBytes: 21,
    predictionBytes: 9,
    batchSizes: [1024],
    contenders,
    runtime: [{ sessions: 1, runs: alone }],
  }
}

export function latencyResult(p50: number, p99: number, speed = { achieved: 1_000, offered: 1_000 }): LatencyResult {
  const latencyMs = { p50, p90: p99, p99, p999: p99, max: p99 }
  const summary: Summary = { seconds: 1, records: 1_000, ...speed, lost: 0, latencyMs }
  return {
    whole: summary,
    steps: [summary],
    course: [{ at: 0.25, rateIn: 1_000, rateOut: 500, p50, p99, lag: 500 }],
    recoverySeconds: undefined,
    tally: { records: 1_000, lost: 0, doubled: 0 } as LatencyResult['tally'],
    batchesPerSecond: 10,
    lateness: {} as LatencyResult['lateness'],
    cores: { contender: 0.1, broker: 0.2 },
  }
}

/** The worker takes twice as long as the echo, and half as long when it works at least once. */
export function openLoopResult(): OpenLoopResult {
  const row = (contender: string, guarantee: OpenLoopRow['guarantee'], p50: number): OpenLoopRow => {
    return { contender, guarantee, commitIntervalMs: undefined, rate: 1_000, runs: [latencyResult(p50, 2 * p50)] }
  }
  const calm = { rate: 1_000, seconds: 10 }
  const one = latencyResult(10, 20)
  return {
    workload: 'iris',
    partitions: 4,
    seconds: 20,
    rows: [row('worker', 'exactly-once', 10), row('echo', 'exactly-once', 5), row('worker', 'at-least-once', 5)],
    overload: {
      sustained: 100_000,
      steps: [calm, { rate: 110_000, seconds: 30 }, calm],
      result: { ...one, steps: [one.whole, one.whole, one.whole], recoverySeconds: 1.5 },
    },
  }
}

export function scaleCell(partitions: number, replicas: number): ScaleCell {
  return {
    partitions,
    replicas,
    throughput: run(1_000, 5),
    transactionsPerSecond: 50,
    rssMiB: new Array<number>(replicas).fill(200),
    connections: new Array<number>(replicas).fill(7),
    latency: { rate: 1_000, p50: 5, p99: 9, lost: 0 },
  }
}
