import { Backoff, LONGEST_BROKER_WAIT_MS } from '../core/backoff.ts'
import { SluiceError } from '../core/errors.ts'
import { Signal } from '../core/signal.ts'
import type { FetchTarget } from '../core/transaction.ts'
import { forgetBroker } from './cluster.ts'
import { FetchPlan, type FetchPlanOptions, type Wanted } from './fetch-plan.ts'
import { type EpochEnd, type FetchOptions, fetchRecords, type PartitionRecords } from './fetch-protocol.ts'
import { leaderIdOf } from './offsets.ts'
import { isConnectionTrouble, translate, typeOfCode } from './protocol-errors.ts'
import { readRecordBatches } from './record-batch-reader.ts'

export interface FetcherOptions extends Omit<FetchPlanOptions, 'leaderOf'> {
  readonly cluster: KafkajsCluster
  readonly topic: string
  /** What keeps this replica from reading what a broker leads; undefined when nothing does any more. */
  readonly onCondition: (nodeId: number, error: SluiceError | undefined) => void
}

/** What the broker says when the leader moved: look it up and ask again. */
const STALE_LEADER = new Set([
  'NOT_LEADER_FOR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'REPLICA_NOT_AVAILABLE',
  'KAFKA_STORAGE_ERROR',
  'UNKNOWN_TOPIC_ID',
  'INCONSISTENT_TOPIC_ID',
])

/**
 * Fetches for all tasks of a replica: one loop for each broker that leads a partition, one request at a time.
 *
 * A request asks, for each task that wants data, from exactly the task's position in the task's log, which has a topic
 * id; an answer is handed over only if the task still stands there. So a task that was re-initialised, moved or closed
 * while the request was under way never sees records of before, nor those of another topic of the same name, and
 * nothing needs to be paused or sought.
 */
export class Fetcher {
  readonly #options: FetcherOptions
  readonly #plan: FetchPlan
  readonly #loops = new Map<number, FetchLoop>()
  /** By partition: the position from which the last answer held nothing within the log. */
  readonly #suspected = new Map<number, number>()
  readonly #stop = new AbortController()

