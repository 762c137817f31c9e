import type { Contender, Job } from '../contender.ts'
import { PLANS } from '../workload-plans.ts'

/** A worker in another language, which has to be built before its command can be started. */
export interface Peer extends Contender {
  /** Whether what `prepare` makes of these sources is there. Downloads and starts nothing. */
  isBuilt(): boolean
  /**
   * Builds it unless that was done before; `report` hears one line for each step that takes long.
   * @throws Error that says what to install where a tool is missing, and with the tool's last words where it fails
   */
  prepare(report: (line: string) => void): Promise<void>
}

/** Java and librdkafka have no default of their own; this is what Kafka Streams does in its exactly-once mode. */
const COMMIT_INTERVAL_MS = 100

/** Bytes of a batch's features, at most, where no number of rows is set: as many as a slot of Sluice holds. */
const BATCH_BYTES = 64 << 20
const MAX_BATCH = 4096

/**
 * What both peers are told: the variables of README.md.
 * @throws Error for a job that is to be done at least once: that is not what they are here for
 */
export function peerEnvironment(job: Job): Readonly<Record<string, string>> {
  const { workload, commitIntervalMs = COMMIT_INTERVAL_MS } = job
  if (job.guarantee !== 'exactly-once') throw new Error(`The peers work exactly once only, not ${job.guarantee}.`)
  return {
    KAFKA_BROKERS: job.brokers,
    GROUP_ID: job.groupId,
    INPUT_TOPIC: job.inputTopic,
    OUTPUT_TOPIC: job.outputTopic,
    DEAD_LETTER_TOPIC: `${job.inputTopic}.dlq`,
    MODEL_FILE: workload.modelFile,
    MODEL_NAME: workload.modelName,
    MODEL_VERSION: workload.modelVersion,
    MODEL_INPUT: workload.modelInput,
    MODEL_OUTPUT: workload.modelOutputs.join(','),
    INPUT_FORMAT: workload.layout,
    FEATURES: String(workload.features),
    INPUT_FIELD: workload.field,
    COMMIT_INTERVAL_MS: String(commitIntervalMs),
    MAX_BATCH: PLANS[workload.name].settings.MAX_BATCH_SIZE ?? String(maxBatch(workload.features)),
  }
}

function maxBatch(features: number): number {
  return Math.max(1, Math.min(MAX_BATCH, Math.floor(BATCH_BYTES / (Float32Array.BYTES_PER_ELEMENT * features))))
}
