import { SluiceError } from '../core/errors.ts'
import { type Committer, FencedError, type StartPosition } from '../core/transaction.ts'
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
  /** Reads the metadata that `output` knows its topics by. Never throws. */
  readonly refresh: () => Promise<void>
}

/**
 * Exactly-once: the output of a task and its offset move in one transaction of the partition's own transactional id,
 * `<group>.<topic>.<partition>`. Offsets move in no other way, with one exception that `StartPolicy` explains: a
 * partition that the group never read gets its first offset before the id is used for the first time.
 */
export class TransactionalCommitter implements Committer {
  readonly output: KafkaOutputWriter
  readonly #options: TransactionalCommitterOptions
  /** Where the group is, as far as is known here. */
  #committed: number | undefined
  /** Whether `#committed` was read, and no transaction since has shown that whoever said so was the coordinator. */
  #hearsay = true

  constructor(options: TransactionalCommitterOptions) {
    this.#options = options
    this.output = options.output
  }

  async initialise(): Promise<StartPosition> {
    const { start } = this.#options
    this.output.discard()
    const pinned = await start.pinFirstOffset()
    await this.#initialiseProducer()
    const { offset, committed, settled, serving, ...range } = await start.position()
    this.#hearsay = true
    this.output.resume(serving)
    if (!settled) await this.#send([], offset, serving)
    this.#committed = offset
    return { ...range, offset, committed: committed && !pinned }
  }

  /**
   * A topic that was made anew may have fewer partitions than the metadata still says, and those that are gone are
   * refused: whoever tries again should know.
   */
  async #initialiseProducer(): Promise<void> {
    const { producer, partition, refresh } = this.#options
    try {
      await producer.initialise(this.output.destinations(partition))
    } catch (error) {
      if (!(error instanceof FencedError)) await refresh()
      throw error
    }
  }

  async commit(nextOffset: number): Promise<void> {
    const { serving } = this.output
    const batches = this.output.take()
    if (!this.#options.producer.connected) await this.#renew()
    else if (this.#hearsay && !this.#options.start.connected) await this.#requireUnmoved()
    await this.#send(batches, nextOffset, serving)
    this.#committed = nextOffset
    this.output.recycle(batches) // not after a failure: they may still be on their way to a socket
  }

  /**
   * Brokers close connections that were idle, and a crash closes them, too: then the last transaction may not have ended
   * everywhere. So it is ended again, as at a start; what was read since stands, if the group is where it was left.
   */
  async #renew(): Promise<void> {
    await this.#initialiseProducer()
    await this.#requireUnmoved()
  }

  /** @throws SluiceError `transaction-unknown` when the group is not where it was left */
  async #requireUnmoved(): Promise<void> {
    const { start, topic, partition } = this.#options
    const found = await start.committedNow()
    this.#hearsay = true
    if (found === this.#committed) return
    throw new SluiceError(
      'transaction-unknown',
      `The offset of ${topic}/${partition} is ${found}, not ${this.#committed} as this worker left it.`,
    )
  }

  /**
   * The offset that was read is the group's latest only if it was the coordinator who said so. A broker that was paused
   * takes itself for the coordinator still, and answers, until it hears otherwise:
   *
   *   A is the coordinator, paused ─▶ B takes over, and 8 is committed there ─▶ A wakes up, and a task that starts is told 0
   *
   * It can read so, but not write: what it appends, nobody replicates. So the first transaction takes its offset over the
   * very connection over which the one before was read; when that one is acknowledged, it was the coordinator who spoke.
   */
  async #send(batches: readonly RecordBatchWriter[], offset: number, serving: string | undefined): Promise<void> {
    const { producer, start, topic, partition } = this.#options
    const over = this.#hearsay ? { over: { connection: start.readOver } } : {}
    await producer.commit(batches, { topic, partition, offset, metadata: start.mark(offset, serving), ...over })
    this.#hearsay = false
  }

  async close(): Promise<void> {
    this.output.discard()
  }
}
