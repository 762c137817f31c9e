// Lets one worker go at full load for minutes, and shows that its memory does not grow.
//
//   npm run soak [-- --minutes N --record]

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startBroker } from '../../dev/broker.ts'
import { committedOffsets, withAdmin } from '../../test/support/broker.ts'
import { frame, goldenSamples, IRIS_SCHEMA_ID } from '../../test/support/models.ts'
import type { WorkerProcess } from '../../test/support/sluice-process.ts'
import { Testbed } from '../../test/support/testbed.ts'
import { percentile } from '../statistics.ts'
import { lineChart } from './chart.ts'
import { Flood } from './flood.ts'

const HELP = `npm run soak [-- --minutes N --record]

Starts a Kafka and one worker, keeps more records in its input topic than it can take, and samples its memory. Exit code 0
when the median of the last third is at most 5 % above that of the second, and the worker was never without work.

  --minutes N    how long, 10 unless given
  --record       keeps the plot as docs/images/memory.svg and prints the sentence for docs/reliability.md

Example: npm run soak -- --minutes 2`

const PARTITIONS = 4
const MODEL = 'iris-classifier'
const RECORDS_PER_BATCH = 2_000
const SAMPLE_EVERY_MS = 2_000
/** Published ahead of the worker: seconds of work, so that it never waits for input. */
const AHEAD = 1_500_000
const MOST_GROWTH = 0.05
/** What lies behind is dropped, or ten minutes would fill the disk. */
const RETENTION = { 'retention.bytes': String(200 * 2 ** 20), 'segment.bytes': String(32 * 2 ** 20) }

interface Sample {
  readonly minutes: number
  readonly rssMiB: number
  readonly heapMiB: number
  readonly records: number
  readonly lag: number
}

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    record: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

/** Publishes so that the worker always has something to do, until `stop`. */
async function keepAhead(flood: Flood, done: () => number, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    if (flood.published - done() < AHEAD) await flood.publish()
    else await delay(5)
  }
}

async function sampleUntil(
  end: number,
  bed: Testbed,
  worker: WorkerProcess,
  flood: Flood,
  onDone: (n: number) => void,
) {
  const samples: Sample[] = []
  const begun = performance.now()
  while (performance.now() < end) {
    await delay(SAMPLE_EVERY_MS)
    const offsets = await committedOffsets(bed.group, bed.input)
    const records = offsets.reduce((sum, offset) => sum + Math.max(0, offset), 0)
    onDone(records)
    const sample = {
      minutes: (performance.now() - begun) / 60_000,
      rssMiB: rssMiB(worker.pid),
      heapMiB: (await worker.metric('nodejs_heap_size_used_bytes')) / 2 ** 20,
      records,
      lag: flood.published - records,
    }
    samples.push(sample)
    if (samples.length % 15 === 0) report(sample)
  }
  return samples
}

function rssMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}

function report({ minutes, rssMiB: rss, records, lag }: Sample): void {
  const million = (records / 1e6).toFixed(1)
  console.error(`${minutes.toFixed(1)} min: ${million} M records, ${lag} ahead, ${rss.toFixed(0)} MiB resident`)
}

/** Median of the last third over that of the second, less 1: the first third is for warming up. */
function growth(samples: readonly Sample[]): number {
  const third = Math.floor(samples.length / 3)
  const median = (part: readonly Sample[]) =>
    percentile(
      part.map(sample => sample.rssMiB),
      0.5,
    )!
  return median(samples.slice(2 * third)) / median(samples.slice(third, 2 * third)) - 1
}

function chart(samples: readonly Sample[]): string {
  const points = (of: (sample: Sample) => number) => samples.map(sample => [sample.minutes, of(sample)] as const)
  return lineChart({
    title: 'Memory of one worker at full load',
    x: 'minutes',
    y: 'MiB',
    series: [
      { name: 'resident', colour: '#1f5fa8', points: points(sample => sample.rssMiB) },
      { name: 'JavaScript heap', colour: '#c2571a', points: points(sample => sample.heapMiB) },
    ],
  })
}

async function soak(minutes: number): Promise<Sample[]> {
  const broker = await startBroker({
    properties: { 'log.retention.check.interval.ms': 5_000, 'log.segment.delete.delay.ms': 1_000 },
  })
  process.env.KAFKA_BROKERS = broker.bootstrap
  const bed = await Testbed.create('soak', { model: MODEL, partitions: PARTITIONS })
  const values = goldenSamples(MODEL).map(({ input }) => frame(IRIS_SCHEMA_ID, input))
  const flood = new Flood({
    brokers: [broker.bootstrap],
    topic: bed.input,
    partitions: PARTITIONS,
    values,
    recordsPerBatch: RECORDS_PER_BATCH,
  })
  const stop = new AbortController()
  let done = 0
  try {
    await limitTopics(bed)
    await flood.open()
    const worker = await bed.startWorker().ready()
    const flooding = keepAhead(flood, () => done, stop.signal)
    const end = performance.now() + minutes * 60_000
    const sampling = sampleUntil(end, bed, worker, flood, records => {
      done = records
    })
    const samples = await Promise.race([sampling, flooding.then(() => sampling)])
    stop.abort()
    await flooding
    return samples
  } finally {
    stop.abort()
    await flood.close()
    await bed.close()
    await broker.stop()
  }
}

async function limitTopics({ input, output, deadLetter }: Testbed): Promise<void> {
  const configEntries = Object.entries(RETENTION).map(([name, value]) => ({ name, value }))
  const resources = [input, output, deadLetter].map(name => ({ type: 2, name, configEntries }))
  await withAdmin(admin => admin.alterConfigs({ validateOnly: false, resources }))
}

function verdict(samples: readonly Sample[]): boolean {
  const last = samples.at(-1)!
  const grown = growth(samples)
  const idle = samples.slice(1).filter(({ lag }) => lag <= 0).length
  const rss = samples.map(sample => sample.rssMiB)
  const rate = Math.round((last.records - samples[0]!.records) / ((last.minutes - samples[0]!.minutes) * 60))
  console.log(
    `${last.minutes.toFixed(1)} minutes, ${(last.records / 1e6).toFixed(1)} million records (${rate.toLocaleString('en-US')}/s): ` +
      `resident memory ${percentile(rss, 0.5)!.toFixed(0)} MiB (median; at most ${Math.max(...rss).toFixed(0)} MiB), ` +
      `last third against second third ${(100 * grown).toFixed(1)} %; without work in ${idle} of ${samples.length} samples.`,
  )
  return grown <= MOST_GROWTH && idle === 0
}

if (values.help) console.log(HELP)
else {
  const samples = await soak(Number(values.minutes))
  if (values.record) {
    const images = new URL('../../docs/images/', import.meta.url)
    mkdirSync(images, { recursive: true })
    writeFileSync(new URL('memory.svg', images), chart(samples))
  }
  process.exitCode = verdict(samples) ? 0 : 1
}
