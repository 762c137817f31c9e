import type { Clock } from '../../src/core/clock.ts'
import type { ClusterTools } from '../../src/kafka/cluster.ts'

/** A Kafka under test. */
export interface Subject {
  readonly clock: Clock
  readonly tools: ClusterTools
  /** Returns a name that nobody has used. */
  uniqueName(name: string): string
  createTopic(topic: string, partitions: number): Promise<void>
  /** Resolves when the brokers have forgotten it. */
  deleteTopic(topic: string): Promise<void>
  deleteRecords(topic: string, partition: number, beforeOffset: number): Promise<void>
  /** Lets time pass. */
  sleep(ms: number): Promise<void>
  /** The outcome of something that may need time to pass. */
  wait<T>(outcome: Promise<T>): Promise<T>
}
