import type { TimelineEntry } from '../../src/core/timeline.ts'
import { predictionFor } from '../pipeline/fake-pool.ts'
import { answeredBy, canaryHash } from '../support/timeline.ts'
import type { FakeKafka } from './fake-kafka/fake-kafka.ts'
import type { StoredRecord } from './fake-kafka/log-batch.ts'
import type { RecordKind } from './schedule.ts'
import { SETTINGS, SHADOW_TOPIC } from './sim-replica.ts'

/** What of the promise does not hold. */
export type Breach =
  | 'lost'
  | 'doubled'
  | 'misordered'
  | 'torn'
  | 'wrong kind'
  | 'wrong bytes'
  | 'wrong version'
  | 'unknown source'
  | 'offset moved back'
  | 'transaction left open'
  | 'stuck'
  | 'worker failed'
  | 'leak'

export class BreachError extends Error {
  readonly breach: Breach

  constructor(breach: Breach, what: string) {
    super(`${breach}: ${what}`)
    this.name = 'BreachError'
    this.breach = breach
  }
}

/** A record that a reader of the input can see. `serial` is its feature, and its own in all partitions. */
export interface InputRecord {
  readonly serial: number
  readonly kind: RecordKind
  readonly key: Buffer
  readonly value: Buffer
  readonly timestamp: number
}

interface InputPartition {
  readonly records: Map<number, InputRecord>
  /** In order. */
  readonly offsets: number[]
  /** How many of `offsets` are below the committed offset. */
  accounted: number
  committed: number
  /** Offsets that are visible in the output. */
  readonly seen: Set<number>
  maxSeen: number
}

interface OutputPartition {
  readonly topic: string
  readonly partition: number
  stable: number
  /** Visible records that were looked at. */
  read: number
  /** Highest offset seen of each input partition. */
  readonly last: Map<number, number>
}

const { groupId, inputTopic, outputTopic, deadLetterTopic, timelineTopic } = SETTINGS

/**
 * Compares what a read_committed reader sees with what went in, whenever that changed: each input record at most once,
 * in order, as what it should be; and whenever no transaction of a partition is under way, exactly the records below its
 * committed offset.
 */
export class Oracle {
  readonly #kafka: FakeKafka
  readonly #inputs: InputPartition[]
  readonly #outputs: OutputPartition[]
  /** Every input partition has output partitions of its own. */
  readonly #apart: boolean

