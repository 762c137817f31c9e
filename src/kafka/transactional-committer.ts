import type { Committer, StartPosition } from '../core/transaction.ts'
import type { KafkaOutputWriter } from './output-writer.ts'
import type { StartPolicy } from './start-policy.ts'
import type { TransactionalProducer } from './transactional-producer.ts'

export interface TransactionalCommitterOptions {
  readonly topic: string
  readonly partition: number
  readonly producer: TransactionalProducer
  readonly output: KafkaOutputWriter
  readonly start: StartPolicy
}

/**
 * Exactly-once: the output of a task and its offset move in one transaction of the partition's own transactional id,
 * `<group>.<topic>.<partition>`. Offsets move in no other way, with one exception that `StartPolicy` explains: a
 * partition that the group never read gets its first offset before the id is used for the first time.
 */
export class TransactionalCommitter implements Committer {
  readonly output: KafkaOutputWriter
  readonly #options: TransactionalCommitterOptions

  constructor(options: TransactionalCommitterOptions) {
    this.#options = options
    this.output = options.output
  }

  async initialise(): Promise<StartPosition> {
    const { producer, start } = this.#options
    this.output.discard()
    const pinned = await start.pinFirstOffset()
    const epoch = await producer.initialise()
    if (pinned !== undefined && epoch > 0 && !start.acceptsLoss) await this.#halt(pinned)
    const position = await start.position()
    return { offset: position.offset, committed: position.committed && pinned === undefined }
  }

  /**
   * Nobody uses the id before an offset is committed, so the offset that should have been here was deleted or expired.
   * The one that was just committed in its place is marked, so that the next start does not take it for a good one.
   */
  async #halt(offset: number): Promise<never> {
    const { producer, start, topic, partition } = this.#options
    await producer.commit([], { topic, partition, offset, metadata: start.lostMarker })
    throw start.offsetMissing(offset)
  }

  async commit(nextOffset: number): Promise<void> {
    const { producer, topic, partition } = this.#options
    const batches = this.output.take()
    try {
      await producer.commit(batches, { topic, partition, offset: nextOffset, metadata: '' })
    } finally {
      this.output.recycle(batches)
    }
  }

  async close(): Promise<void> {
    this.output.discard()
  }
}
