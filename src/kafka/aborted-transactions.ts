/** A transaction that ended in an abort, as a Fetch response lists it. */
export interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: number
}

/** What the filter needs to know of a batch. */
export interface TransactionalBatch {
  readonly lastOffset: number
  readonly producerId: bigint
  readonly transactional: boolean
  readonly abortMarker: boolean
}

/**
 * Tells which batches a read_committed reader leaves out, as `CompletedFetch` of Kafka's Java client does: an aborted
 * transaction is open from its first offset until the abort marker of its producer. Batches come in offset order.
 */
export class AbortedTransactions {
  readonly #waiting: readonly AbortedTransaction[]
  #next = 0
  readonly #open = new Set<bigint>()

  /** `aborted` is the list of one partition in one Fetch response, in any order. */
  constructor(aborted: readonly AbortedTransaction[]) {
    this.#waiting = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset)
  }

  /** Whether the batch belongs to an aborted transaction. Called once for every batch, control batches included. */
  covers(batch: TransactionalBatch): boolean {
    while (this.#next < this.#waiting.length && this.#waiting[this.#next]!.firstOffset <= batch.lastOffset) {
      this.#open.add(this.#waiting[this.#next++]!.producerId)
    }
    if (batch.abortMarker) this.#open.delete(batch.producerId)
    return batch.transactional && this.#open.has(batch.producerId)
  }
}
