import { Backoff, LONGEST_BROKER_WAIT_MS } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import type { SluiceError } from '../core/errors.ts'
import { keyBytes, offsetOf, type RecordBatch, valueBytes } from '../core/record-batch.ts'
import { within } from '../core/waiting.ts'
import type { ClusterTools } from './cluster.ts'
import { stableEndOffsets, startOffsets } from './log-offsets.ts'
import { partitionCount } from './offsets.ts'
import { protocolType, translate } from './protocol-errors.ts'
import { topicIdOf } from './topic-ids.ts'
import { TopicScan } from './topic-scan.ts'

export interface TopicFollowerOptions {
  readonly tools: ClusterTools
  readonly topic: string
  readonly clock: Clock
  /** Takes the records in the order of their offsets; all of them again where the topic is read anew. Must not throw. */
  readonly onRecord: (key: string, value: string | null, offset: number) => void
  /** Everything that could be read has been: called after each answer of which that is true. Must not throw. */
  readonly onCaughtUp: () => void
  /**
   * Connections to a cluster that has the topic, open until the next call; undefined when the topic is not there. With
   * each call the topic may be another one of the same name.
   */
  readonly onLink?: (cluster: KafkajsCluster | undefined) => void
  /** What keeps it from reading, again with every attempt; undefined when nothing does any more. */
  readonly onTrouble?: (error: SluiceError | undefined) => void
}

const PARTITION = 0
/** Two requests a second while nothing happens; what happens is heard at once. */
const LONG_POLL_MS = 500
const LOOK_EVERY_MS = 1_000
/** Connections that do not close in time are left to themselves. */
const CLOSE_MS = 2_000

/**
 * Reads the first partition of a topic from its beginning, and goes on as it grows, as a read_committed consumer without
 * a group. The topic need not exist: it is looked for, and never created.
 *
 *   CONNECTING ──▶ LOOKING (once a second) ──topic is there──▶ READING
 *       ▲             ▲                                          │ │
 *       │             └────────── topic was deleted ◀────────────┘ │
 *       └── lost, refused, damaged: from anywhere, with backoff ◀──┘
 *
 * Brokers that are away and leaders that move are waited out within READING.
 */
export class TopicFollower {
  readonly #options: TopicFollowerOptions
  readonly #stop = new AbortController()
  readonly #begun = Promise.withResolvers<void>()
  readonly #waiting = new Set<{ readonly offset: number; readonly reached: () => void }>()
  #position = 0
  #loop: Promise<void> = Promise.resolve()
  #troubled = false

  constructor(options: TopicFollowerOptions) {
    this.#options = options
  }

  /**
   * Resolves once it has read to the end that was there when it began, or knows that there is no topic, however long
   * brokers are away; or when it was closed.
   */
  start(): Promise<void> {
    this.#loop = this.#follow()
    return this.#begun.promise
  }

  /** Resolves once all records below an offset were read that a read_committed reader is to see. */
  reached(offset: number): Promise<void> {
    if (this.#position >= offset) return Promise.resolve()
    return new Promise(resolve => this.#waiting.add({ offset, reached: resolve }))
  }

  /** Takes no longer than two seconds. */
  async close(): Promise<void> {
    this.#stop.abort()
    await within(this.#options.clock, CLOSE_MS, this.#loop)
    this.#begun.resolve()
  }

  async #follow(): Promise<void> {
    const { clock, tools, topic } = this.#options
    const { signal } = this.#stop
    const backoff = new Backoff(100, LONGEST_BROKER_WAIT_MS)
    while (!signal.aborted) {
      // Another set each time: the metadata of one that has known a topic fails as a whole when that is deleted.
      const cluster = tools.create()
      try {
        await cluster.connect()
        if (await this.#find(cluster)) await this.#read(cluster, () => backoff.reset())
      } catch (error) {
        if (!signal.aborted) this.#trouble(translate(error, `reading ${topic}`, 'broker-unreachable') as SluiceError)
      } finally {
        this.#options.onLink?.(undefined)
        cluster.disconnect().catch(() => {})
      }
      await clock.sleep(backoff.next(), signal)
    }
  }

  /** Looks for the topic until it is there and has a leader; false when stopped. */
  async #find(cluster: KafkajsCluster): Promise<boolean> {
    const { clock, topic } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      if ((await exists(cluster, topic)) && (await partitionCount(cluster, topic)) !== undefined) return true
      this.#trouble(undefined)
      this.#begun.resolve()
      await clock.sleep(LOOK_EVERY_MS, signal)
    }
    return false
  }

  /** Reads until the topic is gone, or reading is stopped. */
  async #read(cluster: KafkajsCluster, onReading: () => void): Promise<void> {
    const { clock, topic, onLink, onCaughtUp } = this.#options
    const view = { cluster, topic, partitions: 1, clock }
    const [start, stable] = await Promise.all([startOffsets(view), stableEndOffsets(view)])
    const gone = new AbortController()
    let gaps = 0
    const caughtUp = () => {
      onReading()
      this.#trouble(undefined)
      // Made anew, though nobody saw it gone: what was published to the former one is not in this one.
      if (scan.gaps.length > gaps) onLink?.(cluster)
      gaps = scan.gaps.length
      this.#moveTo(scan.positions[PARTITION]!)
      onCaughtUp()
      this.#begun.resolve()
    }
    const scan = new TopicScan({
      ...view,
      start,
      maxWaitMs: LONG_POLL_MS,
      accept: batch => this.#accept(batch),
      onCaughtUp: caughtUp,
      onTrouble: error => {
        if (error?.code === 'topic-missing') gone.abort()
        else this.#trouble(error)
      },
    })
    onLink?.(cluster)
    if (stable[PARTITION]! <= start[PARTITION]!) caughtUp() // empty: the first answer would wait for a record
    const signal = AbortSignal.any([this.#stop.signal, gone.signal])
    await scan.readTo([Number.MAX_SAFE_INTEGER], { patienceMs: Number.POSITIVE_INFINITY, signal })
  }

  #moveTo(position: number): void {
    this.#position = position
    for (const each of this.#waiting) {
      if (each.offset > position) continue
      this.#waiting.delete(each)
      each.reached()
    }
  }

  #accept(batch: RecordBatch): void {
    for (let i = 0; i < batch.count; i++) {
      const key = keyBytes(batch, i)?.toString() ?? ''
      this.#options.onRecord(key, valueBytes(batch, i)?.toString() ?? null, offsetOf(batch, i))
    }
    batch.lease?.letGo()
  }

  #trouble(error: SluiceError | undefined): void {
    if (error === undefined && !this.#troubled) return
    this.#troubled = error !== undefined
    this.#options.onTrouble?.(error)
  }
}

/** One request, to whichever broker is connected; kafkajs would try several times before it says that a topic is missing. */
async function exists(cluster: KafkajsCluster, topic: string): Promise<boolean> {
  try {
    await topicIdOf(await cluster.brokerPool.findConnectedBroker(), topic)
    return true
  } catch (error) {
    if (protocolType(error) === 'UNKNOWN_TOPIC_OR_PARTITION') return false
    throw error
  }
}
