import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import '../../src/kafka/kafkajs-fixes.ts'

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'

/** Brokers of the tests, from KAFKA_BROKERS. Throws, saying how to get some, where it is not set. */
export function brokers(): string[] {
  const list = process.env.KAFKA_BROKERS
  if (!list) throw new Error('KAFKA_BROKERS is not set: run the tests with "npm test", which starts a broker.')
  return list.split(',')
}

/** A client of the tests' broker that says nothing and retries for a few seconds. */
export function kafka(): Kafka {
  return new Kafka({
    clientId: 'sluice-test',
    brokers: brokers(),
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 20, maxRetryTime: 500, retries: 10 },
  })
}

/** `name` with a random end: all test files share one broker, which may have seen other runs. */
export function uniqueName(name: string): string {
  return `${name}-${randomBytes(4).toString('hex')}`
}

/** Does `work` with an admin client that is connected before and disconnected after it. */
export async function withAdmin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafka().admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

/** Creates topics, partitions by name, and waits until the broker that we ask knows a leader for every partition. */
export async function createTopics(partitionsByTopic: Readonly<Record<string, number>>): Promise<void> {
  const topics = Object.entries(partitionsByTopic).map(([topic, numPartitions]) => ({ topic, numPartitions }))
  const names = topics.map(({ topic }) => topic)
  await withAdmin(async admin => {
    // kafkajs's own waiting takes a topic that the broker has not heard of yet for an error.
    await admin.createTopics({ topics, waitForLeaders: false })
    const led = async () => {
      const found = await admin.fetchTopicMetadata({ topics: names }).catch(() => ({ topics: [] }))
      return (
        found.topics.length === names.length &&
        found.topics.every(({ name, partitions }) => {
          return partitions.length === partitionsByTopic[name] && partitions.every(({ leader }) => leader >= 0)
        })
      )
    }
    await until(led, () => `the broker does not lead all of ${names.join(', ')}`)
  })
}

/** The group's offset for each partition of a topic, in their order; -1 where it has none. */
export async function committedOffsets(groupId: string, topic: string): Promise<number[]> {
  return withAdmin(admin => committedOffsetsBy(admin, groupId, topic))
}

async function committedOffsetsBy(admin: Admin, groupId: string, topic: string): Promise<number[]> {
  const [answer] = await admin.fetchOffsets({ groupId, topics: [topic] })
  const byPartition = [...(answer?.partitions ?? [])].sort((a, b) => a.partition - b.partition)
  return byPartition.map(({ offset }) => Number(offset))
}

/** Where each partition of a topic ends, in their order: the offset after its last record, control records included. */
export async function endOffsets(topic: string): Promise<number[]> {
  let ends: number[] = []
  let refusal: unknown
  const answered = async () => {
    try {
      const partitions = await withAdmin(admin => admin.fetchTopicOffsets(topic))
      ends = partitions.sort((a, b) => a.partition - b.partition).map(({ high }) => Number(high))
      return true
    } catch (error) {
      // A partition that is new may have a leader that does not know of it yet.
      if ((error as { retriable?: boolean }).retriable !== true) throw error
      refusal = error
      return false
    }
  }
  await until(answered, () => `the broker does not say where ${topic} ends: ${refusal}`)
  return ends
}

export interface CatchUpOptions {
  readonly timeoutMs?: number | undefined
  readonly giveUp?: () => boolean
}

/**
 * Waits until the group's offset is the end of every partition of the topic as it is when this is called.
 * @throws Error with both after `timeoutMs`, or when `giveUp` holds
 */
export async function caughtUp(
  groupId: string,
  topic: string,
  { timeoutMs = 60_000, giveUp = () => false }: CatchUpOptions = {},
): Promise<void> {
  const ends = await endOffsets(topic)
  await withAdmin(async admin => {
    let committed: number[] = []
    const reached = async () => {
      committed = await committedOffsetsBy(admin, groupId, topic)
      const all = ends.every((end, partition) => committed[partition] === end)
      if (!all && giveUp()) throw new Error(`Given up: ${complaint()}.`)
      return all
    }
    const complaint = () =>
      `group ${groupId} is at ${committed.join(', ')} of ${topic}, which ends at ${ends.join(', ')}`
    await until(reached, complaint, timeoutMs)
  })
}

/** Looks again and again until `holds`: for what sends no event when it comes about. Throws `complaint` when time is up. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  complaint: () => string,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`After ${timeoutMs / 1000} s: ${complaint()}.`)
    await delay(20)
  }
}
