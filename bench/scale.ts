import { setTimeout as delay } from 'node:timers/promises'
import type { Contender } from './contender.ts'
import { measureLatency } from './latency/measure.ts'
import { type Throughput, throughputOf, watch } from './progress.ts'
import type { Input, Stage } from './stage.ts'
import { Team } from './team.ts'
import { cpuSeconds, peakRssMiB, tcpConnections } from './usage.ts'
import type { Workload } from './workload.ts'

/** How replicas of one group do on a number of partitions. */
export interface ScaleCell {
  readonly partitions: number
  readonly replicas: number
  readonly throughput: Throughput
  readonly transactionsPerSecond: number
  /** Of each replica. */
  readonly rssMiB: readonly (number | undefined)[]
  readonly connections: readonly (number | undefined)[]
  /** At a modest rate, of other records through the same replicas. */
  readonly latency: { readonly rate: number; readonly p50: number; readonly p99: number; readonly lost: number }
}

export interface ScaleOptions {
  readonly stage: Stage
  readonly workload: Workload
  readonly worker: Contender
  readonly partitions: readonly number[]
  readonly replicas: readonly number[]
  readonly records: number
  readonly seconds: number
  readonly say: (line: string) => void
}

const RATE = 1_000
const LATENCY = { steps: [{ rate: RATE, seconds: 5 }], warmUpSeconds: 1 }
const POLL_MS = 100

/** One cell for each number of partitions with each number of replicas. */
export async function measureScale(options: ScaleOptions): Promise<ScaleCell[]> {
  const cells: ScaleCell[] = []
  for (const partitions of options.partitions) {
    for (const replicas of options.replicas) {
      const cell = await measureCell(options, partitions, replicas)
      cells.push(cell)
      options.say(describe(cell))
    }
  }
  return cells
}

/** Fresh topics and a fresh group; first the input that is there, as fast as can be, then arrivals at a rate. */
async function measureCell(options: ScaleOptions, partitions: number, replicas: number): Promise<ScaleCell> {
  const { stage, workload, worker, records } = options
  const input = await stage.createInput(workload, partitions, records)
  const groupId = stage.name(`scale-${partitions}-${replicas}`)
  const outputTopic = `${groupId}-out`
  await stage.createTopics([outputTopic], partitions)
  const job = { brokers: stage.bootstrap, groupId, inputTopic: input.topic, outputTopic, workload } as const
  // Those who are there first begin with the input, and are not measured before all are there.
  const team = await Team.start(stage, worker, replicas, { ...job, guarantee: 'exactly-once' })
  try {
    const caughtUp = await catchUp(options, team, input, groupId)
    const latency = await measureLatency({
      brokers: [stage.bootstrap],
      inputTopic: input.topic,
      outputTopic,
      partitions,
      values: workload.values,
      ...LATENCY,
    })
    const { p50, p99 } = latency.whole.latencyMs
    return {
      partitions,
      replicas,
      ...caughtUp,
      rssMiB: team.members.map(({ pid }) => peakRssMiB(pid)),
      connections: team.members.map(({ pid }) => tcpConnections(pid)),
      latency: { rate: RATE, p50, p99, lost: latency.tally.lost },
    }
  } finally {
    await team.stop()
    await stage.deleteTopics([outputTopic])
    await stage.dropInput(input)
  }
}

/** Measures for as long as it is told to, and returns when all is done. */
async function catchUp({ stage, seconds }: ScaleOptions, team: Team, { topic, records }: Input, groupId: string) {
  const { died } = team
  const look = async () => ({
    done: await stage.done(groupId, topic),
    cpu: team.cpu,
    brokerCpu: cpuSeconds(stage.brokerPid),
  })
  const before = await team.transactions()
  const throughput = throughputOf(await watch({ look, seconds, records, died }))
  const transactionsPerSecond = ((await team.transactions()) - before) / throughput.seconds
  while ((await stage.done(groupId, topic)) < records) await Promise.race([delay(POLL_MS), died])
  return { throughput, transactionsPerSecond }
}

function describe({ partitions, replicas, throughput, latency }: ScaleCell): string {
  const { p50, p99 } = latency
  const speed = Math.round(throughput.recordsPerSecond)
  return `${partitions} partitions, ${replicas} replicas: ${speed}/s; p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`
}