  constructor(options: FetcherOptions) {
    this.#options = options
    const { cluster } = options
    this.#plan = new FetchPlan({
      ...options,
      leaderOf: ({ topic, partition }) => leaderIdOf(cluster, topic, partition),
    })
  }

  add(target: FetchTarget): void {
    this.#plan.add(target)
    this.wake()
  }

  remove(target: FetchTarget): void {
    if (this.#plan.remove(target)) this.wake()
  }

  /** A task wants data that did not before. */
  wake(): void {
    if (this.#stop.signal.aborted) return
    this.#ensureLoops()
    for (const loop of this.#loops.values()) loop.wake.notify()
  }

  /** Ends the loops; resolves when the requests under way have been answered. */
  async close(): Promise<void> {
    this.#stop.abort()
    for (const loop of this.#loops.values()) loop.wake.notify()
    await Promise.all([...this.#loops.values()].map(loop => loop.done))
  }

  /** A loop for every broker that leads a partition of ours; leaders move whenever the metadata is read again. */
  #ensureLoops(): void {
    for (const { topic, partition } of this.#plan.targets) {
      const nodeId = leaderIdOf(this.#options.cluster, topic, partition)
      if (this.#loops.has(nodeId)) continue
      const loop: FetchLoop = { wake: new Signal(), done: Promise.resolve() }
      this.#loops.set(nodeId, loop) // before it starts, because it looks for missing loops itself
      loop.done = this.#fetchFrom(nodeId, loop.wake)
    }
  }

  async #fetchFrom(nodeId: number, wake: Signal): Promise<void> {
    const { clock, onCondition } = this.#options
    const backoff = new Backoff(50, LONGEST_BROKER_WAIT_MS)
    while (!this.#stop.signal.aborted) {
      this.#ensureLoops()
      const wanted = this.#plan.wantedFrom(nodeId)
      if (wanted.length === 0) {
        if (!this.#plan.leads(nodeId)) return this.#handOver(nodeId)
        await wake.wait()
        continue
      }
      try {
        const current = await this.#fetchOnce(nodeId, wanted)
        onCondition(nodeId, undefined)
        if (current) {
          backoff.reset()
          continue
        }
      } catch (error) {
        if (this.#stop.signal.aborted) return
        onCondition(
          nodeId,
          translate(error, `fetching from ${this.#options.topic}`, 'broker-unreachable') as SluiceError,
        )
      }
      await this.#recover()
      await clock.sleep(backoff.next(), this.#stop.signal)
      if (!this.#plan.leads(nodeId)) return this.#handOver(nodeId)
    }
  }

  /** Returns whether this broker still has all the partitions that it was asked for. */
  async #fetchOnce(nodeId: number, wanted: readonly Wanted[]): Promise<boolean> {
    const { cluster, topic } = this.#options
    if (nodeId === NO_LEADER) throw new SluiceError('broker-unreachable', `A partition of ${topic} has no leader now.`)
    await cluster.refreshMetadataIfNecessary()
    const broker = await cluster.findBroker({ nodeId })
    const answers = await this.#ask(broker, this.#plan.request(nodeId, wanted))
    let current = true
    for (const answer of answers) {
      current = this.#deliver(answer, wanted) && current
      answer.loan?.letGo()
    }
    return current
  }

  /** A connection that did not answer may be half open: the next attempt gets a new one. */
  async #ask(broker: KafkajsBroker, options: FetchOptions): Promise<readonly PartitionRecords[]> {
    try {
      return await fetchRecords(broker, options)
    } catch (error) {
      if (isConnectionTrouble(error)) await forgetBroker(this.#options.cluster, broker)
      throw error
    }
  }

  /**
   * Hands one partition's answer to its task. Returns false if the leader must be looked up again. The task hears of
   * that, too: when the topic was deleted and created again, or its log truncated, it has to compare its committed offset
   * with what is there now.
   */
  #deliver(answer: PartitionRecords, wanted: readonly Wanted[]): boolean {
    const asked = wanted.find(({ target }) => target.partition === answer.partition)
    if (asked === undefined) return true
    const { target, position, log } = asked
    if (!this.#plan.isCurrent(asked)) return true
    const type = typeOfCode(answer.errorCode)
    try {
      if (type !== undefined) throw this.#refusal(type, answer, position)
      if (answer.diverging !== undefined) throw truncatedBelow(target, position, answer.diverging)
      const { batches, nextOffset, bytesRead } = readRecordBatches({
        topic: target.topic,
        partition: answer.partition,
        bytes: answer.records,
        loan: answer.loan,
        fetchOffset: position,
        aborted: answer.aborted,
        endOfLog: answer.highWatermark,
        room: target.room,
      })
      this.#plan.learn(target, bytesRead, batches)
      if (answer.records.length > 0 && nextOffset === position) return this.#suspect(asked, answer.highWatermark)
      this.#suspected.delete(answer.partition)
      log.fetched(answer.records, nextOffset, answer.highWatermark)
      target.accept({ batches, nextOffset, endOffset: answer.lastStableOffset })
    } catch (error) {
      target.fail(error as Error)
    }
    return type === undefined || !STALE_LEADER.has(type)
  }

  /**
   * The checksum of a batch does not cover its offset: one beyond the end of the log is damage, not a gap. But a broker
   * notes the end before it reads the records, and what was appended in between is there already. The next answer has a
   * later end, which covers them: only what lies beyond that, too, is damaged.
   */
  #suspect({ target, position }: Wanted, end: number): boolean {
    const again = this.#suspected.get(target.partition) === position
    this.#suspected.set(target.partition, position)
    if (again) throw beyondEnd(target, position, end)
    return true
  }

  #refusal(type: string, answer: PartitionRecords, position: number): Error {
    const what = `${this.#options.topic}/${answer.partition}`
    if (type === 'OFFSET_OUT_OF_RANGE') {
      return new SluiceError('offset-out-of-range', `Offset ${position} of ${what} is outside the log.`)
    }
    if (type === 'UNKNOWN_TOPIC_ID' || type === 'INCONSISTENT_TOPIC_ID') {
      const message = `The topic that ${what} was read from is gone (${type}): it was deleted, or deleted and created again.`
      return new SluiceError('topic-missing', message)
    }
    if (type !== 'UNKNOWN_TOPIC_OR_PARTITION' && STALE_LEADER.has(type)) {
      return new SluiceError('broker-unreachable', `The broker that led ${what} does not any more (${type}).`)
    }
    const refusal = Object.assign(new Error(type), { type })
    return translate(refusal, `fetching ${what} from offset ${position}`, 'broker-unreachable')
  }

  /** After a lost connection or a moved leader. */
  async #recover(): Promise<void> {
    try {
      await this.#options.cluster.refreshMetadata()
      this.wake()
    } catch {
      // Nobody answers yet; the loop tries again after its backoff.
    }
  }

  /** This broker leads nothing any more: the loops of the new leaders take over. */
  #handOver(nodeId: number): void {
    this.#loops.delete(nodeId)
    this.#options.onCondition(nodeId, undefined)
    this.wake()
  }
}

function beyondEnd({ topic, partition }: FetchTarget, position: number, end: number): SluiceError {
  const message = `The batch at offset ${position} of ${topic}/${partition} says that it goes beyond the end of the log, ${end - 1}.`
  return new SluiceError('corrupt-batch', message)
}

function truncatedBelow({ topic, partition }: FetchTarget, position: number, { endOffset }: EpochEnd): SluiceError {
  const message = `The log of ${topic}/${partition} was truncated at offset ${endOffset}, below ${position}, where it is read.`
  return new SluiceError('log-truncated', message)
}

interface FetchLoop {
  readonly wake: Signal
  /** Resolves when the loop has ended. */
  done: Promise<void>
}

const NO_LEADER = -1
