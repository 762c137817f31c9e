import type { Clock } from '../../../src/core/clock.ts'
import { encodeBatch, type FakeRecord, NO_PRODUCER } from './batch-encoder.ts'
import { Changes } from './changes.ts'
import type { ClusterState } from './cluster-state.ts'
import { FakeBroker } from './fake-broker.ts'
import { FakeCluster } from './fake-cluster.ts'
import type { Network } from './fake-connection.ts'
import { GroupCoordinator } from './group-coordinator.ts'
import type { StoredRecord } from './log-batch.ts'
import { PartitionLeader } from './partition-leader.ts'
import { Topics } from './topics.ts'
import { type BrokerCrash, type Participant, TransactionCoordinator } from './transaction-coordinator.ts'

export type { FakeRecord } from './batch-encoder.ts'
export type { Asked, Network } from './fake-connection.ts'
export type { StoredRecord } from './log-batch.ts'
export type { BrokerCrash } from './transaction-coordinator.ts'

export interface FakeKafkaOptions {
  readonly clock: Clock
  /** Partitions and coordinators are spread over them; 1 unless given. */
  readonly brokers?: number
  /** False: a fetch that finds nothing is answered at once. */
  readonly maxWaitOnFetch?: boolean
  /** How long each marker of a transaction takes, in ms; 1 unless given. */
  readonly markerDelayMs?: () => number
}

/**
 * Kafka in memory, for the simulation: the brokers' state machines behind kafkajs's cluster, with all time from the
 * injected clock and no chance. `test/conformance` runs the same behaviours on this and on a real broker, and says what
 * is not modelled.
 */
export class FakeKafka {
  readonly #state: ClusterState
  readonly #brokers: readonly FakeBroker[]

  constructor({ clock, brokers = 1, maxWaitOnFetch = true, markerDelayMs = () => 1 }: FakeKafkaOptions) {
    const topics = new Topics(brokers)
    const changes = new Changes(clock)
    const transactions = new TransactionCoordinator({
      clock,
      markerDelayMs,
      writeMarker: (to, producerId, epoch, committed) => this.#writeMarker(to, producerId, epoch, committed),
      isOpenAt: (at, producerId) => this.#isOpenAt(at, producerId),
    })
    this.#state = {
      clock,
      brokers,
      topics,
      changes,
      transactions,
      leader: new PartitionLeader(topics, transactions),
      groups: new GroupCoordinator(clock, transactions),
      waitOnFetch: maxWaitOnFetch,
    }
    this.#brokers = Array.from({ length: brokers }, (_, index) => new FakeBroker(index + 1, this.#state))
  }

  createTopic(topic: string, partitions: number): void {
    this.#state.topics.create(topic, partitions)
  }

  /** The groups' offsets of the topic go with it. */
  deleteTopic(topic: string): void {
    this.#state.topics.delete(topic)
    this.#state.groups.deleteTopic(topic)
    this.#state.changes.notify()
  }

  /** Records written by a producer outside Sluice (no transaction). Returns the offset of the first. */
  append(topic: string, partition: number, records: readonly FakeRecord[]): number {
    const batch = encodeBatch(records, NO_PRODUCER, this.#state.clock.wallTime())
    const { baseOffset } = this.#state.topics.log(topic, partition).append(batch)
    this.#state.changes.notify()
    return baseOffset
  }

  /** Moves the start of the log, as retention and DeleteRecords do. */
  deleteRecords(topic: string, partition: number, beforeOffset: number): void {
    this.#state.topics.log(topic, partition).deleteBefore(beforeOffset)
    this.#state.changes.notify()
  }

  /** Loses the tail of the log, as an unclean leader election does; whole batches, back to the one that holds the offset. */
  truncate(topic: string, partition: number, toOffset: number): void {
    this.#state.topics.log(topic, partition).truncate(toOffset)
    this.#state.changes.notify()
  }

  /** Gives a partition another leader. Clients hear of it from NOT_LEADER_OR_FOLLOWER, or when they ask. */
  moveLeader(topic: string, partition: number, node: number): void {
    const found = this.#state.topics.partition(topic, partition)
    if (found === undefined) throw new Error(`There is no partition ${topic}/${partition}.`)
    found.leader = node
    found.log.epochs.begin(found.log.end)
    this.#state.changes.notify()
  }

  /** Connections of one client, in the shape of kafkajs's Cluster as far as Sluice uses it. */
  cluster(clientId: string, network: Network = (_, deliver) => deliver()): KafkajsCluster {
    return new FakeCluster(this.#brokers, this.#state.clock, clientId, network)
  }

  /** The truth, not through any network: what a read_committed reader sees, up to the last stable offset. */
  readCommitted(topic: string, partition: number): readonly StoredRecord[] {
    return this.#state.topics.log(topic, partition).committed()
  }

  /** The truth about the offsets of a log; the end is that of the last record, markers included, plus one. */
  logEnd(topic: string, partition: number): { start: number; stable: number; end: number } {
    const { start, stable, end } = this.#state.topics.log(topic, partition)
    return { start, stable, end }
  }

  /** The truth about a group's offset; undefined where there is none. */
  committedOffset(group: string, topic: string, partition: number): number | undefined {
    return this.#state.groups.committed(group, topic, partition)?.offset
  }

  /**
   * Every broker crashes at once and comes back, as a single one does. Nothing is lost but markers; that connections
   * close is the network's part.
   */
  crash(how: BrokerCrash): void {
    this.#state.transactions.crash(how)
    for (const broker of this.#brokers) broker.run = {}
  }

  /** Transactional ids with a transaction that has not ended everywhere: some marker is not written yet, or was lost. */
  openTransactions(): readonly string[] {
    return this.#state.transactions.open()
  }

  /** Transactional ids with markers that are yet to be written: what a crash may lose. */
  endingTransactions(): readonly string[] {
    return this.#state.transactions.ending()
  }

  /** Forgets the offsets of a group, as `offsets.retention.minutes` does once it has been empty for long. */
  expireGroup(group: string): void {
    this.#state.groups.expire(group)
  }

  #writeMarker(to: Participant, producerId: bigint, epoch: number, committed: boolean): void {
    const { topics, groups, changes, clock } = this.#state
    if ('group' in to) groups.endTransaction(to.group, producerId, epoch, committed)
    else {
      const partition = topics.partition(to.topic, to.partition) // the topic may have been deleted meanwhile
      partition?.log.appendMarker(producerId, epoch, committed, clock.wallTime())
    }
    changes.notify()
  }

  #isOpenAt(at: Participant, producerId: bigint): boolean {
    const { topics, groups } = this.#state
    if ('group' in at) return groups.hasPending(at.group, producerId)
    return topics.partition(at.topic, at.partition)?.log.isOpen(producerId) === true
  }
}