  constructor(kafka: FakeKafka, partitions: number, outputPartitions: number) {
    this.#kafka = kafka
    this.#apart = partitions === outputPartitions
    this.#inputs = Array.from({ length: partitions }, () => ({
      records: new Map(),
      offsets: [],
      accounted: 0,
      committed: -1,
      seen: new Set(),
      maxSeen: -1,
    }))
    this.#outputs = [outputTopic, deadLetterTopic].flatMap(topic =>
      Array.from({ length: outputPartitions }, (_, partition) => ({
        topic,
        partition,
        stable: 0,
        read: 0,
        last: new Map(),
      })),
    )
  }

  /** A record that from now on is to be reflected once. Of one partition, in the order of its offsets. */
  expect(partition: number, offset: number, record: InputRecord): void {
    const input = this.#inputs[partition]!
    input.records.set(offset, record)
    input.offsets.push(offset)
  }

  /** @throws BreachError when something is wrong already, however things go on */
  look(): void {
    let changed = false
    for (const output of this.#outputs) changed = this.#read(output) || changed
    this.#inputs.forEach((input, partition) => {
      changed = this.#readOffset(input, partition) || changed
    })
    if (changed) this.#requireWhole()
  }

  /** Whether all input is accounted for. */
  get complete(): boolean {
    return this.#inputs.every((input, partition) => {
      const { end } = this.#kafka.logEnd(inputTopic, partition)
      return end === 0 || input.committed === end
    })
  }

  /** How far each partition has come, for people. */
  get progress(): string {
    return this.#inputs
      .map(({ committed, seen, records }, partition) => {
        const { end } = this.#kafka.logEnd(inputTopic, partition)
        return `in/${partition}: offset ${committed} of ${end}, ${seen.size} of ${records.size} records`
      })
      .join('; ')
  }

  /** @throws BreachError unless everything is accounted for and nothing is open */
  requireAll(): void {
    this.look()
    const open = this.#kafka.openTransactions()
    if (open.length > 0) throw new BreachError('transaction left open', open.join(', '))
    this.#inputs.forEach(({ seen, offsets }, partition) => {
      const lost = offsets.filter(offset => !seen.has(offset))
      if (lost.length > 0) throw new BreachError('lost', `in/${partition}: ${lost.join(', ')}`)
    })
    this.#requireWhole()
    this.#requireTimeline()
    this.#requireShadows()
  }

  /** Every prediction is of the version that the timeline names for its offset and its key. */
  #requireTimeline(): void {
    const entries = this.#visible(timelineTopic).map(({ value }) => JSON.parse(String(value)) as TimelineEntry)
    for (const record of this.#visible(outputTopic)) {
      const { partition, offset } = sourceOf(record)
      const expected = answeredBy(entries, partition, offset, canaryHash(record.key, partition, offset))
      const said = `${headerOf(record, 'model-version')} ${headerOf(record, 'model-arm') ?? 'stable'}`
      if (said === expected) continue
      const what = `in/${partition}@${offset} was answered by ${said}; the timeline says ${expected}`
      throw new BreachError('wrong version', what)
    }
  }

  /** A shadow may miss a record, and never predicts one twice, in another order, or wrongly. */
  #requireShadows(): void {
    const last = new Map<string, number>()
    const seen = new Set<string>()
    for (const { to, record } of this.#visibleIn(SHADOW_TOPIC)) {
      const { partition, offset } = sourceOf(record)
      const place = `shadow of in/${partition}@${offset}`
      const lane = `${partition} by ${headerOf(record, 'model-version')}`
      if (seen.has(`${lane}@${offset}`)) throw new BreachError('doubled', place)
      seen.add(`${lane}@${offset}`)
      const before = last.get(`${lane} in ${to}`) ?? -1
      if (before > offset) throw new BreachError('misordered', `${place} comes after ${before}`)
      last.set(`${lane} in ${to}`, offset)
      const wrong = wrongPrediction(record, this.#inputs[partition]!.records.get(offset)!)
      if (wrong !== undefined || headerOf(record, 'model-arm') !== 'shadow') throw new BreachError('wrong bytes', place)
    }
  }

  #visible(topic: string): StoredRecord[] {
    return this.#visibleIn(topic).map(({ record }) => record)
  }

  /** `to` is the partition. */
  #visibleIn(topic: string): { to: number; record: StoredRecord }[] {
    const partitions = topic === timelineTopic ? 1 : this.#outputs.length / 2
    return Array.from({ length: partitions }, (_, to) => {
      return this.#kafka.readCommitted(topic, to).map(record => ({ to, record }))
    }).flat()
  }

  #read(output: OutputPartition): boolean {
    const { topic, partition } = output
    const { stable } = this.#kafka.logEnd(topic, partition)
    if (stable === output.stable) return false
    output.stable = stable
    const visible = this.#kafka.readCommitted(topic, partition)
    for (const record of visible.slice(output.read)) this.#check(record, output)
    output.read = visible.length
    return true
  }

  #readOffset(input: InputPartition, partition: number): boolean {
    const committed = this.#kafka.committedOffset(groupId, inputTopic, partition) ?? -1
    if (committed === input.committed) return false
    if (committed < input.committed) {
      throw new BreachError('offset moved back', `in/${partition}: from ${input.committed} to ${committed}`)
    }
    input.committed = committed
    while (input.accounted < input.offsets.length && input.offsets[input.accounted]! < committed) input.accounted++
    return true
  }

  /** Where no transaction is under way, output and offset agree. */
  #requireWhole(): void {
    const open = this.#kafka.openTransactions()
    this.#inputs.forEach((input, partition) => {
      const quiet = this.#apart ? !open.includes(`${groupId}.${inputTopic}.${partition}`) : open.length === 0
      const { seen, accounted, committed, maxSeen } = input
      if (!quiet || (seen.size === accounted && maxSeen < Math.max(0, committed))) return
      const below = input.offsets.slice(0, accounted)
      const missing = below.filter(offset => !seen.has(offset))
      const ahead = [...seen].filter(offset => offset >= committed)
      const what = `in/${partition}: the committed offset is ${committed}; not visible below it: ${missing.join(', ') || 'none'}`
      throw new BreachError('torn', `${what}; visible from it on: ${ahead.join(', ') || 'none'}`)
    })
  }

  #check(record: StoredRecord, output: OutputPartition): void {
    const source = headerOf(record, 'source') ?? ''
    const place = `${output.topic}/${output.partition}@${record.offset} (source ${source})`
    const [topic, partition, offset] = source.split('/')
    const input = this.#inputs[Number(partition)]
    const expected = input?.records.get(Number(offset))
    if (topic !== inputTopic || input === undefined || expected === undefined) {
      throw new BreachError('unknown source', place)
    }
    const at = Number(offset)
    if (input.seen.has(at)) throw new BreachError('doubled', place)
    input.seen.add(at)
    input.maxSeen = Math.max(input.maxSeen, at)
    const last = output.last.get(Number(partition)) ?? -1
    if (at < last) throw new BreachError('misordered', `${place} comes after ${last}`)
    output.last.set(Number(partition), at)
    const wrong = output.topic === outputTopic ? wrongPrediction(record, expected) : wrongDeadLetter(record, expected)
    if (wrong !== undefined) throw new BreachError(wrong, `${place} of ${JSON.stringify(expected)}`)
  }
}

function wrongPrediction(record: StoredRecord, { kind, serial, key, timestamp }: InputRecord): Breach | undefined {
  if (kind === 'garbage' || kind === 'poison') return 'wrong kind'
  const right =
    record.value?.toString() === String(predictionFor(serial)) &&
    record.key?.equals(key) &&
    record.timestamp === timestamp
  return right ? undefined : 'wrong bytes'
}

function wrongDeadLetter(record: StoredRecord, { kind, key, value, timestamp }: InputRecord): Breach | undefined {
  if (kind === 'good' || kind === 'schema') return 'wrong kind'
  const code = kind === 'garbage' ? 'invalid-avro' : 'inference-failed'
  const right =
    record.value?.equals(value) &&
    record.key?.equals(key) &&
    record.timestamp === timestamp &&
    headerOf(record, 'error-code') === code
  return right ? undefined : 'wrong bytes'
}

function sourceOf(record: StoredRecord): { partition: number; offset: number } {
  const [, partition, offset] = headerOf(record, 'source')!.split('/')
  return { partition: Number(partition), offset: Number(offset) }
}

function headerOf({ headers }: StoredRecord, name: string): string | undefined {
  return headers.find(([known]) => known === name)?.[1]?.toString()
}
