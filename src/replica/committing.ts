import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import type { Log } from '../core/log.ts'
import type { ReplayRange } from '../core/replay.ts'
import type { Committer } from '../core/transaction.ts'
import { AtLeastOnceCommitter } from '../kafka/at-least-once-committer.ts'
import type { KafkaLinks } from '../kafka/links.ts'
import type { Assignment } from '../kafka/membership.ts'
import { KafkaOutputWriter } from '../kafka/output-writer.ts'
import type { PartitionLog } from '../kafka/partition-log.ts'
import { StartPolicy } from '../kafka/start-policy.ts'
import { TransactionalCommitter } from '../kafka/transactional-committer.ts'
import { TransactionalProducer } from '../kafka/transactional-producer.ts'

type CommitSettings = Settings & {
  readonly inputTopic: string
  readonly outputTopic: string
  readonly deadLetterTopic: string
}

/** Where the predictions of shadows go. */
export function shadowTopicOf(outputTopic: string): string {
  return `${outputTopic}.shadow`
}

/** What a committer needs of its replica. */
export interface CommitterTools {
  readonly links: KafkaLinks
  readonly clock: Clock
  readonly log: Log
  /** The generation that this member is in when it is asked. */
  readonly generation: () => Assignment | undefined
  /** Ends the membership in whose name a commit got no answer. */
  readonly renounce: (memberId: string) => Promise<void>
  /** The logs that the replica reads, by partition; shared with its fetcher. */
  readonly logs: Map<number, PartitionLog>
  readonly replay?: ReplayPart | undefined
}

/** What of a topic a replay reads, as far as nobody has fixed it yet. */
export interface ReplayPart {
  readonly id: string
  /** By partition. */
  readonly ranges: readonly ReplayRange[]
  /** By partition: nobody knows who answered records from there on. Left out where nobody has to. */
  readonly knownTo?: readonly number[] | undefined
}

/** A committer for one assignment of a partition, with a producer of its own, in the guarantee that the settings name. */
export function createCommitter(settings: CommitSettings, partition: number, tools: CommitterTools): Committer {
  const { links, clock, log, generation, renounce, logs, replay } = tools
  const { groupId, inputTopic: topic, requestTimeoutMs, startFrom, onOffsetLoss } = settings
  const { cluster, groupCoordinator } = links.producerLink(partition)
  const shared = { groupId, topic, partition, groupCoordinator, requestTimeoutMs, clock }
  const output = createOutput(settings, links, clock, replay?.id)
  const asked = { startFrom, onOffsetLoss, range: replay?.ranges[partition], knownTo: replay?.knownTo?.[partition] }
  const policy = { ...shared, ...asked, cluster: links.data.cluster, generation, logs, log }
  if (settings.processingGuarantee === 'at-least-once') {
    return new AtLeastOnceCommitter({ ...shared, cluster, output, start: new StartPolicy(policy) })
  }
  const transactionalId = `${groupId}.${topic}.${partition}`
  const { transactionTimeoutMs } = settings
  const coordinator = links.transactionCoordinator({ cluster, groupCoordinator }, transactionalId)
  const producer = new TransactionalProducer({ ...shared, cluster, transactionalId, transactionTimeoutMs, coordinator })
  const start = new StartPolicy({ ...policy, renounce, usedBefore: () => producer.usedBefore() })
  const refresh = () => links.data.cluster.refreshMetadata().catch(() => {})
  return new TransactionalCommitter({ topic, partition, producer, output, start, refresh })
}

function createOutput(
  settings: CommitSettings,
  links: KafkaLinks,
  clock: Clock,
  replayId: string | undefined,
): KafkaOutputWriter {
  const { inputTopic, outputTopic, deadLetterTopic, timelineTopic, maxOutputBytes } = settings
  const shadowTopic = shadowTopicOf(outputTopic)
  const partitionCounts = () => ({
    input: links.partitions(inputTopic),
    output: links.partitions(outputTopic),
    deadLetter: links.partitions(deadLetterTopic),
    shadow: links.partitions(shadowTopic),
  })
  const topics = { outputTopic, deadLetterTopic, shadowTopic, timelineTopic }
  return new KafkaOutputWriter({ ...topics, partitionCounts, clock, maxBatchBytes: maxOutputBytes, replayId })
}
