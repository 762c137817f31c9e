import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import type { RecordBatch } from '../../src/core/record-batch.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'
import { endOffsets, stableEndOffsets, type TopicView } from '../../src/kafka/log-offsets.ts'
import { partitionCount } from '../../src/kafka/offsets.ts'
import { TopicScan } from '../../src/kafka/topic-scan.ts'
import type { Arrivals } from './arrivals.ts'
import { monotonicMs } from './clock.ts'
import { Sightings, type Tally } from './sightings.ts'
import { SourceReader } from './source-reader.ts'

export interface ReaderOptions {
  readonly brokers: readonly string[]
  readonly inputTopic: string
  readonly outputTopic: string
  readonly arrivals: Arrivals
  /** Memory for the sightings, see {@link Sightings}. */
  readonly seen: Float64Array
  /** In the input, of the plan's first record in each partition. */
  readonly firstOffsets: readonly number[]
}

/** How long to wait for a number of records. */
export interface Patience {
  readonly records: number
  readonly ms: number
}

/** What was read. */
export interface Reading extends Tally {
  /** Record batches: of a contender that is exactly once, as many as its transactions wrote to partitions. */
  readonly batches: number
}

const CONNECTION = { clientId: 'bench-reader', requestTimeoutMs: 10_000, metadataMaxAgeMs: 600_000 } as const
/** For transactions that are open when the reading ends. */
const LAST_PATIENCE_MS = 2_000

/**
 * Reads the output as a read_committed consumer, and notes when each record became visible. Its fetches wait at the broker
 * until there is something (as a consumer with `fetch.min.bytes=1`), so the time seen is the broker's, not that of a poll.
 */
export class OutputReader {
  readonly #view: TopicView
  readonly #scan: TopicScan
  readonly #sightings: Sightings
  readonly #source: SourceReader
  readonly #stop = new AbortController()
  readonly #reading: Promise<unknown>
  #batches = 0
  #awaited: { readonly records: number; readonly resolve: () => void } | undefined

  /** Connects, and begins where the output ends now. */
  static async open(options: ReaderOptions): Promise<OutputReader> {
    const cluster = clusterTools({ ...CONNECTION, brokers: options.brokers }, silentLog).create()
    await cluster.connect()
    const topic = options.outputTopic
    const partitions = await partitionCount(cluster, topic)
    if (partitions === undefined) throw new Error(`The output topic ${topic} does not exist.`)
    const view = { cluster, topic, partitions, clock: systemClock }
    return new OutputReader(options, view, await stableEndOffsets(view))
  }

  private constructor(options: ReaderOptions, view: TopicView, start: readonly number[]) {
    this.#view = view
    this.#sightings = new Sightings(options.arrivals, options.seen, options.firstOffsets)
    this.#source = new SourceReader(options.inputTopic)
    this.#scan = new TopicScan({ ...view, start, accept: batch => this.#accept(batch) })
    const forever = start.map(() => Number.MAX_SAFE_INTEGER)
    const limits = { patienceMs: Number.POSITIVE_INFINITY, signal: this.#stop.signal }
    this.#reading = this.#scan.readTo(forever, limits)
    this.#reading.catch(() => {}) // whoever waits for records hears of it
  }

  /** Resolves when so many records were seen, or time is up, to how many were. One call at a time. */
  async untilSeen({ records, ms }: Patience): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    this.#awaited = { records, resolve }
    this.#look()
    await Promise.race([promise, this.#reading])
    clearTimeout(timer)
    this.#awaited = undefined
    return this.#sightings.seen
  }

  /** Reads to the end of the output as it is now, for records that come twice, and disconnects. */
  async finish(): Promise<Reading> {
    this.#stop.abort()
    await this.#reading
    await this.#scan.readTo(await endOffsets(this.#view), { patienceMs: LAST_PATIENCE_MS })
    await this.#view.cluster.disconnect()
    return { ...this.#sightings.tally(), batches: this.#batches }
  }

  #accept(batch: RecordBatch): void {
    const at = monotonicMs()
    const source = this.#source
    for (let i = 0; i < batch.count; i++) {
      source.read(batch, i)
      this.#sightings.add(source.partition, source.offset, at)
    }
    this.#batches++
    this.#look()
  }

  #look(): void {
    if (this.#awaited !== undefined && this.#sightings.seen >= this.#awaited.records) this.#awaited.resolve()
  }
}
