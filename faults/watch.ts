import type { RecordBatch } from '../src/core/record-batch.ts'

/**
 * Sees the output as a read_committed reader gets it, and knows when a partition works again: when it has answered a
 * record that was published after the fault. Because a partition answers in order, all that had piled up is answered too.
 */
export class Watch {
  /** Timestamp (ms since the epoch) of the newest input record that was answered, by partition. */
  readonly #answered: number[]
  readonly #waiting = new Set<() => void>()

  /** @param partitions of the input, and of each output topic: an answer keeps its record's partition number */
  constructor(partitions: number) {
    this.#answered = new Array<number>(partitions).fill(0)
  }

  /** Takes what was read from an output topic: a prediction and a dead letter have the timestamp of their record. */
  saw(batch: RecordBatch): void {
    const last = batch.timestamps[batch.count - 1]!
    if (last <= this.#answered[batch.partition]!) return
    this.#answered[batch.partition] = last
    for (const look of this.#waiting) look()
  }

  /**
   * Resolves to the wall time at which every partition has answered a record that is younger than `since`.
   * @throws Error with what each partition answered last, when `timeoutMs` have passed
   */
  async answered(since: number, timeoutMs: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const look = () => {
      if (this.#answered.every(timestamp => timestamp > since)) resolve(Date.now())
    }
    const complain = () => {
      const behind = this.#answered.map((timestamp, partition) => `${partition}: ${timestamp - since} ms`).join(', ')
      reject(
        new Error(`Not recovered after ${timeoutMs / 1000} s; newest answer after the fault, by partition: ${behind}.`),
      )
    }
    const timer = setTimeout(complain, timeoutMs)
    this.#waiting.add(look)
    look()
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(look)
    }
  }
}
