import { Kafka, logLevel } from 'kafkajs'
import type { ConnectionOptions } from './cluster.ts'

export interface TopicRequest {
  readonly topic: string
  readonly partitions: number
  readonly replicationFactor: number
  /** Settings of the topic other than the broker's defaults. */
  readonly config?: Readonly<Record<string, string>>
}

/**
 * Creates the topics that do not exist yet; existing ones are left as they are.
 * @returns the names that were created
 */
export async function createTopics(
  connection: ConnectionOptions,
  requests: readonly TopicRequest[],
): Promise<string[]> {
  const admin = new Kafka({
    brokers: [...connection.brokers],
    clientId: connection.clientId,
    requestTimeout: connection.requestTimeoutMs,
    ...(connection.tls === undefined ? {} : { ssl: connection.tls }),
    ...(connection.sasl === undefined ? {} : { sasl: connection.sasl as never }),
    logLevel: logLevel.NOTHING,
    retry: { retries: 3, initialRetryTime: 100 },
  }).admin()
  await admin.connect()
  try {
    const existing = new Set(await admin.listTopics())
    const missing = requests.filter(({ topic }) => !existing.has(topic))
    if (missing.length === 0) return []
    await admin.createTopics({
      // The controller has made them when it answers. kafkajs would go on to ask another broker, and takes one that has
      // not heard of them yet for a failure.
      waitForLeaders: false,
      topics: missing.map(({ topic, partitions, replicationFactor, config = {} }) => ({
        topic,
        numPartitions: partitions,
        replicationFactor,
        configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
      })),
    })
    return missing.map(({ topic }) => topic)
  } finally {
    await admin.disconnect()
  }
}
