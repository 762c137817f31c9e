import { type Arrivals, recordAt } from './arrivals.ts'

/** What a reader of the output noticed besides the times. */
export interface Tally {
  /** Different records of the plan that were seen. */
  readonly seen: number
  /** Sightings beyond the first of a record. */
  readonly doubled: number
  /** First sightings of a record after one that follows it in its input partition. */
  readonly misordered: number
  /** Outputs of no record of the plan. */
  readonly foreign: number
}

/** Keeps for each record of a plan when its output was first seen. A record that was never seen is lost. */
export class Sightings implements Tally {
  /** Of {@link monotonicMs}; NaN for what has not been seen. Shared memory. */
  readonly times: Float64Array
  seen = 0
  doubled = 0
  misordered = 0
  foreign = 0
  readonly #arrivals: Arrivals
  readonly #firstOffsets: readonly number[]
  readonly #lastRanks: Float64Array

  /**
   * @param times memory for `arrivals.count` times, as {@link noSightings} makes it
   * @param firstOffsets of the plan's first record in each partition of the input
   */
  constructor(arrivals: Arrivals, times: Float64Array, firstOffsets: readonly number[]) {
    this.#arrivals = arrivals
    this.#firstOffsets = firstOffsets
    this.#lastRanks = new Float64Array(arrivals.partitions).fill(-1)
    this.times = times
  }

  /** Takes note of an output whose source is this offset of the input, or -1 for an output of another topic. */
  add(partition: number, offset: number, at: number): void {
    const rank = offset - (this.#firstOffsets[partition] ?? Number.POSITIVE_INFINITY)
    const record = recordAt(this.#arrivals, partition, rank)
    if (record < 0) {
      this.foreign++
    } else if (!Number.isNaN(this.times[record]!)) {
      this.doubled++
    } else {
      this.times[record] = at
      this.seen++
      if (rank < this.#lastRanks[partition]!) this.misordered++
      else this.#lastRanks[partition] = rank
    }
  }

  tally(): Tally {
    const { seen, doubled, misordered, foreign } = this
    return { seen, doubled, misordered, foreign }
  }
}

/** Shared memory for the sightings of `count` records, none of them seen. */
export function noSightings(count: number): Float64Array {
  return new Float64Array(new SharedArrayBuffer(count * Float64Array.BYTES_PER_ELEMENT)).fill(Number.NaN)
}
