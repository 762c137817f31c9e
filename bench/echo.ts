// The limit that a worker is measured against: the same records consumed and published again in the same kind of
// transactions, by the same client, without decoding, inference and encoding. Values are constant and as large as a
// prediction's; keys, timestamps, headers and partitions are those of a prediction.
//
//   node bench/echo.ts INPUT OUTPUT GROUP VALUE_BYTES      (KAFKA_BROKERS in the environment)

import { systemClock } from '../src/core/clock.ts'
import { silentLog } from '../src/core/log.ts'
import { type FetchedRecords, offsetOf } from '../src/core/record-batch.ts'
import { Signal } from '../src/core/signal.ts'
import type { FetchTarget } from '../src/core/transaction.ts'
import { clusterTools } from '../src/kafka/cluster.ts'
import { Fetcher } from '../src/kafka/fetcher.ts'
import { KafkaLinks } from '../src/kafka/links.ts'
import { Membership } from '../src/kafka/membership.ts'
import { KafkaOutputWriter } from '../src/kafka/output-writer.ts'
import type { PartitionLog } from '../src/kafka/partition-log.ts'
import { StartPolicy } from '../src/kafka/start-policy.ts'
import { TransactionalCommitter } from '../src/kafka/transactional-committer.ts'
import { TransactionalProducer } from '../src/kafka/transactional-producer.ts'

const [inputTopic, outputTopic, groupId, valueBytes] = process.argv.slice(2) as [string, string, string, string]
const MAX_IN_FLIGHT = 16_384
const MAX_BATCH_BYTES = 900_000

const clock = systemClock
const value = Buffer.alloc(Number(valueBytes), 0x2a)
const model = { name: 'echo', version: '1', sha256: '0'.repeat(64), provider: 'cpu' }

const brokers = process.env.KAFKA_BROKERS!.split(',')
const connection = { brokers, clientId: 'echo', requestTimeoutMs: 10_000, metadataMaxAgeMs: 60_000 }
const links = new KafkaLinks(clusterTools(connection, silentLog), groupId, clock)
await links.connect([inputTopic, outputTopic], true)

const logs = new Map<number, PartitionLog>()
const fetcher = new Fetcher({
  cluster: links.data.cluster,
  topic: inputTopic,
  logs,
  clock,
  maxWaitMs: 100,
  maxPartitionBytes: 1 << 20,
  onCondition: (_nodeId, error) => fail(error),
})

const membership = new Membership({
  tools: links.tools,
  groupId,
  topic: inputTopic,
  sessionTimeoutMs: 10_000,
  rebalanceTimeoutMs: 30_000,
  clock,
  log: silentLog,
  onAssigned: ({ partitions }) => {
    for (const partition of partitions) void echo(partition)
  },
  onCondition: fail,
})
membership.start()
process.on('SIGTERM', () => process.exit(0))

/** Group commit, as a partition task does it: what was written while a transaction ran goes into the next one. */
async function echo(partition: number): Promise<void> {
  const committer = createCommitter(partition)
  const wake = new Signal()
  let { offset: position } = await committer.initialise()
  let inFlight = 0
  const target: FetchTarget = {
    topic: inputTopic,
    partition,
    get position() {
      return inFlight < MAX_IN_FLIGHT ? position : undefined
    },
    accept({ batches, nextOffset }: FetchedRecords) {
      for (const batch of batches) {
        for (let i = 0; i < batch.count; i++) committer.output.prediction(batch, i, value, value.length, model)
        inFlight += batch.count
        position = offsetOf(batch, batch.count - 1) + 1
      }
      position = nextOffset
      wake.notify()
    },
    fail,
  }
  fetcher.add(target)
  for (;;) {
    await wake.wait()
    const records = inFlight
    await committer.commit(position)
    inFlight -= records
    if (inFlight > 0) wake.notify()
    fetcher.wake()
  }
}

function createCommitter(partition: number): TransactionalCommitter {
  const link = links.producerLink(partition)
  const transactionalId = `${groupId}.${inputTopic}.${partition}`
  const shared = { ...link, groupId, topic: inputTopic, partition, requestTimeoutMs: 10_000, clock }
  const count = links.partitions(outputTopic)
  const output = new KafkaOutputWriter({
    outputTopic,
    deadLetterTopic: outputTopic,
    partitionCounts: () => ({ input: links.partitions(inputTopic), output: count, deadLetter: count }),
    clock,
    maxBatchBytes: MAX_BATCH_BYTES,
  })
  const generation = () => membership.current
  const { cluster } = links.data
  const settings = { startFrom: 'earliest', onOffsetLoss: 'stop' } as const
  const start = new StartPolicy({ ...shared, ...settings, cluster, generation, logs, log: silentLog })
  const coordinator = links.transactionCoordinator(link, transactionalId)
  const producer = new TransactionalProducer({ ...shared, transactionalId, transactionTimeoutMs: 30_000, coordinator })
  const refresh = () => cluster.refreshMetadata().catch(() => {})
  return new TransactionalCommitter({ topic: inputTopic, partition, producer, output, start, refresh })
}

function fail(error: Error | undefined): void {
  if (error === undefined) return
  console.error(error)
  process.exit(1)
}
