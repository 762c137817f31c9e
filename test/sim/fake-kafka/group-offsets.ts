import { ErrorCode } from './error-code.ts'

export interface OffsetEntry {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly metadata: string
}

interface Written extends OffsetEntry {
  /** Where it lies in the offsets topic: of two commits the later one counts, whenever its transaction ended. */
  readonly position: number
}

/** What the offsets topic knows of a producer: its epoch, and what it wrote since its last marker. */
interface Pending {
  epoch: number
  entries: Written[] | undefined
}

/**
 * The offsets of one group. Those of a transaction wait for its marker, and nobody sees them before it is written.
 */
export class GroupOffsets {
  readonly #committed = new Map<string, Written>()
  readonly #pending = new Map<bigint, Pending>()
  #position = 0

  get(topic: string, partition: number): OffsetEntry | undefined {
    return this.#committed.get(`${topic}/${partition}`)
  }

  commit(entries: readonly OffsetEntry[]): void {
    for (const entry of entries) this.#apply(this.#written(entry))
  }

  /** Whether the producer has written offsets here that no marker has ended yet. */
  hasOngoingTransaction(producerId: bigint, epoch: number): boolean {
    const pending = this.#pending.get(producerId)
    return pending?.entries !== undefined && pending.epoch === epoch
  }

  /** The same, whatever the epoch. */
  hasPending(producerId: bigint): boolean {
    return this.#pending.get(producerId)?.entries !== undefined
  }

  commitInTransaction(producerId: bigint, epoch: number, entries: readonly OffsetEntry[]): ErrorCode {
    const pending = this.#pendingOf(producerId)
    if (epoch < pending.epoch) return ErrorCode.INVALID_PRODUCER_EPOCH
    pending.epoch = epoch
    pending.entries = [...(pending.entries ?? []), ...entries.map(entry => this.#written(entry))]
    return ErrorCode.NONE
  }

  /** The marker of the producer's transaction. */
  end(producerId: bigint, epoch: number, committed: boolean): void {
    const pending = this.#pendingOf(producerId)
    if (committed) for (const entry of pending.entries ?? []) this.#apply(entry)
    pending.epoch = epoch
    pending.entries = undefined
  }

  deleteTopic(topic: string): void {
    for (const [key, entry] of this.#committed) if (entry.topic === topic) this.#committed.delete(key)
    for (const pending of this.#pending.values()) {
      pending.entries = pending.entries?.filter(entry => entry.topic !== topic)
    }
  }

  clear(): void {
    this.#committed.clear()
  }

  #written(entry: OffsetEntry): Written {
    return { ...entry, position: this.#position++ }
  }

  #apply(entry: Written): void {
    const key = `${entry.topic}/${entry.partition}`
    const known = this.#committed.get(key)
    if (known === undefined || known.position < entry.position) this.#committed.set(key, entry)
  }

  #pendingOf(producerId: bigint): Pending {
    const known = this.#pending.get(producerId)
    if (known !== undefined) return known
    const pending = { epoch: -1, entries: undefined }
    this.#pending.set(producerId, pending)
    return pending
  }
}
