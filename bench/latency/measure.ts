import { setTimeout as delay } from 'node:timers/promises'
import { cpuSeconds } from '../usage.ts'
import { planArrivals, type Step } from './arrivals.ts'
import { monotonicMs } from './clock.ts'
import { courseOf, type Interval, secondsToRecover } from './course.ts'
import type { Lateness } from './generator.ts'
import type { GeneratorMethods } from './generator-thread.ts'
import type { Reading } from './reader.ts'
import type { ReaderMethods } from './reader-thread.ts'
import { noSightings } from './sightings.ts'
import { type Observed, type Summary, summarise } from './summary.ts'
import { Thread } from './thread.ts'

/** What to measure: a contender that is at work between two topics, or about to be. */
export interface LatencyOptions {
  readonly brokers: readonly string[]
  /** Nobody else may publish here. */
  readonly inputTopic: string
  /** May hold older records, which are not read. */
  readonly outputTopic: string
  /** Of the input. */
  readonly partitions: number
  /** Values of the records, in turn. */
  readonly values: readonly Uint8Array[]
  /** Rates, one after another. */
  readonly steps: readonly Step[]
  /** Before the first step, at its rate; not part of any figure but the tally. 5 unless given. */
  readonly warmUpSeconds?: number | undefined
  /** Of the arrivals; the same seed draws the same plan. */
  readonly seed?: number | undefined
  /** How long the contender may take to answer its first records, 60 s unless given. */
  readonly startPatienceMs?: number | undefined
  /** How long to wait for records that are missing when all have been sent, 30 s unless given. */
  readonly patienceMs?: number | undefined
  /** Processes whose processor time is of interest, by name. */
  readonly processes?: Readonly<Record<string, number | undefined>> | undefined
  /** Rejects when the contender has ended; then the measurement is over, too. */
  readonly died?: Promise<never> | undefined
}

export interface LatencyResult {
  /** All steps together. */
  readonly whole: Summary
  readonly steps: readonly Summary[]
  /** How the run went, by quarters of a second; times count from the first step. */
  readonly course: readonly Interval[]
  /**
   * Seconds from the end of the step with the highest rate, until the lag was no larger than before that step. Undefined
   * where it never was, and where there is no step before and after it.
   */
  readonly recoverySeconds: number | undefined
  /**
   * Of the whole run with its warm-up: each record must be seen once, and in the order of its partition. What was not seen
   * within the patience is lost.
   */
  readonly tally: Reading & { readonly records: number; readonly lost: number }
  /** Record batches that were read, for each second of the whole run. */
  readonly batchesPerSecond: number
  /** How late records were sent. It is part of their latency, whoever is to blame: the harness, if this is large. */
  readonly lateness: Lateness
  /** Processor seconds per second during the steps: of generator and reader, and of the processes that were named. */
  readonly cores: Readonly<Record<string, number>>
}

const WARM_UP_SECONDS = 5
const START_PATIENCE_MS = 60_000
const PATIENCE_MS = 30_000
const SEED = 42
/** From the answer to the knocks to the first arrival. */
const HEADWAY_MS = 100

/**
 * Publishes records as they are due by a plan drawn beforehand, and measures for each how long after that a read_committed
 * reader had its output: an open loop, so a contender that stalls is charged for every record that was due meanwhile
 * (no "coordinated omission", Gil Tene). Begins when the contender has answered one record in each partition.
 * @throws Error when it does not answer or has `died`, when a broker refuses a record, or when somebody else publishes to the input
 */
export async function measureLatency(options: LatencyOptions): Promise<LatencyResult> {
  const [generator, reader] = await Promise.all([
    Thread.start<GeneratorMethods>(new URL('generator-thread.ts', import.meta.url), 'generator'),
    Thread.start<ReaderMethods>(new URL('reader-thread.ts', import.meta.url), 'reader'),
  ])
  try {
    return await Promise.race([
      measure(options, { generator, reader }),
      ...(options.died === undefined ? [] : [options.died]),
    ])
  } finally {
    await Promise.all([generator.close(), reader.close()])
  }
}

interface Threads {
  readonly generator: Thread<GeneratorMethods>
  readonly reader: Thread<ReaderMethods>
}

