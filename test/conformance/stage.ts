import assert from 'node:assert/strict'
import { valueBytes } from '../../src/core/record-batch.ts'
import { fetchRecords, type PartitionRecords } from '../../src/kafka/fetch-protocol.ts'
import { leaderOf } from '../../src/kafka/offsets.ts'
import { protocolType } from '../../src/kafka/protocol-errors.ts'
import { readRecordBatches } from '../../src/kafka/record-batch-reader.ts'
import { topicIdOf } from '../../src/kafka/topic-ids.ts'
import { GroupMember } from './group-member.ts'
import { nameOfCode } from './outcome.ts'
import type { Subject } from './subject.ts'
import { TestProducer } from './test-producer.ts'

/** Refusals that pass by themselves: the last transaction has not quite ended, or a coordinator is still loading. */
const PASSING = new Set([
  'CONCURRENT_TRANSACTIONS',
  'GROUP_LOAD_IN_PROGRESS',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
  'NOT_COORDINATOR_FOR_GROUP',
])

/** What a read_committed reader was answered. */
export interface ReadAnswer {
  /** `OK`, or the broker's name for its refusal. */
  readonly outcome: string
  /** Values of the records that a reader sees. */
  readonly values: readonly string[]
  readonly nextOffset: number
  readonly answer: PartitionRecords
}

export interface ReadOptions {
  readonly partition?: number
  readonly maxBytes?: number
  readonly maxWaitMs?: number
  readonly topicId?: string
  readonly lastFetchedEpoch?: number
}

/** Where one behaviour is tried: connections, and names that are its own. */
export class Stage {
  readonly subject: Subject
  readonly group: string
  readonly transactionalId: string
  /** Wall time, and the time of every record that is appended here. */
  readonly startedAt: number
  #topic = ''
  readonly #clusters: KafkajsCluster[] = []

  constructor(subject: Subject) {
    this.subject = subject
    this.startedAt = Math.floor(subject.clock.wallTime())
    this.group = subject.uniqueName('conformance-group')
    this.transactionalId = subject.uniqueName('conformance-id')
  }

  get topic(): string {
    assert.notEqual(this.#topic, '', 'createTopic comes first')
    return this.#topic
  }

  async createTopic(partitions = 1): Promise<string> {
    this.#topic = this.subject.uniqueName('conformance')
    await this.subject.createTopic(this.#topic, partitions)
    return this.#topic
  }

  /** New connections. */
  async cluster(): Promise<KafkajsCluster> {
    const cluster = this.subject.tools.create()
    this.#clusters.push(cluster)
    await cluster.connect()
    await cluster.refreshMetadata()
    if (this.#topic !== '') await cluster.addMultipleTargetTopics([this.#topic])
    return cluster
  }

  async close(): Promise<void> {
    await Promise.all(this.#clusters.map(cluster => cluster.disconnect()))
  }

  async groupCoordinator(): Promise<KafkajsBroker> {
    return this.#coordinator(await this.cluster(), this.group, 0)
  }

  async transactionCoordinator(transactionalId = this.transactionalId): Promise<KafkajsBroker> {
    return this.#coordinator(await this.cluster(), transactionalId, 1)
  }

  /** A producer that has initialised its id. */
  async producer(transactionalId = this.transactionalId, timeoutMs = 60_000): Promise<TestProducer> {
    const cluster = await this.cluster()
    const coordinator = await this.#coordinator(cluster, transactionalId, 1)
    const groupCoordinator = await this.#coordinator(cluster, this.group, 0)
    const { producerId, producerEpoch } = await this.patiently(() =>
      coordinator.initProducerId({ transactionalId, transactionTimeout: timeoutMs }),
    )
    const state = { transactionalId, producerId, producerEpoch }
    return new TestProducer({ stage: this, cluster, coordinator, groupCoordinator, state })
  }

  /** A producer that is idempotent, without transactions. */
  async idempotentProducer(): Promise<TestProducer> {
    const cluster = await this.cluster()
    const [coordinator] = Object.values(cluster.brokerPool.brokers) as [KafkajsBroker]
    await coordinator.connect()
    const { producerId, producerEpoch } = await coordinator.initProducerId({ transactionTimeout: 60_000 })
    const state = { transactionalId: undefined, producerId, producerEpoch }
    return new TestProducer({ stage: this, cluster, coordinator, groupCoordinator: coordinator, state })
  }

  /** Somebody who can join the group, over connections of his own. */
  async member(options: { sessionTimeout?: number; rebalanceTimeout?: number } = {}): Promise<GroupMember> {
    return new GroupMember(this.subject, await this.groupCoordinator(), this.group, options)
  }

  /** Appends records outside any transaction. */
  async append(...values: string[]): Promise<void> {
    const producer = await this.idempotentProducer()
    assert.equal(await producer.send(0, values), 'OK')
  }

  /** Reads once, as a read_committed reader, from the leader. */
  async read(position: number, options: ReadOptions = {}): Promise<ReadAnswer> {
    const leader = await leaderOf(await this.cluster(), this.topic, options.partition ?? 0)
    return this.readFrom(leader, position, options.topicId ?? (await topicIdOf(leader, this.topic)), options)
  }

  async readFrom(
    leader: KafkajsBroker,
    position: number,
    topicId: string,
    { partition = 0, maxBytes = 1_000_000, maxWaitMs = 0, lastFetchedEpoch }: ReadOptions = {},
  ): Promise<ReadAnswer> {
    const partitions = [{ topicId, partition, position, lastFetchedEpoch, maxBytes }]
    const [answer] = await this.subject.wait(fetchRecords(leader, { maxWaitMs, maxBytes, partitions }))
    const { records, aborted, errorCode } = answer!
    const set = { topic: this.topic, partition, bytes: records, fetchOffset: position, aborted }
    const { batches, nextOffset } = readRecordBatches(set)
    const values = batches.flatMap(batch => Array.from({ length: batch.count }, (_, i) => String(valueBytes(batch, i))))
    return { outcome: nameOfCode(errorCode), values, nextOffset, answer: answer! }
  }

  /** Offset and metadata that the group has committed for a partition. */
  async committed(partition = 0): Promise<{ offset: number; metadata: string | null }> {
    const coordinator = await this.groupCoordinator()
    const topics = [{ topic: this.topic, partitions: [{ partition }] }]
    const { responses } = await coordinator.offsetFetch({ groupId: this.group, topics })
    const { offset, metadata } = responses[0]!.partitions[0]!
    return { offset: Number(offset), metadata }
  }

  /** Asks again while the refusal is one that passes. */
  async patiently<T>(request: () => Promise<T>): Promise<T> {
    const TRIES = 1_000
    for (let tries = 0; ; tries++) {
      try {
        return await this.subject.wait(request())
      } catch (error) {
        if (tries === TRIES || !PASSING.has(protocolType(error) ?? '')) throw error
        await this.subject.sleep(5)
      }
    }
  }

  /** Looks again until it holds. */
  async until(holds: () => Promise<boolean>, complaint: string): Promise<void> {
    const TRIES = 1_000
    for (let tries = 0; !(await holds()); tries++) {
      assert.ok(tries < TRIES, complaint)
      await this.subject.sleep(20)
    }
  }

  #coordinator(cluster: KafkajsCluster, groupId: string, coordinatorType: 0 | 1): Promise<KafkajsBroker> {
    return this.patiently(() => cluster.findGroupCoordinator({ groupId, coordinatorType }))
  }
}
