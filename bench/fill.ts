import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../src/core/clock.ts'
import { silentLog } from '../src/core/log.ts'
import { COLUMNS, Column, type RecordBatch } from '../src/core/record-batch.ts'
import { clusterTools } from '../src/kafka/cluster.ts'
import { leaderIdOf } from '../src/kafka/offsets.ts'
import { produceBatches } from '../src/kafka/produce-protocol.ts'
import { RecordBatchWriter, type SealedBatch } from '../src/kafka/record-batch-writer.ts'

/** What `fill` publishes. */
export interface FillOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly partitions: number
  /** Values of records, in turn. */
  readonly values: readonly Buffer[]
  /** In all partitions together, each has as many as the next or one more. */
  readonly records: number
}

/** `batch.size` of a Java producer that is not told otherwise, and about what librdkafka gathers in its 5 ms of linger. */
const BATCH_BYTES = 16_384
/** Requests under way at once: while the broker serves one, the next is on its way. */
const IN_FLIGHT = 4
const REQUEST_TIMEOUT_MS = 30_000
const NOBODY = { producerId: -1n, producerEpoch: -1, baseSequence: -1, transactional: false } as const
/** UNKNOWN_TOPIC_OR_PARTITION and NOT_LEADER_OR_FOLLOWER. */
const LEADER_IS_NEW: readonly number[] = [3, 6]
const RETRY_MS = 50
/** Keys are five digits. */
const FIRST_KEY = 10_000

/**
 * Fills a topic with records in batches of 16 KB (a larger record is a batch of its own), with keys of five bytes and the
 * time of the call as their timestamp, without compression. A batch is made once for each partition and published over
 * and over. All partitions must have the same leader.
 * @throws Error when the broker refuses a batch
 */
export async function fill(options: FillOptions): Promise<void> {
  const { brokers, topic, partitions, records } = options
  const connection = { clientId: 'sluice-bench', requestTimeoutMs: REQUEST_TIMEOUT_MS, metadataMaxAgeMs: 60_000 }
  const cluster = clusterTools({ ...connection, brokers }, silentLog).create()
  await cluster.connect()
  try {
    await cluster.addMultipleTargetTopics([topic])
    const broker = await cluster.findBroker({ nodeId: leaderIdOf(cluster, topic, 0) })
    const supplies = Array.from({ length: partitions }, (_, partition) => {
      const share = Math.floor(records / partitions) + (partition < records % partitions ? 1 : 0)
      return new Supply(options, partition, share)
    })
    const publish = async () => {
      for (;;) {
        const batches = supplies.flatMap(supply => supply.next() ?? [])
        if (batches.length === 0) return
        await publishAll(broker, batches)
      }
    }
    await Promise.all(Array.from({ length: IN_FLIGHT }, publish))
  } finally {
    await cluster.disconnect()
  }
}

/** A broker that has just heard of a topic may not know yet that it leads all of it: those batches are sent again. */
async function publishAll(broker: KafkajsBroker, batches: readonly SealedBatch[]): Promise<void> {
  let rest = batches
  while (rest.length > 0) {
    const answers = await produceBatches(broker, { timeoutMs: REQUEST_TIMEOUT_MS, batches: rest })
    const refusals = new Map(answers.map(({ partition, errorCode }) => [partition, errorCode]))
    for (const { topic, partition, errorCode } of answers) {
      if (errorCode === 0 || LEADER_IS_NEW.includes(errorCode)) continue
      throw new Error(`${topic}/${partition} refuses records: code ${errorCode}`)
    }
    rest = rest.filter(({ partition }) => refusals.get(partition) !== 0)
    if (rest.length > 0) await delay(RETRY_MS)
  }
}

/** The batches of one partition: full ones, and one with what is left. */
class Supply {
  readonly #options: FillOptions
  readonly #partition: number
  readonly #full: SealedBatch
  #left: number

  constructor(options: FillOptions, partition: number, records: number) {
    this.#options = options
    this.#partition = partition
    this.#left = records
    this.#full = sealedBatch(options, partition, Math.max(1, records))
  }

  next(): SealedBatch | undefined {
    if (this.#left === 0) return undefined
    const batch = this.#left < this.#full.records ? sealedBatch(this.#options, this.#partition, this.#left) : this.#full
    this.#left -= batch.records
    return batch
  }
}

/** As many records as a batch holds, but at most `most`. */
function sealedBatch({ topic, values }: FillOptions, partition: number, most: number): SealedBatch {
  const writer = new RecordBatchWriter()
  writer.open(topic, partition, BATCH_BYTES)
  for (let i = 0; i < most; i++) {
    const value = values[(partition + i) % values.length]!
    if (!writer.begin(keyedRecord(topic, partition, FIRST_KEY + i), 0, value, value.length, 0, 0)) break
  }
  return writer.seal(NOBODY)
}

/** A record to take a timestamp and a key from. */
function keyedRecord(topic: string, partition: number, key: number): RecordBatch {
  const bytes = Buffer.from(String(key))
  const columns = new Int32Array(COLUMNS)
  columns[Column.keyLength] = bytes.length
  const timestamps = Float64Array.of(systemClock.wallTime())
  return { topic, partition, count: 1, bytes, columns, baseOffset: 0, timestamps }
}
