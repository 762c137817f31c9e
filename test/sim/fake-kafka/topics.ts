import type { Uuid } from '../../../src/kafka/wire.ts'
import { PartitionLog } from './partition-log.ts'

export interface FakePartition {
  readonly log: PartitionLog
  /** Node id. */
  leader: number
}

export interface FakeTopic {
  readonly name: string
  /** A topic that is created again gets another. */
  readonly id: Uuid
  readonly partitions: readonly FakePartition[]
}

/** The topics of the cluster. Partitions are led by the brokers in turn. */
export class Topics {
  readonly #brokers: number
  readonly #topics = new Map<string, FakeTopic>()
  #created = 0

  constructor(brokers: number) {
    this.#brokers = brokers
  }

  create(name: string, partitions: number): void {
    if (this.#topics.has(name)) throw new Error(`Topic ${name} exists already.`)
    this.#created++
    const id = Buffer.from(this.#created.toString(16).padStart(32, '0'), 'hex').toString('base64url')
    this.#topics.set(name, { name, id, partitions: Array.from({ length: partitions }, (_, p) => this.#partition(p)) })
  }

  /** Returns the topic that is gone now. */
  delete(name: string): FakeTopic {
    const topic = this.#topics.get(name)
    if (topic === undefined) throw new Error(`There is no topic ${name}.`)
    this.#topics.delete(name)
    return topic
  }

  get(name: string): FakeTopic | undefined {
    return this.#topics.get(name)
  }

  byId(id: Uuid): FakeTopic | undefined {
    return [...this.#topics.values()].find(topic => topic.id === id)
  }

  partition(name: string, partition: number): FakePartition | undefined {
    return this.#topics.get(name)?.partitions[partition]
  }

  /** The log of a partition, for the test's own hands. */
  log(name: string, partition: number): PartitionLog {
    const found = this.partition(name, partition)
    if (found === undefined) throw new Error(`There is no partition ${name}/${partition}.`)
    return found.log
  }

  #partition(partition: number): FakePartition {
    return { log: new PartitionLog(), leader: 1 + (partition % this.#brokers) }
  }
}
