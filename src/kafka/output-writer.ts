import type { Clock } from '../core/clock.ts'
import { COMPARED, type ComparedHeaders } from '../core/comparison.ts'
import type { RecordFault, Stage } from '../core/errors.ts'
import { partitionOfKey } from '../core/murmur2.ts'
import { COLUMNS, Column, offsetOf, type RecordBatch, valueBytes } from '../core/record-batch.ts'
import { type TimelineEntry, timelineRecord } from '../core/timeline.ts'
import type { Arm, ModelIdentity, OutputWriter } from '../core/transaction.ts'
import { keySource } from './keyed-record.ts'
import { RecordBatchWriter } from './record-batch-writer.ts'
import { type EncodedHeaders, HeaderBuilder, HeaderFilter } from './record-headers.ts'
import { servingTag } from './serving-tag.ts'

export interface PartitionCounts {
  readonly input: number
  readonly output: number
  readonly deadLetter: number
  /** 0 where there is no such topic: then nothing shadows. */
  readonly shadow: number
}

/** What the records of one input partition become, and where they go. */
export interface OutputOptions {
  readonly outputTopic: string
  readonly deadLetterTopic: string
  readonly shadowTopic: string
  readonly timelineTopic: string
  /**
   * Partitions of each topic: they decide whether a record keeps its partition number. Asked again at every `take` and
   * `discard`, so that a topic that was given more partitions changes the mapping between two transactions, and for all
   * tasks of a replica alike.
   */
  readonly partitionCounts: () => PartitionCounts
  readonly clock: Clock
  /** The most bytes of a record batch before compression; a larger record is a batch of its own. */
  readonly maxBatchBytes: number
  /** In replays only. */
  readonly replayId?: string | undefined
}

/** Headers that a prediction says itself. An input that is the output of another Sluice has them already. */
const OWN_HEADERS = [
  'model-name',
  'model-version',
  'model-sha256',
  'execution-provider',
  'source',
  'replay-id',
  'model-arm',
  ...Object.values(COMPARED),
]

const SHA256_DIGITS = 16

/**
 * Writes predictions and dead letters as record batches, in the form that README.md ("A prediction") promises.
 *
 * Ownership: batches belong to the writer while they are written. `take` hands all of them to the caller, who seals and
 * sends them and gives them back with `recycle` once their bytes are no longer needed, or forgets them. What is written
 * after `take` goes into other batches, so a transaction may be under way meanwhile.
 */
