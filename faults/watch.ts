import type { RecordBatch } from '../src/core/record-batch.ts'

/** A time in which a partition answered nothing new, in ms since the epoch. */
interface Silence {
  readonly from: number
  readonly to: number
}

/** Shorter ones are the rhythm of transactions and of the reader. */
const LEAST_SILENCE_MS = 100

/**
 * Sees the output as a read_committed reader gets it, and knows how long each partition answered nothing. The answers of a
 * partition come in the order of its records, so an answer to a young record means that all before it are answered.
 */
export class Watch {
  /** Timestamp of the youngest record that was answered, and when that was seen; by partition. */
  readonly #youngest: number[]
  readonly #seenAt: number[]
  #silences: Silence[] = []
  readonly #waiting = new Set<() => void>()

  /** @param partitions of the input, and of each output topic: an answer keeps its record's partition number */
  constructor(partitions: number) {
    this.#youngest = new Array<number>(partitions).fill(0)
    this.#seenAt = new Array<number>(partitions).fill(Date.now())
  }

  /** Takes what was read from an output topic: a prediction and a dead letter have the timestamp of their record. */
  saw(batch: RecordBatch): void {
    const { partition } = batch
    const last = batch.timestamps[batch.count - 1]!
    if (last <= this.#youngest[partition]!) return
    const now = Date.now()
    const from = this.#seenAt[partition]!
    if (now - from >= LEAST_SILENCE_MS) this.#silences.push({ from, to: now })
    this.#youngest[partition] = last
    this.#seenAt[partition] = now
    for (const look of this.#waiting) look()
  }

  /** Forgets the silences so far. */
  reset(): void {
    this.#silences = []
  }

  /** The longest silence of a partition after `since`, in ms; what was silent before counts from `since` on. */
  longestSilence(since: number): number {
    return Math.max(0, ...this.#silences.map(({ from, to }) => to - Math.max(from, since)))
  }

  /**
   * Resolves when every partition has answered a record that is younger than `since`.
   * @throws Error with what each partition answered last, when `timeoutMs` have passed
   */
  async answered(since: number, timeoutMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const look = () => {
      if (this.#youngest.every(timestamp => timestamp > since)) resolve()
    }
    const complain = () => {
      const behind = this.#youngest.map((timestamp, partition) => `${partition}: ${timestamp - since} ms`).join(', ')
      reject(
        new Error(`Not recovered after ${timeoutMs / 1000} s; newest answer after the fault, by partition: ${behind}.`),
      )
    }
    const timer = setTimeout(complain, timeoutMs)
    this.#waiting.add(look)
    look()
    try {
      await promise
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(look)
    }
  }
}
