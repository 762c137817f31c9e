import { randomBytes } from 'node:crypto'
import type { Kafka } from 'kafkajs'

/** Names that belong to one run of the demo alone. */
export interface DemoNames {
  readonly input: string
  readonly output: string
  readonly deadLetter: string
  /** Of the replicas. */
  readonly group: string
  /** Of the demo's own reader. */
  readonly readerGroup: string
}

/** Of each topic. */
export const PARTITIONS = 4

/** Names that nobody has used before. */
export function freshNames(): DemoNames {
  const run = randomBytes(2).toString('hex')
  const input = `iris-features-${run}`
  return {
    input,
    output: `iris-predictions-${run}`,
    deadLetter: `${input}.dlq`,
    group: `sluice-demo-${run}`,
    readerGroup: `sluice-demo-reader-${run}`,
  }
}

export async function createTopics(client: Kafka, { input, output, deadLetter }: DemoNames): Promise<void> {
  const admin = client.admin()
  await admin.connect()
  try {
    const topics = [input, output, deadLetter].map(topic => ({ topic, numPartitions: PARTITIONS }))
    await admin.createTopics({ topics, waitForLeaders: true })
  } finally {
    await admin.disconnect()
  }
}

/** Removes topics and groups from a broker that stays. Never throws: what the broker refuses to remove harms nobody. */
export async function removeTopics(client: Kafka, names: DemoNames): Promise<void> {
  const admin = client.admin()
  await admin.connect().catch(() => {})
  await Promise.allSettled([
    admin.deleteTopics({ topics: [names.input, names.output, names.deadLetter] }),
    // A group whose member was killed a moment ago is not empty yet; it expires by itself.
    admin.deleteGroups([names.group, names.readerGroup]),
  ])
  await admin.disconnect().catch(() => {})
}
