import type { Contender, Guarantee } from '../contender.ts'
import { ContenderProcess } from '../contender-process.ts'
import type { Stage } from '../stage.ts'
import type { Workload } from '../workload.ts'
import { type LatencyOptions, type LatencyResult, measureLatency } from './measure.ts'

/** What a contender is to bear, and how; what is optional as in {@link LatencyOptions}. */
export interface Load
  extends Pick<LatencyOptions, 'partitions' | 'steps' | 'warmUpSeconds' | 'seed' | 'startPatienceMs' | 'patienceMs'> {
  readonly workload: Workload
  readonly guarantee: Guarantee
  readonly commitIntervalMs?: number | undefined
  /** On top of what the contender's command says. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/**
 * Starts a contender in a new group on new topics, measures its latency, and stops it. `cores` of the result has
 * `contender`, and `broker` where the stage has one of its own.
 * @throws Error with its last lines when it ends by itself or not in order; what {@link measureLatency} throws
 */
export async function latencyOf(stage: Stage, contender: Contender, load: Load): Promise<LatencyResult> {
  const { workload, guarantee, commitIntervalMs, partitions } = load
  const groupId = stage.name(`${workload.name}-latency-${contender.name}`)
  const [inputTopic, outputTopic] = [`${groupId}-in`, `${groupId}-out`]
  const topics = [inputTopic, outputTopic, `${inputTopic}.dlq`]
  await stage.createTopics(topics, partitions)
  const folder = await stage.folder(workload)
  const job = { brokers: stage.bootstrap, groupId, inputTopic, outputTopic, workload, guarantee, folder }
  const command = contender.command({ ...job, commitIntervalMs })
  const env = { ...command.env, ...load.env }
  const running = await ContenderProcess.start({ ...command, env }, folder, contender.name)
  try {
    const brokers = stage.bootstrap.split(',')
    const processes = { contender: running.pid, broker: stage.brokerPid }
    const { values } = workload
    const { died } = running
    const result = await measureLatency({ ...load, brokers, inputTopic, outputTopic, values, processes, died })
    const end = await running.stop()
    if (end !== 'exit code 0') throw new Error(`${contender.name} did not stop in order: ${end}.`)
    return result
  } finally {
    await running.stop()
    await stage.deleteTopics(topics)
  }
}
