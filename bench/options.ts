import { readOptions, refuse, wholeNumber } from '../dev/command-line.ts'
import { WORKLOADS, type WorkloadName } from './workload.ts'
import { PLANS } from './workload-plans.ts'

const HELP = `npm run bench [-- OPTIONS]

Starts a Kafka, fills topics, and measures the worker beside its limits, in turn, round by round: an echo in the same client,
a bare consumer, and ONNX Runtime alone with the batch sizes that the worker had. Prints tables in Markdown: medians, with
the least and the most in brackets.

What is measured (throughput, unless one of these is given):
  --throughput       records a second, processor time and memory, catching up with a full topic
  --latency          Poisson arrivals at --rates, and an overload: percentiles at a read_committed reader
  --scale            1 to 256 partitions with 1, 2 and 4 replicas

How:
  --workload NAME    ${WORKLOADS.join(', ')}; may be repeated. Unless given: all but
                     iris-forest for throughput, iris for the others
  --peers            measures workers in Java and Python, too
  --runs N           rounds, 5 unless given
  --seconds N        the longest that one run is measured; 12 unless given, 30 for the heavy model
  --records N        published beforehand, unless each workload's own number is right
  --partitions N     4 unless given
  --rates N,…        of --latency, records a second: 100,1000,10000,30000 unless given
  --quick            two rounds of three seconds: to see that it works

What becomes of it:
  --json             prints all figures instead of tables
  --record           also puts the tables into bench/RESULTS.md, the figures into RESULTS.jsonl, the plots into images/

Example: npm run bench -- --workload iris --runs 3 --peers`

/** What was asked for. */
export interface BenchOptions {
  readonly sections: { readonly throughput: boolean; readonly latency: boolean; readonly scale: boolean }
  /** Undefined where none was named. */
  readonly workloads: readonly WorkloadName[] | undefined
  readonly peers: boolean
  readonly runs: number
  /** How long a workload is measured, and how many records are published for it. */
  readonly seconds: (workload: WorkloadName) => number
  readonly records: (workload: WorkloadName) => number
  readonly partitions: number
  readonly rates: readonly number[]
  readonly quick: boolean
  readonly json: boolean
  readonly record: boolean
}

const QUICK = { runs: 2, seconds: 3, share: 0.25 }

/** Reads the command line; ends the process where it asks for help or for what there is not. */
export function readBenchOptions(): BenchOptions {
  const given = readOptions(HELP, {
    throughput: { type: 'boolean', default: false },
    latency: { type: 'boolean', default: false },
    scale: { type: 'boolean', default: false },
    workload: { type: 'string', multiple: true },
    peers: { type: 'boolean', default: false },
    runs: { type: 'string' },
    seconds: { type: 'string' },
    records: { type: 'string' },
    partitions: { type: 'string' },
    rates: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
  })
  const { throughput, latency, scale, peers, quick, json, record } = given
  const seconds = (workload: WorkloadName) => (quick ? QUICK.seconds : PLANS[workload].seconds)
  const records = (workload: WorkloadName) => Math.ceil(PLANS[workload].records * (quick ? QUICK.share : 1))
  for (const option of ['seconds', 'records'] as const) wholeNumber(option, given[option], 1, 1)
  return {
    sections: { throughput: throughput || !(latency || scale), latency, scale },
    workloads: given.workload?.map(workloadNamed),
    peers,
    runs: wholeNumber('runs', given.runs, quick ? QUICK.runs : 5, 1),
    seconds: workload => wholeNumber('seconds', given.seconds, seconds(workload), 1),
    records: workload => wholeNumber('records', given.records, records(workload), 1),
    partitions: wholeNumber('partitions', given.partitions, 4, 1),
    rates: (given.rates ?? (quick ? '1000' : '100,1000,10000,30000')).split(',').map(rate => {
      return wholeNumber('rates', rate, 0, 1)
    }),
    quick,
    json,
    record,
  }
}

function workloadNamed(text: string): WorkloadName {
  const found = WORKLOADS.find(name => name === text)
  return found ?? refuse(`--workload is "${text}", but must be of ${WORKLOADS.join(', ')}`)
}
