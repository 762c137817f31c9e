import { Backoff, LONGEST_BROKER_WAIT_MS } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { Signal } from '../core/signal.ts'
import { within } from '../core/waiting.ts'
import { forgetBroker } from './cluster.ts'
import { batchOfOne } from './keyed-record.ts'
import { leaderOf } from './offsets.ts'
import { produceBatches } from './produce-protocol.ts'
import { errorOfCode, isConnectionTrouble } from './protocol-errors.ts'

export interface RecordKeeperOptions {
  readonly topic: string
  readonly key: string
  readonly clock: Clock
  readonly log: Log
}

const PARTITION = 0
/** How long the leader may wait for its followers. */
const PRODUCE_TIMEOUT_MS = 5_000
/** No idempotence, hence no right to it: the same value twice is no harm, and an older one that comes late is written over. */
const NO_PRODUCER = { producerId: -1n, producerEpoch: -1, baseSequence: -1, transactional: false } as const

/**
 * Keeps the value of one key of a compacted topic at what it was last told: publishes it, again after a failure, again
 * where the topic was made anew, and again where an old attempt that was believed dead has written over it:
 *
 *   A is sent, gets no answer ─▶ B is published over another connection ─▶ A's request arrives after all: A is the last
 *   value ─▶ whoever reads the topic tells us (`noticed`) ─▶ B is published once more
 *
 * One request at a time; of several values that come meanwhile the last one is published.
 */
export class RecordKeeper {
  readonly #options: RecordKeeperOptions
  readonly #wake = new Signal()
  readonly #stop = new AbortController()
  readonly #loop: Promise<void>
  /** Undefined while there is no topic. */
  #cluster: KafkajsCluster | undefined
  /** Undefined until the first. */
  #wanted: string | null | undefined
  /** What the topic holds, as far as we know. */
  #published: string | null | undefined
  #underWay: string | null | undefined
  /** Of what was published last. */
  #offset = -1
  #settled = Promise.withResolvers<void>()

  constructor(options: RecordKeeperOptions) {
    this.#options = options
    this.#loop = this.#run()
  }

  /** Publishes a value as soon as it can; null for a tombstone. */
  put(value: string | null): void {
    this.#wanted = value
    this.#settled = Promise.withResolvers()
    this.#wake.notify()
  }

  /** Connections to a cluster that has the topic, or undefined while none has. The topic may be another one than before. */
  attach(cluster: KafkajsCluster | undefined): void {
    this.#cluster = cluster
    this.#published = undefined
    this.#offset = -1
    this.#wake.notify()
  }

  /** A reader has come to a record of the key. */
  noticed(value: string | null, offset: number): void {
    if (offset <= this.#offset || value === this.#wanted || value === this.#underWay) return
    this.#published = undefined
    this.#wake.notify()
  }

  /** Publishes a tombstone, if anything may be there, and ends. Takes no longer than `limitMs`. */
  async close(limitMs: number): Promise<void> {
    if (this.#wanted !== undefined) {
      this.put(null)
      if (this.#cluster !== undefined) await within(this.#options.clock, limitMs, this.#settled.promise)
    }
    this.#stop.abort()
    this.#wake.notify()
    await within(this.#options.clock, limitMs, this.#loop)
  }

  async #run(): Promise<void> {
    const { clock, log, topic } = this.#options
    const { signal } = this.#stop
    const backoff = new Backoff(50, LONGEST_BROKER_WAIT_MS)
    while (!signal.aborted) {
      await this.#wake.wait()
      while (!signal.aborted && this.#cluster !== undefined && this.#wanted !== this.#published) {
        const cluster = this.#cluster
        try {
          await this.#publish(cluster, this.#wanted!)
          backoff.reset()
        } catch (error) {
          log.debug({ topic, reason: messageOf(error) }, 'could not publish yet')
          await clock.sleep(backoff.next(), signal)
          await cluster.refreshMetadata().catch(() => {})
        }
      }
      if (this.#wanted === this.#published) this.#settled.resolve()
    }
  }

  async #publish(cluster: KafkajsCluster, value: string | null): Promise<void> {
    const { topic, key, clock } = this.#options
    const broker = await leaderOf(cluster, topic, PARTITION)
    const batch = batchOfOne(topic, PARTITION, { key, value, timestamp: clock.wallTime() })
    this.#underWay = value
    try {
      const sealed = [batch.seal(NO_PRODUCER)]
      const [answer] = await produceBatches(broker, { timeoutMs: PRODUCE_TIMEOUT_MS, batches: sealed })
      batch.free() // not after a failure: its bytes may still be on their way to a socket
      if (answer!.errorCode !== 0) throw errorOfCode(answer!.errorCode)
      if (cluster !== this.#cluster) return // of a topic that is no more
      this.#offset = answer!.baseOffset
      this.#published = value
    } catch (error) {
      if (isConnectionTrouble(error)) await forgetBroker(cluster, broker)
      throw error
    } finally {
      this.#underWay = undefined
    }
  }
}