export class KafkaOutputWriter implements OutputWriter {
  readonly #options: OutputOptions
  #counts: PartitionCounts
  #topics: Topics
  readonly #timeline: TopicBatches
  /** Tag of the versions that answer what is written, see `servingTag`. */
  #serving: string | undefined
  readonly #filter = new HeaderFilter(OWN_HEADERS)
  readonly #keepAll = new HeaderFilter([])
  readonly #faultHeaders = new HeaderBuilder()
  readonly #comparedHeaders = new HeaderBuilder()
  /** Of the last prediction: most are followed by one of the same version and arm. */
  #lastHeaders: ModelHeaders | undefined
  /** Of each version and arm: what the last of its predictions had in common with those before. */
  readonly #modelHeaders: Record<Arm, WeakMap<ModelIdentity, ModelHeaders>> = {
    stable: new WeakMap(),
    canary: new WeakMap(),
    shadow: new WeakMap(),
  }
  /** Since the last `take`, in the order in which they were opened. */
  #open: RecordBatchWriter[] = []
  #records = 0

  constructor(options: OutputOptions) {
    this.#options = options
    this.#counts = options.partitionCounts()
    this.#topics = topicBatches(options, this.#counts)
    this.#timeline = new TopicBatches(options.timelineTopic, 0, 1)
  }

  get takesShadows(): boolean {
    return !this.#topics.shadows.empty
  }

  /** Tag of the versions that answer the records written last; for the offset that is committed with them. */
  get serving(): string | undefined {
    return this.#serving
  }

  /** The task goes on where the group is, behind records that these versions answered. */
  resume(serving: string | undefined): void {
    this.#serving = serving
  }

  get records(): number {
    return this.#records
  }

  serve(entry: TimelineEntry): void {
    const tag = servingTag(entry)
    if (tag === this.#serving) return
    this.#serving = tag
    const { key, value } = timelineRecord(entry)
    const bytes = Buffer.from(value)
    const timeline = this.#timeline
    const writer = timeline.current(0) ?? this.#openBatch(timeline, 0)
    writer.begin(keySource(key, entry.at), 0, bytes, bytes.length, 0, 0)
  }

  /** A shadow's goes nowhere where its topic does not exist. */
  prediction(
    batch: RecordBatch,
    index: number,
    value: Uint8Array,
    length: number,
    model: ModelIdentity,
    arm: Arm,
    compared?: ComparedHeaders,
  ): void {
    const topic = arm === 'shadow' ? this.#topics.shadows : this.#topics.predictions
    if (topic.empty) return
    const offset = offsetOf(batch, index)
    const digits = countDigits(offset)
    const headers = this.#headersOf(model, arm, batch, digits)
    const own = compared && this.#encodeCompared(compared)
    const added = own === undefined ? headers : together(own, headers)
    const writer = this.#begin(topic, batch, index, value, length, this.#filter, added, digits)
    if (own !== undefined) writer.append(own.bytes, 0, own.length)
    writer.appendShared(headers.bytes)
    writer.appendDecimal(offset, digits)
  }

  /** Before the other headers, whose last one is not whole yet. */
  #encodeCompared(compared: ComparedHeaders): EncodedHeaders {
    const headers = this.#comparedHeaders.clear()
    for (const [name, text] of Object.entries(compared)) headers.add(name, text)
    return headers
  }

  deadLetter(batch: RecordBatch, index: number, fault: RecordFault, stage: Stage, model?: ModelIdentity): void {
    const offset = offsetOf(batch, index)
    const digits = countDigits(offset)
    const headers = this.#faultHeaders.clear()
    headers.add('error-code', fault.code).add('error-message', fault.message).add('error-stage', stage)
    headers.add('failed-at', new Date(this.#options.clock.wallTime()).toISOString())
    if (model !== undefined) headers.add('model-name', model.name).add('model-version', model.version)
    if (this.#options.replayId !== undefined) headers.add('replay-id', this.#options.replayId)
    headers.addSource(batch.topic, batch.partition, digits)
    const value = valueBytes(batch, index)
    const length = value?.length ?? 0
    const writer = this.#begin(this.#topics.deadLetters, batch, index, value, length, this.#keepAll, headers, digits)
    writer.append(headers.bytes, 0, headers.length)
    writer.appendDecimal(offset, digits)
  }

  /**
   * Hands over every batch written since the last call, none empty; batches of one topic and partition are in the order
   * in which they must be sent, and take their sequence numbers in that order.
   */
  take(): RecordBatchWriter[] {
    const taken = this.#open
    this.#forget()
    this.#followPartitions()
    return taken
  }

  /** Takes batches back that `take` gave: nobody may read them or their sealed bytes any more. */
  recycle(batches: readonly RecordBatchWriter[]): void {
    for (const batch of batches) batch.free()
  }

  /** Throws away what was written and not taken: the task starts over from its committed offset. */
  discard(): void {
    const discarded = this.#open
    this.#forget()
    this.recycle(discarded)
    this.#followPartitions()
  }

  /** While a topic is not there it counts no partitions: what was known of it before stands. */
  #followPartitions(): void {
    const counts = this.#options.partitionCounts()
    const known = counts.input > 0 && counts.output > 0 && counts.deadLetter > 0
    if (known && !sameCounts(counts, this.#counts)) {
      this.#counts = counts
      this.#topics = topicBatches(this.#options, counts)
    }
  }

  /** Every partition that output of an input partition may be written to, of topics that exist. */
  destinations(inputPartition: number): { topic: string; partitions: number[] }[] {
    const { predictions, deadLetters, shadows } = this.#topics
    return [predictions, deadLetters, shadows, this.#timeline]
      .map(topic => ({ topic: topic.topic, partitions: topic.reachableFrom(inputPartition) }))
      .filter(({ partitions }) => partitions.length > 0)
  }

  #forget(): void {
    this.#open = []
    this.#records = 0
    for (const topic of [...Object.values(this.#topics), this.#timeline]) topic.clear()
  }

  /** Writes a record up to the headers passed through; `added` and the digits of its offset must follow. */
  #begin(
    topic: TopicBatches,
    batch: RecordBatch,
    index: number,
    value: Uint8Array | null,
    length: number,
    passed: HeaderFilter,
    added: EncodedHeaders,
    digits: number,
  ): RecordBatchWriter {
    passed.select(batch, index)
    const count = passed.count + added.count
    const bytes = passed.length + added.length + digits
    const partition = topic.partitionFor(batch, index)
    let writer = topic.current(partition) ?? this.#openBatch(topic, partition)
    if (!writer.begin(batch, index, value, length, count, bytes)) {
      writer = this.#openBatch(topic, partition)
      writer.begin(batch, index, value, length, count, bytes)
    }
    passed.appendTo(writer)
    this.#records++
    return writer
  }

  #openBatch(topic: TopicBatches, partition: number): RecordBatchWriter {
    const writer = topic.open(partition, this.#options.maxBatchBytes)
    this.#open.push(writer)
    return writer
  }

  /** What all predictions of a model have in common, as long as their offsets have as many digits; encoded once. */
  #headersOf(model: ModelIdentity, arm: Arm, batch: RecordBatch, digits: number): ModelHeaders {
    const last = this.#lastHeaders
    const known = last?.model === model && last.arm === arm ? last : this.#modelHeaders[arm].get(model)
    if (known !== undefined && known.digits === digits && isFrom(batch, known)) {
      this.#lastHeaders = known
      return known
    }
    const { replayId } = this.#options
    const builder = new HeaderBuilder()
      .add('model-name', model.name)
      .add('model-version', model.version)
      .add('model-sha256', model.sha256.slice(0, SHA256_DIGITS))
      .add('execution-provider', model.provider)
    if (replayId !== undefined) builder.add('replay-id', replayId)
    if (arm !== 'stable') builder.add('model-arm', arm)
    const { topic, partition } = batch
    const headers = builder.addSource(topic, partition, digits).toHeaders()
    const encoded = { ...headers, model, arm, topic, partition, digits }
    this.#modelHeaders[arm].set(model, encoded)
    this.#lastHeaders = encoded
    return encoded
  }
}

/** The headers of a prediction, all but the digits of the offset at the end. */
interface ModelHeaders extends EncodedHeaders {
  readonly model: ModelIdentity
  readonly arm: Arm
  readonly topic: string
  readonly partition: number
  readonly digits: number
}

/** What two lists of headers take; their bytes lie apart. */
function together(a: EncodedHeaders, b: EncodedHeaders): EncodedHeaders {
  return { bytes: a.bytes, length: a.length + b.length, count: a.count + b.count }
}

function isFrom(batch: RecordBatch, { topic, partition }: ModelHeaders): boolean {
  return batch.partition === partition && batch.topic === topic
}

function countDigits(value: number): number {
  let digits = 1
  for (let limit = 10; value >= limit; limit *= 10) digits++
  return digits
}

interface Topics {
  readonly predictions: TopicBatches
  readonly deadLetters: TopicBatches
  readonly shadows: TopicBatches
}

function topicBatches(options: OutputOptions, { input, output, deadLetter, shadow }: PartitionCounts): Topics {
  return {
    predictions: new TopicBatches(options.outputTopic, input, output),
    deadLetters: new TopicBatches(options.deadLetterTopic, input, deadLetter),
    shadows: new TopicBatches(options.shadowTopic, input, shadow),
  }
}

function sameCounts(a: PartitionCounts, b: PartitionCounts): boolean {
  return a.input === b.input && a.output === b.output && a.deadLetter === b.deadLetter && a.shadow === b.shadow
}

/** One output topic: the batch that each of its partitions is written to, and which partition a record goes to. */
class TopicBatches {
  readonly topic: string
  readonly #inputPartitions: number
  readonly #partitions: number
  readonly #current = new Map<number, RecordBatchWriter>()
  /** By partition: bytes of the last batch that was written. */
  readonly #usual = new Map<number, number>()

  constructor(topic: string, inputPartitions: number, partitions: number) {
    this.topic = topic
    this.#inputPartitions = inputPartitions
    this.#partitions = partitions
  }

  /** Whether there is no such topic. */
  get empty(): boolean {
    return this.#partitions === 0
  }

  current(partition: number): RecordBatchWriter | undefined {
    return this.#current.get(partition)
  }

  /** Begins the next batch of a partition, which will probably be as large as those before. */
  open(partition: number, maxBytes: number): RecordBatchWriter {
    const last = this.#current.get(partition)?.length ?? this.#usual.get(partition) ?? 0
    const writer = new RecordBatchWriter()
    writer.open(this.topic, partition, maxBytes, Math.min(last, maxBytes))
    this.#current.set(partition, writer)
    return writer
  }

  clear(): void {
    for (const [partition, { length }] of this.#current) this.#usual.set(partition, length)
    this.#current.clear()
  }

  /** The partitions that `partitionFor` may choose for records of an input partition. */
  reachableFrom(inputPartition: number): number[] {
    if (this.#partitions === this.#inputPartitions) return [inputPartition]
    return Array.from({ length: this.#partitions }, (_, partition) => partition)
  }

  /**
   * The input's partition number where both topics have as many partitions; otherwise what a Java producer picks for
   * the key. Without a key the input's partition decides, so that order is kept.
   */
  partitionFor(batch: RecordBatch, index: number): number {
    if (this.#partitions === this.#inputPartitions) return batch.partition
    const at = index * COLUMNS
    const length = batch.columns[at + Column.keyLength]!
    if (length < 0) return batch.partition % this.#partitions
    const start = batch.columns[at + Column.keyStart]!
    return partitionOfKey(batch.bytes, start, start + length, this.#partitions)
  }
}
