import { BatchField, LENGTH_PREFIX_BYTES, readInt64 } from './batch-layout.ts'
import type { Uuid } from './wire.ts'

/** Where the batches of a leader begin. */
interface EpochStart {
  readonly epoch: number
  readonly offset: number
}

/**
 * The log that a task reads: the one of this topic id, and no other of the same name. A start of the task makes a new
 * one; the fetcher reads from it and tells it of what it fetched, so that a commit can say which leader wrote the record
 * before the offset. By both a later start knows whether the offset still means the same.
 */
export class PartitionLog {
  readonly topicId: Uuid
  #committed: number
  #end: number
  /** Ascending, from the one that wrote the record before the committed offset. */
  #epochs: EpochStart[] = []

  /**
   * @param position where the task begins
   * @param end of the log now
   * @param epoch of the leader that wrote the record before `position`, if known
   */
  constructor(topicId: Uuid, position: number, end: number, epoch: number | undefined) {
    this.topicId = topicId
    this.#committed = position
    this.#end = end
    if (epoch !== undefined) this.#epochs.push({ epoch, offset: Number.NEGATIVE_INFINITY })
  }

  /** The offset that was committed last, or was about to be. */
  get committed(): number {
    return this.#committed
  }

  /** The end of the log, as last heard. */
  get end(): number {
    return this.#end
  }

  /** The leader epoch of the last batch below an offset that is not below the committed one; undefined if not known. */
  epochBefore(offset: number): number | undefined {
    return this.#epochs.findLast(start => start.offset < offset)?.epoch
  }

  /**
   * Takes note of what was fetched: record batches as a Fetch response has them, control batches included, as far as
   * they were read, which is up to `nextOffset`.
   */
  fetched(batches: Buffer, nextOffset: number, end: number): void {
    this.#end = end
    let at = 0
    while (at + BatchField.magic < batches.length) {
      const offset = readInt64(batches, at)
      if (offset >= nextOffset) return
      const epoch = batches.readInt32BE(at + BatchField.leaderEpoch)
      if (epoch > (this.#epochs.at(-1)?.epoch ?? NO_EPOCH)) this.#epochs.push({ epoch, offset })
      at += LENGTH_PREFIX_BYTES + batches.readInt32BE(at + BatchField.length)
    }
  }

  /** Everything before `offset` is being committed: nobody asks for epochs of before any more. */
  commit(offset: number): void {
    this.#committed = offset
    const last = this.#epochs.findLastIndex(start => start.offset < offset)
    if (last > 0) this.#epochs.splice(0, last)
  }
}

const NO_EPOCH = -1
