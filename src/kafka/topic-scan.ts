import { Backoff } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { offsetOf, type RecordBatch } from '../core/record-batch.ts'
import { forgetBroker } from './cluster.ts'
import { fetchRecords, type PartitionRecords } from './fetch-protocol.ts'
import { endOffsets, type PartitionOffsets, startOffsets } from './log-offsets.ts'
import { leaderIdOf } from './offsets.ts'
import { errorOfCode, isConnectionTrouble, translate, typeOfCode } from './protocol-errors.ts'
import { readRecordBatches } from './record-batch-reader.ts'
import { topicIdOf } from './topic-ids.ts'
import type { Uuid } from './wire.ts'

export interface TopicScanOptions {
  /** Connections of its own: a fetch that waits for data holds up whatever comes after it. */
  readonly cluster: KafkajsCluster
  readonly topic: string
  /** First offset of each partition. */
  readonly start: PartitionOffsets
  readonly clock: Clock
  /** Takes records, in the order of their offsets within a partition. May keep the batch. */
  readonly accept: (batch: RecordBatch) => void
  /** Resolves when there is room for more records; at once unless given. */
  readonly room?: () => Promise<void>
  /** What keeps it from reading; undefined when nothing does any more. */
  readonly onTrouble?: (error: SluiceError | undefined) => void
  /** All that a read_committed reader could see was handed over: after every round of which that is true. Must not throw. */
  readonly onCaughtUp?: () => void
  /** How long a broker may hold a fetch that finds nothing; 100 unless given. */
  readonly maxWaitMs?: number
}

/** Records that could not be read, and why the reader went on without them. */
export interface ScanGap {
  readonly topic: string
  readonly partition: number
  readonly from: number
  /** Where reading went on; below `from` when the log was made anew. */
  readonly to: number
}

/** A partition that was not read to the end that was asked for. */
export interface Unread {
  readonly topic: string
  readonly partition: number
  /** The first offset that was not read: below the end, a transaction is open from here on. */
  readonly position: number
  readonly end: number
}

export interface ReadLimits {
  /** How long to wait for open transactions that hide the rest. */
  readonly patienceMs: number
  readonly signal?: AbortSignal | undefined
}

const MAX_FETCH_BYTES = 16 * 1024 * 1024
const MAX_PARTITION_BYTES = 1024 * 1024
/** Others may have records meanwhile. */
const DEFAULT_MAX_WAIT_MS = 100

/** What one partition was asked for, and of which topic of the name. */
interface Asked {
  readonly topicId: Uuid
  readonly position: number
}

/**
 * Reads all partitions of a topic as a read_committed consumer without a group, from given offsets up to given ends, and
 * again up to later ends. Waits out brokers that are away and leaders that move. One fetch at a time for each broker,
 * whose records are handed over before the next is sent: what a consumer cannot take stays on the broker.
 */
export class TopicScan {
  readonly #options: TopicScanOptions
  readonly #positions: number[]
  /** Ends for a read_committed reader, as last heard. */
  readonly #stable: number[]
  readonly #gaps: ScanGap[] = []
  readonly #backoff = new Backoff(50, 500)
  #topicId: Uuid | undefined
  #troubled = false
  /** What the consumer threw. */
  #refused: { readonly error: unknown } | undefined

  constructor(options: TopicScanOptions) {
    this.#options = options
    this.#positions = [...options.start]
    this.#stable = [...options.start]
  }

  get topic(): string {
    return this.#options.topic
  }

  /** The next offset of each partition. */
  get positions(): PartitionOffsets {
    return this.#positions
  }

  /** Records that went before they could be read: by retention, or with the whole topic. */
  get gaps(): readonly ScanGap[] {
    return this.#gaps
  }

