// Throughput and latency of the worker beside its limits and its peers, in the same run, on a broker of its own.

import { consume, echo, worker } from './contenders.ts'
import { measureOpenLoop } from './open-loop.ts'
import { type BenchOptions, readBenchOptions } from './options.ts'
import { PEERS } from './peers/index.ts'
import { latencyChart, latencySection } from './report/latency-table.ts'
import { describeMachine, thisMachine } from './report/machine.ts'
import { record, type Section } from './report/record.ts'
import { scaleSection } from './report/scale-table.ts'
import { throughputSection } from './report/throughput-table.ts'
import { measureScale } from './scale.ts'
import { Stage } from './stage.ts'
import { measureThroughput } from './throughput.ts'
import { openWorkload, type WorkloadName } from './workload.ts'
import { PLANS } from './workload-plans.ts'

interface Kind {
  /** Unless others are named. */
  readonly workloads: readonly WorkloadName[]
  readonly measure: (stage: Stage, name: WorkloadName) => Promise<Section>
}

const KINDS: ReadonlyMap<keyof BenchOptions['sections'], Kind> = new Map([
  ['throughput', { workloads: ['iris', 'ffnn', 'ffnn-json', 'heavy'], measure: throughput }],
  ['latency', { workloads: ['iris'], measure: latency }],
  ['scale', { workloads: ['iris'], measure: scale }],
])
/** Seconds of ONNX Runtime alone: it is steady at once. A heavy model is measured as long as the worker. */
const RUNTIME_SECONDS = 3
const LATENCY = { seconds: 12, overload: { probe: 10, before: 10, during: 30, after: 40 } }
const QUICK_LATENCY = { seconds: 3, overload: { probe: 3, before: 2, during: 3, after: 5 } }
const SCALE = { partitions: [1, 2, 4, 16, 64, 256], replicas: [1, 2, 4], seconds: 8, records: 2_000_000 }
const QUICK_SCALE = { partitions: [1, 16], replicas: [1, 2], seconds: 2, records: 200_000 }

const options = readBenchOptions()
const say = (line: string) => console.error(line)

await bench(options)

async function bench({ sections: wanted, json, record: recorded }: BenchOptions): Promise<void> {
  if (options.peers) for (const peer of PEERS) await peer.prepare(say)
  const stage = await Stage.open(say)
  const sections: Section[] = []
  try {
    for (const [kind, { workloads, measure }] of KINDS) {
      if (!wanted[kind]) continue
      for (const name of options.workloads ?? workloads) {
        const section = await measure(stage, name)
        sections.push(section)
        // At once: what is measured after it may fail, after an hour.
        if (recorded) record([section])
      }
    }
  } finally {
    await stage.close()
  }
  if (json) console.log(JSON.stringify(Object.fromEntries(sections.map(({ name, data }) => [name, data])), null, 2))
  else console.log(sections.map(({ text }) => text).join('\n\n'))
}

async function throughput(stage: Stage, name: WorkloadName): Promise<Section> {
  const workload = await openWorkload(name)
  const { settings, limits } = PLANS[name]
  const subject = worker('worker', settings)
  const input = await stage.createInput(workload, options.partitions, options.records(name))
  say(`${name}: published ${input.records} records of ${workload.values[0]!.length} bytes`)
  const seconds = options.seconds(name)
  const result = await measureThroughput({
    stage,
    input,
    worker: subject,
    contenders: [
      subject,
      ...(limits ? [echo, consume] : [worker('worker-2-sessions', { ...settings, SESSIONS: 'cpu*2' })]),
      ...(options.peers ? PEERS : []),
    ],
    sessions: [1, 2],
    guarantee: 'exactly-once',
    runs: options.runs,
    seconds,
    runtimeSeconds: limits ? Math.min(RUNTIME_SECONDS, seconds) : seconds,
    say,
  })
  await stage.dropInput(input)
  return section(`throughput-${name}`, throughputSection(result), result)
}

async function latency(stage: Stage, name: WorkloadName): Promise<Section> {
  const workload = await openWorkload(name)
  const subject = worker('worker', PLANS[name].settings)
  const guarantee = 'exactly-once'
  const result = await measureOpenLoop({
    stage,
    workload,
    partitions: options.partitions,
    worker: subject,
    subjects: [
      { contender: subject, guarantee },
      { contender: echo, guarantee },
      { contender: subject, guarantee: 'at-least-once' },
      ...(options.peers ? PEERS : []).flatMap(contender => [
        { contender, guarantee } as const,
        { contender, guarantee, commitIntervalMs: 0 } as const,
      ]),
    ],
    rates: options.rates,
    ...(options.quick ? QUICK_LATENCY : LATENCY),
    runs: options.runs,
    say,
  })
  const image = `latency-${name}.svg`
  const text = latencySection(result, `images/${image}`)
  // The course of the overload is of interest; those of all other runs would fill megabytes.
  const rows = result.rows.map(row => ({ ...row, runs: row.runs.map(run => ({ ...run, course: undefined })) }))
  return { ...section(`latency-${name}`, text, { ...result, rows }), plots: { [image]: latencyChart(result) } }
}

async function scale(stage: Stage, name: WorkloadName): Promise<Section> {
  const cells = await measureScale({
    stage,
    workload: await openWorkload(name),
    worker: worker('worker', PLANS[name].settings),
    ...(options.quick ? QUICK_SCALE : SCALE),
    say,
  })
  return section(`scale-${name}`, scaleSection(cells, name), cells)
}

function section(name: string, text: string, result: unknown): Section {
  const machine = thisMachine()
  return { name, text: `${text}\n\n${describeMachine(machine)}.`, data: { machine, result } }
}
