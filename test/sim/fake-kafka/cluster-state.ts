import type { Clock } from '../../../src/core/clock.ts'
import type { Changes } from './changes.ts'
import { ErrorCode, protocolError } from './error-code.ts'
import type { GroupCoordinator } from './group-coordinator.ts'
import type { PartitionLeader } from './partition-leader.ts'
import type { Topics } from './topics.ts'
import type { TransactionCoordinator } from './transaction-coordinator.ts'

/** What the brokers of a cluster share: as if the metadata log and the coordinators' topics took no time. */
export interface ClusterState {
  readonly clock: Clock
  readonly brokers: number
  readonly topics: Topics
  readonly leader: PartitionLeader
  readonly transactions: TransactionCoordinator
  readonly groups: GroupCoordinator
  /** Something was appended somewhere, or a transaction ended. */
  readonly changes: Changes
  readonly waitOnFetch: boolean
}

/**
 * Requests that a node carries out, by Kafka's names, in the shapes of kafkajs's `Broker`. They throw, or reject with,
 * what kafkajs throws for a refusal; some answers wait for others, as a join does.
 */
export type Requests = Record<string, (request: never, clientId: string) => unknown>

/** Requests that Sluice encodes itself, by Kafka's names. */
export type EncodedRequests = Record<string, EncodedHandler>

interface EncodedHandler {
  /** The one version that Sluice sends, and the fake decodes. */
  readonly apiVersion: number
  /** @param bytes the body, after the request header that kafkajs writes */
  readonly answer: (bytes: Buffer) => Buffer | Promise<Buffer>
}

/** What a method of kafkajs's `Broker` is called with. */
export type RequestOf<M extends keyof KafkajsBroker> = KafkajsBroker[M] extends (request: infer R) => unknown
  ? R
  : never

/** Node id of the coordinator of a group or a transactional id. */
export function coordinatorOf(id: string, brokers: number): number {
  let hash = 0
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)!) & 0x7fffffff
  return 1 + (hash % brokers)
}

/** @throws NOT_COORDINATOR where another node has to be asked */
export function requireCoordinator(node: number, id: string, { brokers }: ClusterState): void {
  if (coordinatorOf(id, brokers) !== node) throw protocolError(ErrorCode.NOT_COORDINATOR)
}
