import '../src/kafka/kafkajs-fixes.ts'
import type { Admin, Kafka } from 'kafkajs'
import { COORDINATOR_PARTITIONS } from './broker-config.ts'

/**
 * Asks every group coordinator and every transaction coordinator one question each; an open port comes seconds before
 * they answer. Throws when one does not.
 */
export async function probeCoordinators(bootstrap: string): Promise<void> {
  await withClient(bootstrap, async (kafka, admin) => {
    const producers = probeIds(bootstrap).map(id =>
      kafka.producer({ transactionalId: id, idempotent: true, maxInFlightRequests: 1 }),
    )
    try {
      // One by one: a failure then leaves no other request that nobody waits for.
      for (const groupId of probeIds(bootstrap)) await admin.fetchOffsets({ groupId })
      for (const producer of producers) {
        await producer.connect()
        // This does InitProducerId; connect() asks any broker for an id without a transaction. Empty, it ends unsaid.
        const transaction = await producer.transaction()
        await transaction.abort()
      }
    } finally {
      await Promise.allSettled(producers.map(producer => producer.disconnect()))
    }
  })
}

/** Throws unless the broker at `bootstrap` has joined its cluster, in its own view, as node `nodeId`. */
export async function probeMembership(bootstrap: string, nodeId: number): Promise<void> {
  await withClient(bootstrap, async (_, admin) => {
    const { brokers } = await admin.describeCluster()
    if (!brokers.some(broker => broker.nodeId === nodeId)) throw new Error(`node ${nodeId} has not joined the cluster`)
  })
}

/**
 * The partitions that lack a leader or a replica in sync, in the view of the broker at `bootstrap`: `topic/3 (leader 2,
 * in sync 1,2 of 1,2,3)`. Empty when everything is in sync. Throws when the broker does not answer.
 */
export async function underReplicated(bootstrap: string): Promise<string[]> {
  return withClient(bootstrap, async (_, admin) => {
    const { topics } = await admin.fetchTopicMetadata()
    return topics.flatMap(({ name, partitions }) =>
      partitions
        .filter(({ leader, isr, replicas }) => leader < 0 || isr.length < replicas.length)
        .map(({ partitionId, leader, isr, replicas }) => {
          return `${name}/${partitionId} (leader ${leader}, in sync ${isr} of ${replicas})`
        }),
    )
  })
}

async function withClient<T>(bootstrap: string, work: (kafka: Kafka, admin: Admin) => Promise<T>): Promise<T> {
  // Not imported at the top: the fix above must come before kafkajs is loaded.
  const { Kafka, logLevel } = await import('kafkajs')
  const kafka = new Kafka({
    clientId: 'sluice-dev-probe',
    brokers: [bootstrap],
    connectionTimeout: 1_000,
    requestTimeout: 5_000,
    logLevel: logLevel.NOTHING,
    // The fewest that a transactional producer is allowed; the caller is who tries again.
    retry: { retries: 1, initialRetryTime: 100 },
  })
  const admin = kafka.admin()
  try {
    await admin.connect()
    return await work(kafka, admin)
  } finally {
    await admin.disconnect().catch(() => {})
  }
}

// A coordinator is the owner of partition hash(id) mod partitions, with Java's String.hashCode, where the last
// character counts once: ids that differ by one there lie on partitions that differ by one, so these reach all of them.
// The address makes them the asker's own: nodes of a cluster that are probed at once do not fence each other.
function probeIds(bootstrap: string): string[] {
  return Array.from({ length: COORDINATOR_PARTITIONS }, (_, i) => `sluice-dev-probe-${bootstrap}-${i}`)
}