async function measure(options: LatencyOptions, threads: Threads): Promise<LatencyResult> {
  const { brokers, inputTopic, outputTopic, partitions, values, steps } = options
  const { generator, reader } = threads
  const warmUp: Step = { rate: steps[0]!.rate, seconds: options.warmUpSeconds ?? WARM_UP_SECONDS }
  const arrivals = planArrivals([warmUp, ...steps], partitions, options.seed ?? SEED)
  const seen = noSightings(arrivals.count)
  const firstOffsets = await generator.call('open', { brokers, topic: inputTopic, arrivals, values })
  await reader.call('open', { brokers, inputTopic, outputTopic, arrivals, seen, firstOffsets })
  await generator.call('knock')
  await untilAnswered(reader, partitions, options)
  const { startedAt, lateness, cores } = await publish(threads, warmUp, options)
  await reader.call('untilSeen', { records: arrivals.count, ms: options.patienceMs ?? PATIENCE_MS })
  const reading = await reader.call('finish')
  await generator.call('close')
  return resultOf({ arrivals, seen, startedAt }, warmUp, steps, reading, { lateness, cores })
}

async function untilAnswered(reader: Threads['reader'], partitions: number, options: LatencyOptions): Promise<void> {
  const ms = options.startPatienceMs ?? START_PATIENCE_MS
  const answered = await reader.call('untilSeen', { records: partitions, ms })
  if (answered >= partitions) return
  throw new Error(
    `After ${ms / 1000} s ${options.outputTopic} has outputs of ${answered} of the ${partitions} records that were ` +
      `published to the partitions of ${options.inputTopic}: is the contender at work, and does it write the header "source"?`,
  )
}

/** Publishes the plan, and resolves when all is sent. */
async function publish({ generator, reader }: Threads, warmUp: Step, { processes = {} }: LatencyOptions) {
  const startedAt = monotonicMs() + HEADWAY_MS
  const wall = Date.now() + HEADWAY_MS
  const sent = generator.call('run', { monotonic: startedAt, wall })
  const used = async () => ({
    generator: await generator.processorSeconds(),
    reader: await reader.processorSeconds(),
    ...processorSeconds(processes),
  })
  const measured = async () => {
    await delay(HEADWAY_MS + warmUp.seconds * 1000, undefined, { ref: false })
    const [begin, beganAt] = [await used(), monotonicMs()]
    const lateness = await sent
    return { lateness, cores: perSecond(begin, await used(), (monotonicMs() - beganAt) / 1000) }
  }
  const [figures] = await Promise.all([measured(), sent])
  return { startedAt, ...figures }
}

/** Of the processes that are there. */
function processorSeconds(processes: Readonly<Record<string, number | undefined>>): Record<string, number> {
  const used = Object.entries(processes).map(([name, pid]) => [name, cpuSeconds(pid)] as const)
  return Object.fromEntries(used.filter((entry): entry is [string, number] => entry[1] !== undefined))
}

function perSecond(begin: Record<string, number>, end: Record<string, number>, seconds: number) {
  return Object.fromEntries(Object.entries(end).map(([name, used]) => [name, (used - (begin[name] ?? 0)) / seconds]))
}

function resultOf(
  run: Observed,
  warmUp: Step,
  steps: readonly Step[],
  reading: Reading,
  figures: Pick<LatencyResult, 'lateness' | 'cores'>,
): LatencyResult {
  const bounds = [warmUp.seconds]
  for (const { seconds } of steps) bounds.push(bounds.at(-1)! + seconds)
  const summaryOf = (from: number, to: number) => summarise(run, bounds[from]! * 1000, bounds[to]! * 1000)
  const course = courseOf(run, warmUp.seconds * 1000)
  const records = run.arrivals.count
  return {
    whole: summaryOf(0, steps.length),
    steps: steps.map((_, i) => summaryOf(i, i + 1)),
    course,
    recoverySeconds: recovery(course, steps),
    tally: { ...reading, records, lost: records - reading.seen },
    batchesPerSecond: reading.batches / bounds.at(-1)!,
    ...figures,
  }
}

/** From the end of the highest step. */
function recovery(course: readonly Interval[], steps: readonly Step[]): number | undefined {
  const highest = steps.reduce((best, { rate }, i) => (rate > steps[best]!.rate ? i : best), 0)
  if (highest === 0 || highest === steps.length - 1) return undefined
  const seconds = (end: number) => steps.slice(0, end).reduce((sum, step) => sum + step.seconds, 0)
  return secondsToRecover(course, seconds(highest), seconds(highest + 1))
}
