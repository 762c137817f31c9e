import '../src/kafka/kafkajs-fixes.ts'
import { COORDINATOR_PARTITIONS } from './broker-config.ts'

/**
 * Asks every group coordinator and every transaction coordinator of the broker one question each; an open port comes
 * seconds before they answer. Throws when one does not.
 */
export async function probeCoordinators(bootstrap: string): Promise<void> {
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
  const producers = probeIds().map(id =>
    kafka.producer({ transactionalId: id, idempotent: true, maxInFlightRequests: 1 }),
  )
  try {
    await admin.connect()
    // One by one: a failure then leaves no other request that nobody waits for. connect() does InitProducerId.
    for (const groupId of probeIds()) await admin.fetchOffsets({ groupId })
    for (const producer of producers) await producer.connect()
  } finally {
    await Promise.allSettled([admin, ...producers].map(client => client.disconnect()))
  }
}

// A coordinator is the owner of partition hash(id) mod partitions, with Java's String.hashCode, where the last
// character counts once: ids that differ by one there lie on partitions that differ by one, so these reach all of them.
function probeIds(): string[] {
  return Array.from({ length: COORDINATOR_PARTITIONS }, (_, i) => `sluice-dev-probe-${i}`)
}
