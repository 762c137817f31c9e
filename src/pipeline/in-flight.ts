import { memoryOf, type RecordBatch } from '../core/record-batch.ts'
import type { Room } from '../core/transaction.ts'

/** Records fetched and not yet committed, and the memory that they take. */
export interface InFlightLimits {
  readonly records: number
  readonly bytes: number
}

/** Of what a partition may hold: with less to spare it waits for the next commit, rather than to fetch a few records. */
const LEAST_SHARE = 1 / 8

/** What one partition holds, from the fetch of a batch to the transaction that carries its last record. */
export class Holding {
  readonly #budget: InFlightBudget
  #records = 0
  #bytes = 0

  constructor(budget: InFlightBudget) {
    this.#budget = budget
  }

  get records(): number {
    return this.#records
  }

  get bytes(): number {
    return this.#bytes
  }

  /** What may be fetched on top; undefined where that is nothing. */
  get room(): Room | undefined {
    return this.#budget.roomFor(this)
  }

  take(batch: RecordBatch): void {
    this.#add(batch.count, memoryOf(batch))
  }

  /** Records leave one by one, the memory of a batch when its last record does. */
  giveBack(records: number, bytes: number): void {
    this.#add(-records, -bytes)
  }

  /** The run is over: nothing of it is in flight any more. */
  close(): void {
    this.#add(-this.#records, -this.#bytes)
  }

  #add(records: number, bytes: number): void {
    this.#records += records
    this.#bytes += bytes
    this.#budget.add(records, bytes)
  }
}

/**
 * The memory that the partitions of a replica share for what they read ahead.
 *
 * No partition may hold more than what the replica has left, beside its own limit: dynamic thresholds (Choudhury and Hahne,
 * "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998,
 * with α = 1). So one hot partition takes at most half of the budget, n of them at most n/(n+1), each as much as the
 * others, and a partition that was quiet always finds some.
 *
 * A batch is taken whole: a partition, and the budget, may be exceeded by what is left of one batch each.
 */
export class InFlightBudget {
  readonly #total: InFlightLimits
  readonly #each: InFlightLimits
  #records = 0
  #bytes = 0

  /**
   * @param total for all partitions of the replica
   * @param each for one of them
   */
  constructor(total: InFlightLimits, each: InFlightLimits) {
    this.#total = total
    this.#each = each
  }

  /** For one run of a task, which closes it. */
  open(): Holding {
    return new Holding(this)
  }

  get records(): number {
    return this.#records
  }

  get bytes(): number {
    return this.#bytes
  }

  roomFor(holding: Holding): Room | undefined {
    const mostRecords = Math.min(this.#each.records, this.#total.records - this.#records)
    const mostBytes = Math.min(this.#each.bytes, this.#total.bytes - this.#bytes)
    const records = mostRecords - holding.records
    const bytes = mostBytes - holding.bytes
    const worthwhile = records > mostRecords * LEAST_SHARE && bytes > mostBytes * LEAST_SHARE
    return worthwhile ? { records, bytes } : undefined
  }

  add(records: number, bytes: number): void {
    this.#records += records
    this.#bytes += bytes
  }
}
