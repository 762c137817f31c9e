import { setTimeout as delay } from 'node:timers/promises'
import type { Admin } from 'kafkajs'
import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'
import { logState } from '../../src/kafka/offsets.ts'
import { brokers, createTopics, kafka, uniqueName, until } from '../support/broker.ts'
import { outcomeOf } from './outcome.ts'
import type { Subject } from './subject.ts'

/** The broker of the tests, from KAFKA_BROKERS. `close` when done. */
export class BrokerSubject implements Subject {
  readonly clock = systemClock
  readonly tools = clusterTools(
    { brokers: brokers(), clientId: 'conformance', requestTimeoutMs: 30_000, metadataMaxAgeMs: 60_000 },
    silentLog,
  )
  readonly uniqueName = uniqueName
  readonly #admin: Admin = kafka().admin()

  open(): Promise<void> {
    return this.#admin.connect()
  }

  close(): Promise<void> {
    return this.#admin.disconnect()
  }

  /** Metadata names a leader before that broker leads: a topic is there once it answers for every partition. */
  async createTopic(topic: string, partitions: number): Promise<void> {
    await createTopics({ [topic]: partitions })
    const cluster = this.tools.create()
    try {
      await cluster.connect()
      await cluster.addMultipleTargetTopics([topic])
      const state = (_: unknown, partition: number) => logState(cluster, topic, partition)
      const led = () => outcomeOf(Promise.all(Array.from({ length: partitions }, state)))
      await until(
        async () => (await led()) === 'OK',
        () => `the broker does not lead ${topic}`,
      )
    } finally {
      await cluster.disconnect()
    }
  }

  async deleteTopic(topic: string): Promise<void> {
    await this.#admin.deleteTopics({ topics: [topic] })
    const gone = async () => !(await this.#admin.listTopics()).includes(topic)
    await until(gone, () => `the broker still knows topic ${topic}`)
  }

  async deleteRecords(topic: string, partition: number, beforeOffset: number): Promise<void> {
    await this.#admin.fetchTopicMetadata({ topics: [topic] }) // kafkajs looks the leader up in what it has
    await this.#admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(beforeOffset) }] })
  }

  async sleep(ms: number): Promise<void> {
    await delay(ms)
  }

  wait<T>(outcome: Promise<T>): Promise<T> {
    return outcome
  }
}
