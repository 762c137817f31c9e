import { setTimeout as delay } from 'node:timers/promises'
import { type Kafka, type Message, Partitioners, type Producer } from 'kafkajs'
import type { DemoRecord } from './flowers.ts'
import { END_HEADER } from './reader.ts'
import { PARTITIONS } from './topics.ts'

const TICK_MS = 20

/** Publishes records to the input topic. It is idempotent: what it sends lies there once, also after a retry. */
export class Publisher {
  /** When each record was handed over, its timestamp, by id; in milliseconds since the epoch. */
  readonly sentAt = new Map<number, number>()
  readonly #producer: Producer
  readonly #topic: string

  constructor(client: Kafka, topic: string) {
    this.#topic = topic
    // The default partitioner is that of Java clients: records of a key go to one partition.
    const createPartitioner = Partitioners.DefaultPartitioner
    this.#producer = client.producer({ idempotent: true, maxInFlightRequests: 1, createPartitioner })
  }

  connect(): Promise<void> {
    return this.#producer.connect()
  }

  /** Waits for what is being sent. */
  close(): Promise<void> {
    return this.#producer.disconnect()
  }

  /** Publishes records evenly, as many each second; returns when all are sent, early when `signal` says so. */
  async stream(records: Iterable<DemoRecord>, perSecond: number, signal: AbortSignal): Promise<void> {
    const source = records[Symbol.iterator]()
    const begun = performance.now()
    for (let sent = 0; !signal.aborted; ) {
      const due = Math.ceil(((performance.now() - begun + TICK_MS) / 1_000) * perSecond)
      const chunk = [...take(source, due - sent)]
      if (chunk.length === 0) return
      await this.send(chunk)
      sent += chunk.length
      const next = begun + (sent / perSecond) * 1_000
      // Aborted: the loop ends.
      await delay(Math.max(1, next - performance.now()), undefined, { signal }).catch(() => {})
    }
  }

  /** Publishes records at once. */
  async send(records: readonly DemoRecord[]): Promise<void> {
    if (records.length === 0) return
    const timestamp = Date.now()
    const messages = records.map(({ id, key, value }): Message => {
      this.sentAt.set(id, timestamp)
      return { key, value, timestamp: String(timestamp), headers: { record: String(id) } }
    })
    await this.#producer.send({ topic: this.#topic, messages })
  }

  /** Marks the end of every partition of the topics: a reader that has seen it has seen all before it. */
  async markEnds(topics: readonly string[]): Promise<void> {
    const messages = Array.from({ length: PARTITIONS }, (_, partition): Message => {
      return { partition, value: null, headers: { [END_HEADER]: 'true' } }
    })
    await this.#producer.sendBatch({ topicMessages: topics.map(topic => ({ topic, messages })) })
  }
}

function* take<T>(source: Iterator<T>, count: number): Iterable<T> {
  for (let taken = 0; taken < count; taken++) {
    const { done, value } = source.next()
    if (done) return
    yield value
  }
}
