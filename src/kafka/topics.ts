import { type Admin, Kafka, logLevel } from 'kafkajs'
import { SluiceError } from '../core/errors.ts'
import type { ConnectionOptions } from './cluster.ts'
import { translate } from './protocol-errors.ts'

export interface TopicRequest {
  readonly topic: string
  readonly partitions: number
  /** -1: what the brokers have as their default. */
  readonly replicationFactor: number
  /** Settings of the topic that differ from the brokers' defaults, by their Kafka names. */
  readonly config?: Readonly<Record<string, string>>
}

/**
 * Of the topic that says which versions serve: only the last value of a key counts, so that the log is compacted soon
 * and a replica that starts reads little. The closed segments, the only ones that are compacted, are small and young.
 */
const ROLLOUT_CONFIG = {
  'cleanup.policy': 'compact',
  'segment.bytes': String(16 * 1024 * 1024),
  'segment.ms': String(60 * 60 * 1000),
  'min.cleanable.dirty.ratio': '0.1',
} as const

/** Of the topic that keeps which version answered what: nothing of it is ever deleted, a replay asks years later. */
const TIMELINE_CONFIG = {
  'cleanup.policy': 'delete',
  'retention.ms': '-1',
  'retention.bytes': '-1',
} as const

/** What makes the topic of the rollout; the brokers' replication factor unless given. */
export function rolloutTopicRequest(topic: string, replicationFactor = -1): TopicRequest {
  return { topic, partitions: 1, replicationFactor, config: ROLLOUT_CONFIG }
}

/** The same for the topic of the timeline. */
export function timelineTopicRequest(topic: string, replicationFactor = -1): TopicRequest {
  return { topic, partitions: 1, replicationFactor, config: TIMELINE_CONFIG }
}

/**
 * Creates the topics that do not exist yet; existing ones are left as they are.
 * @returns the names that were created
 * @throws SluiceError `invalid-config` with what the broker refuses about which topic; otherwise as connections fail
 */
export function createTopics(connection: ConnectionOptions, requests: readonly TopicRequest[]): Promise<string[]> {
  return withAdmin(connection, 'creating topics', admin => createMissing(admin, requests))
}

/**
 * Creates a topic with as many partitions as another one, unless it exists.
 * @returns how many, or undefined where it existed
 * @throws SluiceError `topic-missing` without the other topic; otherwise as `createTopics`
 */
export function createTopicLike(
  connection: ConnectionOptions,
  topic: string,
  model: string,
): Promise<number | undefined> {
  return withAdmin(connection, `creating ${topic}`, async admin => {
    if (!(await admin.listTopics()).includes(model)) {
      throw new SluiceError(
        'topic-missing',
        `Topic ${model} does not exist, so ${topic} cannot have as many partitions.`,
      )
    }
    const { topics } = await admin.fetchTopicMetadata({ topics: [model] })
    const partitions = topics[0]!.partitions.length
    const created = await createMissing(admin, [{ topic, partitions, replicationFactor: -1 }])
    return created.length > 0 ? partitions : undefined
  })
}

async function createMissing(admin: Admin, requests: readonly TopicRequest[]): Promise<string[]> {
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
}

async function withAdmin<T>(
  connection: ConnectionOptions,
  doing: string,
  work: (admin: Admin) => Promise<T>,
): Promise<T> {
  const admin = new Kafka({
    brokers: [...connection.brokers],
    clientId: connection.clientId,
    requestTimeout: connection.requestTimeoutMs,
    ...(connection.tls === undefined ? {} : { ssl: connection.tls }),
    ...(connection.sasl === undefined ? {} : { sasl: connection.sasl as never }),
    logLevel: logLevel.NOTHING,
    retry: { retries: 3, initialRetryTime: 100 },
  }).admin()
  try {
    await admin.connect()
    return await work(admin)
  } catch (error) {
    // kafkajs gathers the answers for the single topics under a message that says nothing.
    if (error instanceof Error && 'errors' in error) {
      const answers = (error.errors as { topic?: string; message: string }[]).map(e => `${e.topic}: ${e.message}`)
      throw new SluiceError('invalid-config', `the broker refused to create topics: ${answers.join('; ')}`)
    }
    throw translate(error, doing, 'broker-unreachable')
  } finally {
    await admin.disconnect()
  }
}
