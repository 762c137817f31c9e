import type { Committer, StartPosition } from '../core/transaction.ts'
import type { KafkaOutputWriter } from './output-writer.ts'
import type { RecordBatchWriter } from './record-batch-writer.ts'
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
    const { producer, start, partition } = this.#options
    this.output.discard()
    const pinned = await start.pinFirstOffset()
    await producer.initialise(this.output.destinations(partition))
    const { offset, committed, settled } = await start.position()
    if (!settled) await this.#send([], offset)
    return { offset, committed: committed && !pinned }
  }

  async commit(nextOffset: number): Promise<void> {
    const batches = this.output.take()
    try {
      await this.#send(batches, nextOffset)
    } finally {
      this.output.recycle(batches)
    }
  }

  #send(batches: readonly RecordBatchWriter[], offset: number): Promise<void> {
    const { producer, start, topic, partition } = this.#options
    return producer.commit(batches, { topic, partition, offset, metadata: start.mark(offset) })
  }

  async close(): Promise<void> {
    this.output.discard()
  }
}
