import type { ClusterTools } from '../../src/kafka/cluster.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'
import { FakeKafka } from '../sim/fake-kafka/fake-kafka.ts'
import type { Subject } from './subject.ts'

const logger: KafkajsLogger = { namespace: () => silent }
const silent = { ...logger, debug() {}, info() {}, warn() {}, error() {} }

/** The fake, on a clock of its own: no time is spent waiting. */
export class FakeSubject implements Subject {
  readonly clock = new FakeClock()
  readonly tools: ClusterTools = {
    create: () => this.#kafka.cluster('conformance'),
    logger,
    retry: { initialRetryTime: 1, maxRetryTime: 1, retries: 0 },
  }
  readonly #kafka: FakeKafka
  #named = 0

  constructor(brokers: number) {
    this.#kafka = new FakeKafka({ clock: this.clock, brokers })
  }

  uniqueName(name: string): string {
    return `${name}-${++this.#named}`
  }

  async createTopic(topic: string, partitions: number): Promise<void> {
    this.#kafka.createTopic(topic, partitions)
  }

  async deleteTopic(topic: string): Promise<void> {
    this.#kafka.deleteTopic(topic)
  }

  async deleteRecords(topic: string, partition: number, beforeOffset: number): Promise<void> {
    this.#kafka.deleteRecords(topic, partition, beforeOffset)
  }

  sleep(ms: number): Promise<void> {
    return this.clock.advance(ms)
  }

  async wait<T>(outcome: Promise<T>): Promise<T> {
    const LONGEST_MS = 60_000
    let settled = false
    outcome.then(
      () => {
        settled = true
      },
      () => {
        settled = true
      },
    )
    await settle()
    for (let waited = 0; !settled; waited += 10) {
      if (waited > LONGEST_MS) throw new Error(`no answer within ${LONGEST_MS} ms of the fake clock`)
      await this.clock.advance(10)
    }
    return outcome
  }
}
