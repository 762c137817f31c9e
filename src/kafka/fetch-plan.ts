import type { Clock } from '../core/clock.ts'
import type { RecordBatch } from '../core/record-batch.ts'
import type { FetchTarget, Room } from '../core/transaction.ts'
import type { FetchOptions } from './fetch-protocol.ts'
import { FetchSize } from './fetch-size.ts'
import type { PartitionLog } from './partition-log.ts'

export interface FetchPlanOptions {
  /** The log that each task reads, by partition: set before the task has a position. */
  readonly logs: ReadonlyMap<number, PartitionLog>
  readonly clock: Clock
  /** How long the broker may hold a fetch back while there is nothing new. */
  readonly maxWaitMs: number
  /** Bytes for each partition in one fetch; a larger record comes alone. */
  readonly maxPartitionBytes: number
  /** The broker that leads a partition now. */
  readonly leaderOf: (target: FetchTarget) => number
}

/** A task, and where it stood when it was asked. */
export interface Wanted {
  readonly target: FetchTarget
  readonly position: number
  readonly room: Room
  readonly log: PartitionLog
}

/** Bytes in one fetch over all partitions. */
const MAX_FETCH_BYTES = 16 * 1024 * 1024

/** A commit and the wait for its turn usually take less; after that a fetch is held back for `maxWaitMs` again. */
const FULL_FOR_MS = 1_000
const SHORT_WAIT_MS = 5

/** Which tasks want data, and how much of it to ask a broker for. */
export class FetchPlan {
  readonly #options: FetchPlanOptions
  readonly #targets = new Map<number, FetchTarget>()
  readonly #sizes = new Map<number, FetchSize>()
  /** By partition: when it was last asked for, in the clock's milliseconds. */
  readonly #askedAt = new Map<number, number>()

  constructor(options: FetchPlanOptions) {
    this.#options = options
  }

  get targets(): Iterable<FetchTarget> {
    return this.#targets.values()
  }

  add(target: FetchTarget): void {
    this.#targets.set(target.partition, target)
  }

  /** Returns whether it was there: another task may have its partition by now. */
  remove(target: FetchTarget): boolean {
    if (this.#targets.get(target.partition) !== target) return false
    this.#askedAt.delete(target.partition)
    return this.#targets.delete(target.partition)
  }

  /** Whether any task reads from this broker. */
  leads(nodeId: number): boolean {
    return [...this.#targets.values()].some(target => this.#options.leaderOf(target) === nodeId)
  }

  /** The tasks that want what this broker leads. */
  wantedFrom(nodeId: number): Wanted[] {
    const wanted: Wanted[] = []
    for (const target of this.#targets.values()) {
      if (target.held) continue
      const { position, room } = target
      const log = this.#options.logs.get(target.partition)
      if (position === undefined || room === undefined || log === undefined) continue
      if (this.#options.leaderOf(target) === nodeId) wanted.push({ target, position, room, log })
    }
    return wanted
  }

  /** Whether the task still stands where it stood when this was asked for. */
  isCurrent({ target, position, log }: Wanted): boolean {
    const { partition } = target
    return (
      this.#targets.get(partition) === target &&
      target.position === position &&
      this.#options.logs.get(partition) === log
    )
  }

  /** The request for all that is wanted from a broker. */
  request(nodeId: number, wanted: readonly Wanted[]): FetchOptions {
    return {
      maxWaitMs: this.#waitFor(nodeId, wanted),
      maxBytes: MAX_FETCH_BYTES,
      partitions: shuffled(wanted).map(({ target, position, room, log }) => ({
        topicId: log.topicId,
        partition: target.partition,
        position,
        lastFetchedEpoch: log.epochBefore(position),
        maxBytes: this.#sizeOf(target).bytesFor(room, this.#options.maxPartitionBytes),
      })),
    }
  }

  /** `bytes` of an answer held these batches. */
  learn(target: FetchTarget, bytes: number, batches: readonly RecordBatch[]): void {
    this.#sizeOf(target).learn(bytes, batches)
  }

  /**
   * While the broker holds a fetch back, nothing else can be asked of it. So it must not for long while a partition that
   * was full a moment ago, and is left out of this fetch, will soon want more.
   */
  #waitFor(nodeId: number, wanted: readonly Wanted[]): number {
    const { clock, maxWaitMs, leaderOf } = this.#options
    const now = clock.now()
    for (const { target } of wanted) this.#askedAt.set(target.partition, now)
    for (const target of this.#targets.values()) {
      const askedAt = this.#askedAt.get(target.partition) ?? Number.NEGATIVE_INFINITY
      const leftOut = askedAt < now && now - askedAt < FULL_FOR_MS
      if (leftOut && leaderOf(target) === nodeId) return Math.min(maxWaitMs, SHORT_WAIT_MS)
    }
    return maxWaitMs
  }

  #sizeOf({ partition }: FetchTarget): FetchSize {
    let size = this.#sizes.get(partition)
    if (size === undefined) {
      size = new FetchSize()
      this.#sizes.set(partition, size)
    }
    return size
  }
}

/** The broker fills an answer in the order of the request: a turning order keeps partitions equal (KIP-74). */
function shuffled<T>(items: readonly T[]): T[] {
  const copy = [...items]
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[copy[i], copy[j]] = [copy[j]!, copy[i]!]
  }
  return copy
}
