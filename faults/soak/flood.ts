import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { COLUMNS, Column, type RecordBatch } from '../../src/core/record-batch.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'
import { leaderIdOf } from '../../src/kafka/offsets.ts'
import { produceBatches } from '../../src/kafka/produce-protocol.ts'
import { RecordBatchWriter, type SealedBatch } from '../../src/kafka/record-batch-writer.ts'

export interface FloodOptions {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly partitions: number
  /** Values that a batch repeats, in turn. */
  readonly values: readonly Buffer[]
  readonly recordsPerBatch: number
}

const NOBODY = { producerId: -1n, producerEpoch: -1, baseSequence: -1, transactional: false } as const
const REQUEST_TIMEOUT_MS = 10_000

/** Publishes one record batch over and over: more records a second than a worker can take, for next to no work. */
export class Flood {
  readonly #options: FloodOptions
  readonly #cluster: KafkajsCluster
  readonly #batches: readonly SealedBatch[]
  #published = 0

  constructor(options: FloodOptions) {
    this.#options = options
    const connection = { clientId: 'sluice-soak', requestTimeoutMs: REQUEST_TIMEOUT_MS, metadataMaxAgeMs: 60_000 }
    this.#cluster = clusterTools({ ...connection, brokers: options.brokers }, silentLog).create()
    this.#batches = Array.from({ length: options.partitions }, (_, partition) => sealedBatch(options, partition))
  }

  get published(): number {
    return this.#published
  }

  async open(): Promise<void> {
    await this.#cluster.connect()
    await this.#cluster.addMultipleTargetTopics([this.#options.topic])
  }

  /** One batch for each partition. Throws when a broker refuses it. */
  async publish(): Promise<void> {
    const { topic, partitions, recordsPerBatch } = this.#options
    const broker = await this.#cluster.findBroker({ nodeId: leaderIdOf(this.#cluster, topic, 0) })
    const answers = await produceBatches(broker, { timeoutMs: REQUEST_TIMEOUT_MS, batches: this.#batches })
    const refused = answers.find(({ errorCode }) => errorCode !== 0)
    if (refused !== undefined)
      throw new Error(`${topic}/${refused.partition} refuses records: code ${refused.errorCode}`)
    this.#published += partitions * recordsPerBatch
  }

  async close(): Promise<void> {
    await this.#cluster.disconnect()
  }
}

/** A batch without keys and headers. */
function sealedBatch({ topic, values, recordsPerBatch }: FloodOptions, partition: number): SealedBatch {
  const writer = new RecordBatchWriter()
  writer.open(topic, partition, Number.MAX_SAFE_INTEGER)
  const source = keylessRecord(topic, partition)
  for (let i = 0; i < recordsPerBatch; i++) {
    const value = values[i % values.length]!
    writer.begin(source, 0, value, value.length, 0, 0)
  }
  return writer.seal(NOBODY)
}

/** A record to take a timestamp and a key from: now, and none. */
function keylessRecord(topic: string, partition: number): RecordBatch {
  const columns = new Int32Array(COLUMNS)
  columns[Column.keyLength] = -1
  const timestamps = Float64Array.of(systemClock.wallTime())
  return { topic, partition, count: 1, bytes: Buffer.alloc(0), columns, baseOffset: 0, timestamps }
}
