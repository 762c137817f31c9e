/** An answer's times, in milliseconds since the epoch. */
export interface Timing {
  /** The record's timestamp: when it was handed to its producer. */
  readonly timestamp: number
  /** When the reader had the answer. */
  readonly arrivedAt: number
}

/**
 * The value below or at which `share` (0 to 1) of the values lie: the nearest-rank percentile. Undefined of nothing.
 */
export function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
}

/** Milliseconds from each record's timestamp until the reader had its answer. */
export function latencies(timings: readonly Timing[]): number[] {
  return timings.map(({ timestamp, arrivedAt }) => arrivedAt - timestamp)
}

/** The most answers that arrived within any one second. */
export function busiestSecond(timings: readonly Timing[]): number {
  const arrivals = Float64Array.from(timings, ({ arrivedAt }) => arrivedAt).sort()
  let most = 0
  for (let first = 0, last = 0; last < arrivals.length; last++) {
    while (arrivals[last]! - arrivals[first]! >= 1_000) first++
    most = Math.max(most, last - first + 1)
  }
  return most
}

/**
 * How long partitions stood still after their owner died at `diedAt`: until the reader had the first answer to a record
 * that is younger than that, on the partition where this took longest. Undefined if one of them has no such answer.
 */
export function longestPause(
  answers: readonly (Timing & { readonly partition: number })[],
  partitions: readonly number[],
  diedAt: number,
): number | undefined {
  const resumed = new Map<number, number>()
  for (const { partition, timestamp, arrivedAt } of answers) {
    if (timestamp > diedAt) resumed.set(partition, Math.min(arrivedAt, resumed.get(partition) ?? arrivedAt))
  }
  const pauses = partitions.map(partition => resumed.get(partition)).filter(at => at !== undefined)
  return pauses.length < partitions.length || pauses.length === 0 ? undefined : Math.max(...pauses) - diedAt
}
