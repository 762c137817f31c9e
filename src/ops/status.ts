import type { RolloutPlan } from '../core/rollout.ts'
import type { ModelIdentity } from '../core/transaction.ts'
import type { HealthReport } from './health.ts'
import type { Totals } from './metrics.ts'

/** One input partition that this worker owns, as people see it. Offsets are null until they are known. */
export interface PartitionStatus {
  readonly topic: string
  readonly partition: number
  /** State of its task, in the task's own word. */
  readonly state: string
  /** Stable version of what answers, and from which offset on it has, or since which one this task has; null before its first record. */
  readonly answers: { readonly version: string; readonly from: number } | null
  /** Offset to read next. */
  readonly position: number | null
  /** Offset up to which everything is committed. */
  readonly committed: number | null
  /** Records from `committed` to the end of the log. */
  readonly lag: number | null
  /** Records read and not committed. */
  readonly inFlight: number
  /** Whether reading waits because enough is in flight. */
  readonly paused: boolean
}

/** The sessions of one model version. */
interface SessionsStatus {
  readonly size: number
  readonly busy: number
  /** As SESSIONS has them: `cpu*2`. */
  readonly spec: string
}

/** The plan that answers, and the revision of the rollout that it is; 0 where the worker chose the version itself. */
interface RolloutStatus extends RolloutPlan {
  readonly revision: number
}

/** What is one's own of each I/O thread. Plain data, for a message. */
export interface IoStatus {
  readonly totals: Totals
  readonly partitions: readonly PartitionStatus[]
}

/** What a worker says about itself. Plain data for JSON, without secrets. */
export interface WorkerStatus extends IoStatus {
  readonly groupId: string
  readonly inputTopic: string
  readonly outputTopic: string
  readonly deadLetterTopic: string
  readonly guarantee: 'exactly-once' | 'at-least-once'
  /** The stable version; null until it is loaded. */
  readonly model: Omit<ModelIdentity, 'provider'> | null
  /** Which versions answer; null until they are known. */
  readonly rollout: RolloutStatus | null
  readonly sessions: SessionsStatus | null
}

/** Body of `GET /status`. */
export interface StatusBody extends WorkerStatus {
  readonly release: string
  /** Seconds since the process started. */
  readonly uptime: number
  readonly health: HealthReport
}
