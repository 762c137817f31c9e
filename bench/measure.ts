import { auditTopics } from '../src/auditing/auditing.ts'
import type { Sample } from '../test/support/metrics.ts'
import type { Contender, Guarantee } from './contender.ts'
import { ContenderProcess } from './contender-process.ts'
import { type Throughput, throughputOf, watch } from './progress.ts'
import type { Input, Stage } from './stage.ts'
import { cpuSeconds, peakRssMiB } from './usage.ts'

/** What became of the records of a run: the counts of the audit, all of them 0 where nothing is wrong. */
export interface Counts {
  readonly inputs: number
  readonly predictions: number
  readonly lost: number
  readonly doubled: number
  /** Whatever else the audit found. */
  readonly otherFaults: number
}

/** One run of one contender. */
export interface Run extends Throughput {
  /** The most that was resident. */
  readonly rssMiB: number | undefined
  /**
   * Records of a partition in a transaction, on average: all that was committed, over the markers in the output. Undefined
   * where nothing was published in transactions.
   */
  readonly perTransaction: number | undefined
  readonly counts?: Counts | undefined
}

export interface MeasureOptions {
  readonly guarantee?: Guarantee
  readonly commitIntervalMs?: number | undefined
  /** The longest that is measured; a run also ends with its input. */
  readonly seconds: number
  /** Whether to count what the run has published. */
  readonly audit?: boolean
  /** Asked for the metrics of a Sluice worker at the end of the measurement. */
  readonly onMetrics?: ((samples: readonly Sample[]) => void) | undefined
}

/**
 * Lets one contender go through an input that is full already, in a new group and into a new topic, and measures it from
 * its first commit on.
 * @throws Error with its last lines when it ends by itself, commits nothing, or has lost or doubled a record
 */
export async function measure(stage: Stage, contender: Contender, input: Input, options: MeasureOptions): Promise<Run> {
  const { workload, topic, partitions, records } = input
  const { guarantee = 'exactly-once', commitIntervalMs, seconds, audit = false, onMetrics } = options
  const groupId = stage.name(`${workload.name}-${contender.name}`)
  const outputTopic = `${groupId}-out`
  await stage.createTopics([outputTopic], partitions)
  const folder = await stage.folder(workload)
  const job = { brokers: stage.bootstrap, groupId, inputTopic: topic, outputTopic, workload, guarantee, folder }
  const command = contender.command({ ...job, commitIntervalMs })
  const running = await ContenderProcess.start(command, folder, `${contender.name} on ${workload.name}`)
  const look = async () => ({
    done: await stage.done(groupId, topic),
    cpu: cpuSeconds(running.pid),
    brokerCpu: cpuSeconds(stage.brokerPid),
  })
  try {
    const points = await watch({ look, seconds, records, died: running.died })
    const rssMiB = peakRssMiB(running.pid)
    if (onMetrics !== undefined) onMetrics(await running.metrics())
    const end = await running.stop()
    if (end !== 'exit code 0') throw new Error(`${contender.name} did not stop in order: ${end}.`)
    const counts = audit ? await count(stage, groupId, input, outputTopic) : undefined
    return {
      ...throughputOf(points),
      rssMiB,
      perTransaction: await perTransaction(stage, groupId, topic, outputTopic),
      counts,
    }
  } finally {
    await running.stop()
    await stage.deleteTopics([outputTopic])
  }
}

async function perTransaction(stage: Stage, groupId: string, topic: string, outputTopic: string) {
  const done = await stage.done(groupId, topic)
  const markers = (await stage.taken(outputTopic)) - done
  return markers > 0 ? done / markers : undefined
}

/** Compares all that the group has committed with all that it has published. */
async function count(stage: Stage, groupId: string, input: Input, outputTopic: string): Promise<Counts> {
  const committed = await stage.committed(groupId, input.topic)
  // A partition that the group has not begun with counts, too, with nothing.
  const partitions = Array.from({ length: input.partitions }, (_, partition) => partition)
  const offsets = new Map(partitions.map(partition => [partition, committed.get(partition) ?? 0]))
  const verdict = await auditTopics({
    brokers: [stage.bootstrap],
    groupId,
    inputTopic: input.topic,
    outputTopic,
    deadLetterTopic: `${input.topic}.dlq`,
    to: { kind: 'offsets', offsets },
  })
  const { lost, doubled, ...others } = verdict.faults
  const otherFaults = Object.values(others).reduce((sum, fault) => sum + fault.count, 0) + verdict.outside
  const counts = { lost: lost.count, doubled: doubled.count, otherFaults }
  const { inputs, predictions } = verdict
  if (predictions === inputs && counts.lost + counts.doubled + otherFaults === 0)
    return { inputs, predictions, ...counts }
  throw new Error(`${groupId}: ${predictions} predictions of ${inputs} records; ${JSON.stringify(counts)}`)
}
