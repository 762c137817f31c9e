// The limit that a worker is measured against: the same records consumed, and published again in the same transactions, by
// the same client, without decoding, inference and encoding. Values are constant and as large as a prediction; keys,
// timestamps, headers and partitions are those of a prediction. With ANSWER_BYTES=0 nothing is published, and what remains
// is the speed of fetching.
//
//   node bench/limits/echo.ts      settings of `sluice worker` in the environment, and ANSWER_BYTES, ANSWER_MODEL

import { loadSettings } from '../../src/config/load.ts'
import { connectionOptions } from '../../src/connection.ts'
import { systemClock as clock } from '../../src/core/clock.ts'
import { silentLog as log } from '../../src/core/log.ts'
import type { ModelIdentity } from '../../src/core/transaction.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'
import { Fetcher } from '../../src/kafka/fetcher.ts'
import { KafkaLinks } from '../../src/kafka/links.ts'
import { Membership } from '../../src/kafka/membership.ts'
import type { PartitionLog } from '../../src/kafka/partition-log.ts'
import { CommitTurns } from '../../src/pipeline/commit-turns.ts'
import { InFlightBudget } from '../../src/pipeline/in-flight.ts'
import { createCommitter } from '../../src/replica/committing.ts'
import { EchoTask } from './echo-task.ts'

const { settings } = loadSettings({ env: process.env, required: ['inputTopic', 'outputTopic', 'deadLetterTopic'] })
const { inputTopic: topic, outputTopic, deadLetterTopic, groupId } = settings
const bytes = Number(process.env.ANSWER_BYTES)
const model = JSON.parse(process.env.ANSWER_MODEL ?? '{}') as ModelIdentity
const answer = bytes === 0 ? undefined : { value: Buffer.alloc(bytes, 0x2a), model }

const links = new KafkaLinks(clusterTools(connectionOptions(settings), log), groupId, clock)
await links.connect([topic, outputTopic, deadLetterTopic], settings.processingGuarantee === 'exactly-once')

const logs = new Map<number, PartitionLog>()
const tasks = new Map<number, { readonly task: EchoTask; readonly end: Promise<void> }>()
const turns = new CommitTurns(settings.maxConcurrentCommits, clock)
const inFlight = new InFlightBudget(
  { records: settings.maxInFlightRecordsTotal, bytes: settings.maxInFlightBytesTotal },
  { records: settings.maxInFlightRecords, bytes: settings.maxInFlightBytes },
)
const fetcher = new Fetcher({
  cluster: links.data.cluster,
  topic,
  logs,
  clock,
  maxWaitMs: settings.fetchMaxWaitMs,
  maxPartitionBytes: settings.fetchMaxBytes,
  onCondition: (_nodeId, error) => fail(error),
})
const membership = new Membership({
  tools: links.tools,
  groupId,
  topic,
  sessionTimeoutMs: settings.sessionTimeoutMs,
  rebalanceTimeoutMs: settings.rebalanceTimeoutMs,
  clock,
  log,
  onAssigned: ({ partitions }) => {
    for (const partition of partitions) if (!tasks.has(partition)) begin(partition)
  },
  onCondition: fail,
})
membership.start()
process.once('SIGTERM', () => void drain())

/** One echo has all partitions, and keeps them. */
function begin(partition: number): void {
  const generation = () => membership.current
  const renounce = (memberId: string) => membership.renounce(memberId)
  const task = new EchoTask({
    topic,
    partition,
    committer: createCommitter(settings, partition, { links, clock, log, generation, renounce, logs }),
    clock,
    inFlight,
    turns,
    commitIntervalMs: settings.commitIntervalMs,
    answer,
    onWanted: () => fetcher.wake(),
    onFailed: fail,
  })
  fetcher.add(task)
  tasks.set(partition, { task, end: task.serve().catch(fail) })
}

async function drain(): Promise<void> {
  for (const { task } of tasks.values()) task.drain()
  await Promise.all([...tasks.values()].map(({ end }) => end))
  process.exit(0)
}

function fail(error: unknown): void {
  if (error === undefined) return
  console.error(error)
  process.exit(1)
}
