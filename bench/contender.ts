import type { Workload } from './workload.ts'

/** How a contender commits: predictions with their offsets in one transaction, or offsets after predictions. */
export type Guarantee = 'exactly-once' | 'at-least-once'

/**
 * What a contender is to do: read `inputTopic` in the group `groupId` from its earliest offset, and publish a prediction
 * for each record to the same partition of `outputTopic`, until SIGTERM; then it exits with code 0.
 */
export interface Job {
  /** `host:port` of a broker. */
  readonly brokers: string
  readonly groupId: string
  readonly inputTopic: string
  readonly outputTopic: string
  readonly workload: Workload
  readonly guarantee: Guarantee
  /** Shortest time from one transaction of a partition to the next; undefined leaves it to the contender. */
  readonly commitIntervalMs?: number | undefined
  /** A folder that is thrown away after the run; `schemas/` in it has the schemas of the workload, and an `ids.json`. */
  readonly folder: string
}

/** How a process is started. */
export interface Command {
  readonly file: string
  readonly args: readonly string[]
  /** On top of the environment of the bench. */
  readonly env: Readonly<Record<string, string>>
}

/** A program that is measured: the worker, the echo that is its limit, a peer. */
export interface Contender {
  /** In tables and in the names of topics: letters, digits and hyphens. */
  readonly name: string
  command(job: Job): Command
}