  /**
   * Reads until each partition has reached its end, and returns those that did not: because an open transaction hid the
   * rest for longer than `patienceMs`, or because `signal` was aborted.
   * @throws SluiceError `corrupt-batch`, or where waiting cannot help (`not-authorised`, `authentication-failed`);
   *   whatever `accept` throws
   */
  async readTo(ends: PartitionOffsets, { patienceMs, signal }: ReadLimits): Promise<Unread[]> {
    const { clock } = this.#options
    let hiddenSince: number | undefined
    while (!signal?.aborted) {
      const wanted = this.#wanted(ends)
      if (wanted.length === 0) break
      await this.#options.room?.()
      const moved = await this.#round(wanted, ends)
      const hidden =
        !this.#troubled && wanted.every(partition => this.#positions[partition]! >= this.#stable[partition]!)
      if (moved || !hidden) hiddenSince = undefined
      else hiddenSince ??= clock.now()
      if (hiddenSince !== undefined && clock.now() - hiddenSince >= patienceMs) break
    }
    return this.#wanted(ends).map(partition => {
      return { topic: this.topic, partition, position: this.#positions[partition]!, end: ends[partition]! }
    })
  }

  #wanted(ends: PartitionOffsets): number[] {
    return ends.flatMap((end, partition) => (this.#positions[partition]! < end ? [partition] : []))
  }

  /** Asks the leaders of these partitions once, all at the same time. Returns whether any partition moved on. */
  async #round(wanted: readonly number[], ends: PartitionOffsets): Promise<boolean> {
    const { cluster, topic, clock, onTrouble, onCaughtUp } = this.#options
    const before = wanted.map(partition => this.#positions[partition])
    try {
      await cluster.refreshMetadataIfNecessary()
      const byLeader = Map.groupBy(wanted, partition => leaderIdOf(cluster, topic, partition))
      const asked = await Promise.allSettled([...byLeader].map(([nodeId, led]) => this.#fetchFrom(nodeId, led, ends)))
      for (const result of asked) if (result.status === 'rejected') throw result.reason
      if (this.#troubled) onTrouble?.(undefined)
      this.#troubled = false
      this.#backoff.reset()
    } catch (error) {
      if (this.#refused !== undefined) throw this.#refused.error
      const trouble = translate(error, `reading ${topic}`, 'broker-unreachable') as SluiceError
      if (FINAL.has(trouble.code)) throw trouble
      this.#troubled = true
      onTrouble?.(trouble)
      await clock.sleep(this.#backoff.next())
      await cluster.refreshMetadata().catch(() => {})
    }
    if (!this.#troubled && this.#positions.every((position, i) => position >= this.#stable[i]!)) onCaughtUp?.()
    return wanted.some((partition, i) => this.#positions[partition] !== before[i])
  }

  async #fetchFrom(nodeId: number, led: readonly number[], ends: PartitionOffsets): Promise<void> {
    const { cluster, topic, maxWaitMs = DEFAULT_MAX_WAIT_MS } = this.#options
    if (nodeId < 0) throw new SluiceError('broker-unreachable', `A partition of ${topic} has no leader now.`)
    const broker = await cluster.findBroker({ nodeId })
    try {
      this.#topicId ??= await topicIdOf(broker, topic)
      const topicId = this.#topicId
      const partitions = inTurn(led).map(partition => {
        return { topicId, partition, position: this.#positions[partition]!, maxBytes: MAX_PARTITION_BYTES }
      })
      const asked = new Map(partitions.map(partition => [partition.partition, partition]))
      const request = { maxWaitMs, maxBytes: MAX_FETCH_BYTES, partitions }
      for (const answer of await fetchRecords(broker, request)) {
        await this.#deliver(broker, answer, asked.get(answer.partition)!, ends[answer.partition]!)
      }
    } catch (error) {
      // A connection that did not answer may be half open: the next attempt gets a new one.
      if (isConnectionTrouble(error)) await forgetBroker(cluster, broker)
      throw error
    }
  }

  async #deliver(broker: KafkajsBroker, answer: PartitionRecords, asked: Asked, end: number): Promise<void> {
    const { topic } = this.#options
    const { partition, errorCode } = answer
    if (!this.#isCurrent(partition, asked)) return
    const type = typeOfCode(errorCode)
    if (type === 'OFFSET_OUT_OF_RANGE') return this.#skipLost(partition, asked)
    if (type === 'UNKNOWN_TOPIC_ID' || type === 'INCONSISTENT_TOPIC_ID') await this.#followTopic(broker, asked.topicId)
    if (type !== undefined) throw errorOfCode(errorCode)
    const fetchOffset = asked.position
    const { batches, nextOffset } = readRecordBatches({
      topic,
      partition,
      bytes: answer.records,
      fetchOffset,
      aborted: answer.aborted,
      boundary: end,
    })
    const within = batches.filter(({ baseOffset }) => baseOffset < end)
    this.#handOver(within)
    this.#positions[partition] = within.length < batches.length ? Math.max(end, pastLast(within)) : nextOffset
    this.#stable[partition] = answer.lastStableOffset
  }

  /**
   * Whether a partition still is where an answer about it begins. Not so when a leader was asked for offset 500, and
   * before it answered another one said that the topic had been created again: then the partition has begun anew, and
   * what comes now are records of the old log, whose offsets would move the new one past records that nobody has read.
   */
  #isCurrent(partition: number, { topicId, position }: Asked): boolean {
    return topicId === this.#topicId && position === this.#positions[partition]
  }

  /** What the consumer throws is no trouble of the brokers: handing the same records over again would count them twice. */
  #handOver(batches: readonly RecordBatch[]): void {
    try {
      for (const batch of batches) this.#options.accept(batch)
    } catch (error) {
      this.#refused = { error }
      throw error
    }
  }

  /** Retention was faster than we: on with what the log still holds. Or an unclean election has cut the log short. */
  async #skipLost(partition: number, asked: Asked): Promise<void> {
    const [starts, ends] = await this.#bounds()
    if (!this.#isCurrent(partition, asked)) return
    const from = asked.position
    if (from < starts[partition]!) this.#moveTo(partition, starts[partition]!)
    else if (from > ends[partition]!) this.#moveTo(partition, ends[partition]!)
  }

  /** Where the topic was deleted and created again (KIP-516), its offsets mean other records: begins anew. */
  async #followTopic(broker: KafkajsBroker, asked: Uuid): Promise<void> {
    const topicId = await topicIdOf(broker, this.topic)
    // A broker that has just started may not have heard of the topic yet.
    if (topicId === asked) return
    const [starts] = await this.#bounds()
    // Another leader has said so too, and we have begun anew already.
    if (asked !== this.#topicId) return
    this.#topicId = topicId
    starts.forEach((start, partition) => {
      this.#moveTo(partition, start)
    })
  }

  #bounds(): Promise<[PartitionOffsets, PartitionOffsets]> {
    const { cluster, topic, clock } = this.#options
    const view = { cluster, topic, partitions: this.#positions.length, clock }
    return Promise.all([startOffsets(view), endOffsets(view)])
  }

  #moveTo(partition: number, to: number): void {
    this.#gaps.push({ topic: this.topic, partition, from: this.#positions[partition]!, to })
    this.#positions[partition] = to
  }
}

/** The offset after the last record of batches, or -1 for none. */
function pastLast(batches: readonly RecordBatch[]): number {
  const last = batches.at(-1)
  return last === undefined ? -1 : offsetOf(last, last.count - 1) + 1
}

/** Waiting mends none of these. */
const FINAL: ReadonlySet<string> = new Set(['corrupt-batch', 'not-authorised', 'authentication-failed', 'internal'])

let turn = 0

/** The broker fills an answer in the order of the request: each partition comes first in its turn (KIP-74). */
function inTurn(partitions: readonly number[]): number[] {
  const first = turn++ % partitions.length
  return [...partitions.slice(first), ...partitions.slice(0, first)]
}
