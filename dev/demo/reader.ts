import { EventEmitter, once } from 'node:events'
import type { Consumer, EachBatchPayload, Kafka } from 'kafkajs'
import { type DemoAnswer, header, toAnswer } from './prediction.ts'
import type { DemoNames } from './topics.ts'

/** Header of a record that marks the end of its partition, see `Publisher.markEnds`. */
export const END_HEADER = 'demo-end'

/** Of each kind, so many answers keep their whole record. */
const WHOLE_RECORDS = 200

/**
 * Reads the output and the dead-letter topic from their beginning as anybody would who cares: read_committed, so that
 * it never sees what a transaction has not committed.
 */
export class AnswerReader {
  /** In the order of arrival, which within a partition is that of the offsets. */
  readonly answers: DemoAnswer[] = []
  readonly #names: DemoNames
  readonly #consumer: Consumer
  readonly #events = new EventEmitter<{ progress: [] }>()
  readonly #answered = new Set<number>()
  readonly #ended = new Set<string>()
  #predictions = 0
  #failure: Error | undefined

  constructor(client: Kafka, names: DemoNames) {
    this.#names = names
    this.#consumer = client.consumer({ groupId: names.readerGroup, readUncommitted: false, maxWaitTimeInMs: 100 })
    this.#consumer.on(this.#consumer.events.CRASH, ({ payload }) => {
      if (payload.restart) return
      this.#failure = payload.error
      this.#events.emit('progress')
    })
  }

  /** Distinct records that have an answer. */
  get answered(): number {
    return this.#answered.size
  }

  /** Partitions whose end was seen. */
  get ended(): number {
    return this.#ended.size
  }

  /** Resolves when it begins to read. */
  async start(): Promise<void> {
    const joined = new Promise(resolve => this.#consumer.on(this.#consumer.events.GROUP_JOIN, resolve))
    await this.#consumer.connect()
    await this.#consumer.subscribe({ topics: [this.#names.output, this.#names.deadLetter], fromBeginning: true })
    await this.#consumer.run({ autoCommit: false, eachBatch: async payload => this.#take(payload) })
    await joined
  }

  close(): Promise<void> {
    return this.#consumer.disconnect()
  }

  /**
   * Resolves with true when `holds` does; it is asked whenever something was read. With false when nothing new was read
   * for `patienceMs`. Rejects when the reader crashes or `signal` is aborted.
   */
  async until(holds: () => boolean, patienceMs: number, signal: AbortSignal): Promise<boolean> {
    while (!holds()) {
      const patience = AbortSignal.timeout(patienceMs)
      try {
        await once(this.#events, 'progress', { signal: AbortSignal.any([signal, patience]) })
      } catch (error) {
        if (patience.aborted && !signal.aborted) return false
        throw error
      }
      if (this.#failure !== undefined) throw this.#failure
    }
    return true
  }

  #take({ batch: { topic, partition, messages } }: EachBatchPayload): void {
    const arrivedAt = Date.now()
    for (const message of messages) {
      if (header(message.headers, END_HEADER) !== undefined) {
        this.#ended.add(`${topic}/${partition}`)
        continue
      }
      const answer = toAnswer(topic, partition, message, arrivedAt)
      const keep = answer.outcome !== 'prediction' || this.#predictions++ < WHOLE_RECORDS
      this.answers.push(keep ? { ...answer, message } : answer)
      if (answer.id !== undefined) this.#answered.add(answer.id)
    }
    this.#events.emit('progress')
  }
}
