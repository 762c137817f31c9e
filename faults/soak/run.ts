// Lets one worker go at full load for minutes, and shows that its memory does not grow.
//
//   npm run soak [-- --minutes N --record]

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { startBroker } from '../../dev/broker.ts'
import { lineChart } from '../../dev/chart.ts'
import { readOptions, wholeNumber } from '../../dev/command-line.ts'
import { committedOffsets, withAdmin } from '../../test/support/broker.ts'
import { frame, goldenSamples, IRIS_SCHEMA_ID } from '../../test/support/models.ts'
import type { WorkerProcess } from '../../test/support/sluice-process.ts'
import { Testbed } from '../../test/support/testbed.ts'
import { percentile } from '../statistics.ts'
import { Flood } from './flood.ts'

const HELP = `npm run soak [-- --minutes N --record]

Starts a Kafka and one worker, keeps more records in its input topic than it can take, and samples its memory. Exit code 0
when the median of the last third is at most 5 % above that of the second, the worker was hardly ever without work, and did it.

  --minutes N    how long, 10 unless given
  --record       keeps the plot as docs/images/memory.svg

Example: npm run soak -- --minutes 2`

const PARTITIONS = 4
const MODEL = 'iris-classifier'
const RECORDS_PER_BATCH = 2_000
const SAMPLE_EVERY_MS = 2_000
/** Published ahead of the worker: seconds of work, so that it never waits for input. */
const AHEAD = 1_500_000
const MOST_GROWTH = 0.05
/** Of the samples: a worker may catch up with the generator for a moment. */
const MOST_IDLE = 0.05
/** A worker that stands still has no growing memory either. */
const LEAST_RECORDS_PER_SECOND = 10_000
/** What lies behind is dropped, or ten minutes would fill the disk. */
const RETENTION = { 'retention.bytes': String(200 * 2 ** 20), 'segment.bytes': String(32 * 2 ** 20) }

interface Sample {
  readonly minutes: number
  readonly rssMiB: number
  readonly heapMiB: number
  /** Outside of the heap, and counted by it: what was fetched, what is to be sent, tensors. */
  readonly externalMiB: number
  readonly records: number
  readonly lag: number
}

const options = readOptions(HELP, {
  minutes: { type: 'string' },
  record: { type: 'boolean', default: false },
})
const MINUTES = wholeNumber('minutes', options.minutes, 10, 1)

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
      externalMiB: (await worker.metric('nodejs_external_memory_bytes')) / 2 ** 20,
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

function report({ minutes, rssMiB: rss, heapMiB, externalMiB, records, lag }: Sample): void {
  const million = (records / 1e6).toFixed(1)
  const [resident, heap, buffers] = [rss, heapMiB, externalMiB].map(mib => mib.toFixed(0))
  const memory = `${resident} MiB resident (heap ${heap}, buffers ${buffers})`
  console.error(`${minutes.toFixed(1)} min: ${million} M records, ${lag} ahead, ${memory}`)
}

interface Third {
  readonly rssMiB: number
  readonly recordsPerSecond: number
}

/** Medians of three equal parts of the time. */
function thirds(samples: readonly Sample[]): [Third, Third, Third] {
  const length = Math.floor(samples.length / 3)
  return [0, 1, 2].map(i => {
    const part = samples.slice(i * length, (i + 1) * length)
    const [first, last] = [part[0]!, part.at(-1)!]
    const recordsPerSecond = (last.records - first.records) / ((last.minutes - first.minutes) * 60)
    return {
      rssMiB: percentile(
        part.map(sample => sample.rssMiB),
        0.5,
      )!,
      recordsPerSecond,
    }
  }) as [Third, Third, Third]
}

function chart(samples: readonly Sample[]): string {
  const points = (of: (sample: Sample) => number) => samples.map(sample => [sample.minutes, of(sample)] as const)
  return lineChart({
    title: 'Memory of one worker at full load',
    x: 'minutes',
    y: 'MiB',
    series: [
      { name: 'resident', colour: '#1f5fa8', points: points(sample => sample.rssMiB) },
      { name: 'buffers', colour: '#3d8b40', points: points(sample => sample.externalMiB) },
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

/** Flat: the first third is for warming up, the last must be as large as the second, and as fast. */
function verdict(samples: readonly Sample[]): boolean {
  const last = samples.at(-1)!
  const [, second, third] = thirds(samples)
  const growth = third.rssMiB / second.rssMiB - 1
  const idle = samples.slice(1).filter(({ lag }) => lag <= 0).length
  const most = Math.max(...samples.map(sample => sample.rssMiB))
  const perHour = ((third.rssMiB - second.rssMiB) / (last.minutes / 3)) * 60
  const slowest = Math.min(second.recordsPerSecond, third.recordsPerSecond)
  console.log(
    `${last.minutes.toFixed(1)} minutes, ${(last.records / 1e6).toFixed(1)} million records, never fewer than ` +
      `${Math.round(slowest).toLocaleString('en-US')}/s in a third of the time: resident memory ${third.rssMiB.toFixed(0)} MiB ` +
      `(median of the last third; at most ${most.toFixed(0)} MiB), ${(100 * growth).toFixed(1)} % against the second third ` +
      `(${perHour.toFixed(0)} MiB an hour); without work in ${idle} of ${samples.length} samples.`,
  )
  return growth <= MOST_GROWTH && idle <= MOST_IDLE * samples.length && slowest > LEAST_RECORDS_PER_SECOND
}

const samples = await soak(MINUTES)
if (options.record) {
  const images = new URL('../../docs/images/', import.meta.url)
  mkdirSync(images, { recursive: true })
  writeFileSync(new URL('memory.svg', images), chart(samples))
}
process.exitCode = verdict(samples) ? 0 : 1
