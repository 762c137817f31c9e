import type { ConnectionOptions } from '../kafka/cluster.ts'
import type { WorkerSettings } from './replica.ts'

/**
 * The settings of one of several I/O threads. What is a limit of the worker is divided among its threads here, and nowhere
 * else; each gets at least the least that the setting allows. Limits of a partition stay what they are, because a
 * partition is read by one thread.
 */
export function settingsOfThread(settings: WorkerSettings): WorkerSettings {
  const { ioThreads, maxInFlightRecordsTotal, maxInFlightBytesTotal, maxConcurrentCommits } = settings
  return {
    ...settings,
    maxInFlightRecordsTotal: Math.ceil(maxInFlightRecordsTotal / ioThreads),
    maxInFlightBytesTotal: Math.max(1024, Math.ceil(maxInFlightBytesTotal / ioThreads)),
    maxConcurrentCommits: Math.ceil(maxConcurrentCommits / ioThreads),
  }
}

/** Each thread is a client of its own, so that the logs and quotas of the brokers tell them apart: `sluice-2`. */
export function connectionOfThread(connection: ConnectionOptions, thread: number): ConnectionOptions {
  return { ...connection, clientId: `${connection.clientId}-${thread}` }
}
