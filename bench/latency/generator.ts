import { createHistogram } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { COLUMNS, Column, type RecordBatch } from '../../src/core/record-batch.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'
import { endOffsets } from '../../src/kafka/log-offsets.ts'
import { leaderIdOf, partitionCount } from '../../src/kafka/offsets.ts'
import { produceBatches } from '../../src/kafka/produce-protocol.ts'
import { RecordBatchWriter } from '../../src/kafka/record-batch-writer.ts'
import type { Arrivals } from './arrivals.ts'
import { monotonicMs } from './clock.ts'

export interface GeneratorOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly arrivals: Arrivals
  /** Values of the records, in turn. */
  readonly values: readonly Uint8Array[]
}

/** When a plan begins: the same moment on two clocks. */
export interface Start {
  /** Of {@link monotonicMs}. */
  readonly monotonic: number
  /** Whole milliseconds since the epoch, for the timestamps of records. */
  readonly wall: number
}

/** By how much the first record of each request was sent later than it was due, in ms. */
export interface Lateness {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** What is due within this time after another record goes out with it, as with `linger.ms`. */
const LINGER_MS = 0.5
const MAX_BATCH_BYTES = 900_000
const REQUEST_TIMEOUT_MS = 10_000
const NOBODY = { producerId: -1n, producerEpoch: -1, baseSequence: -1, transactional: false } as const
const KEYS = 1_000

/**
 * Publishes records when they are due, whatever becomes of those before (an open loop). When a broker is slow, or this
 * thread is, what is due piles up and goes out late, but its time remains the one it was due, and that is what its
 * timestamp says. One request at a time, so that an offset tells which record lies at it; nothing is ever sent twice.
 */
export class Generator {
  readonly #options: GeneratorOptions
  readonly #cluster: KafkajsCluster
  readonly #writers: RecordBatchWriter[]
  readonly #keys = manyKeys()
  readonly #lateness = createHistogram()
  /** Node ids and next offsets, by partition. */
  #leaders: number[] = []
  #nextOffsets: number[] = []
  #next = 0

  constructor(options: GeneratorOptions) {
    this.#options = options
    const connection = { clientId: 'bench-generator', requestTimeoutMs: REQUEST_TIMEOUT_MS, metadataMaxAgeMs: 600_000 }
    this.#cluster = clusterTools({ ...connection, brokers: options.brokers }, silentLog).create()
    this.#writers = Array.from({ length: options.arrivals.partitions }, () => new RecordBatchWriter())
  }

  /** Connects. Resolves to the offset that the first record of each partition will have. */
  async open(): Promise<number[]> {
    const { topic, arrivals } = this.#options
    await this.#cluster.connect()
    const partitions = await partitionCount(this.#cluster, topic)
    if (partitions !== arrivals.partitions) {
      throw new Error(`${topic} must have ${arrivals.partitions} partitions, but has ${partitions ?? 'none'}.`)
    }
    this.#leaders = Array.from({ length: partitions }, (_, partition) => leaderIdOf(this.#cluster, topic, partition))
    this.#nextOffsets = [...(await endOffsets({ cluster: this.#cluster, topic, partitions, clock: systemClock }))]
    return [...this.#nextOffsets]
  }

  /** Publishes the knocks. */
  async knock(): Promise<void> {
    while (this.#next < this.#options.arrivals.partitions) await this.#publishDue(Date.now(), -1)
  }

  /** Publishes all other records, each when it is due. */
  async run(start: Start): Promise<Lateness> {
    const { times, count } = this.#options.arrivals
    while (this.#next < count) {
      const due = start.monotonic + times[this.#next]!
      const wait = due + LINGER_MS - monotonicMs()
      if (wait > 0) await delay(Math.ceil(wait))
      this.#lateness.record(Math.max(1, Math.round((monotonicMs() - due) * 1000)))
      await this.#publishDue(start.wall, monotonicMs() - start.monotonic)
    }
    const ms = (share: number) => this.#lateness.percentile(100 * share) / 1000
    return { p50: ms(0.5), p99: ms(0.99), max: ms(1) }
  }

  async close(): Promise<void> {
    await this.#cluster.disconnect()
  }

  /** Publishes what is due up to `nowMs` after the start, or as much of it as fits into one batch of each partition. */
  async #publishDue(wall: number, nowMs: number): Promise<void> {
    const { topic, arrivals, values } = this.#options
    const { times, partitionOf, count } = arrivals
    for (const [partition, writer] of this.#writers.entries()) writer.open(topic, partition, MAX_BATCH_BYTES)
    while (this.#next < count && times[this.#next]! <= nowMs) {
      const record = this.#next
      const value = values[record % values.length]!
      const key = record % KEYS
      this.#keys.timestamps[key] = wall + Math.floor(Math.max(0, times[record]!))
      if (!this.#writers[partitionOf[record]!]!.begin(this.#keys, key, value, value.length, 0, 0)) break
      this.#next++
    }
    await this.#send()
  }

  async #send(): Promise<void> {
    const batches = this.#writers.filter(writer => writer.records > 0).map(writer => writer.seal(NOBODY))
    const byLeader = Map.groupBy(batches, ({ partition }) => this.#leaders[partition]!)
    await Promise.all(
      [...byLeader].map(async ([nodeId, led]) => {
        const broker = await this.#cluster.findBroker({ nodeId })
        const answers = await produceBatches(broker, { timeoutMs: REQUEST_TIMEOUT_MS, batches: led })
        for (const answer of answers) this.#confirm(answer)
      }),
    )
    for (const { partition, records } of batches) this.#nextOffsets[partition]! += records
  }

  /** Were a batch refused, or were there records of somebody else, offsets would not tell which record is which. */
  #confirm({ partition, errorCode, baseOffset }: { partition: number; errorCode: number; baseOffset: number }): void {
    const place = `${this.#options.topic}/${partition}`
    if (errorCode !== 0) throw new Error(`${place} refuses records: code ${errorCode}.`)
    const expected = this.#nextOffsets[partition]
    if (baseOffset === expected) return
    throw new Error(
      `A record went to offset ${baseOffset} of ${place}, not ${expected}: somebody else publishes there.`,
    )
  }
}

/** Records to take a key of a few bytes from; the writer copies their timestamp, so that is set before each use. */
function manyKeys(): RecordBatch {
  const columns = new Int32Array(KEYS * COLUMNS)
  const bytes: Buffer[] = []
  let at = 0
  for (let key = 0; key < KEYS; key++) {
    const text = Buffer.from(`key-${key}`)
    columns[key * COLUMNS + Column.keyStart] = at
    columns[key * COLUMNS + Column.keyLength] = text.length
    bytes.push(text)
    at += text.length
  }
  const timestamps = new Float64Array(KEYS)
  return { topic: '', partition: 0, count: KEYS, bytes: Buffer.concat(bytes), columns, baseOffset: 0, timestamps }
}
