/** What a task knows when it could begin a transaction. Times are the clock's milliseconds. */
export interface CommitMoment {
  readonly now: number
  readonly lastCommitAt: number
  /** How long the last transaction took, in milliseconds. */
  readonly lastCommitMs: number
  /** When the first of what it would carry was settled; undefined where that is control records only. */
  readonly settledSince: number | undefined
  /** Records that it would carry. */
  readonly settled: number
  /** Records fetched and not yet committed, these among them. */
  readonly inFlight: number
  /** Whether the log holds more than was fetched. */
  readonly behind: boolean
  /** Whether no more is fetched before something is committed. */
  readonly full: boolean
}

/** A task that is behind lets results gather for so long, if they do not fill half of what it may hold before. */
const GATHER_MS = 100

/**
 * Milliseconds until the next transaction should begin; none are left where it is 0 or less.
 *
 * A transaction costs the same whether it carries ten records or ten thousand, so it pays to wait for results that are
 * on their way. Once half of what is in flight has settled, what is still to come is no more than what waits for it: the
 * transaction begins. Before that a task that keeps up waits no longer than its last transaction took, so that it does not
 * cost more than twice the least latency. A task that is behind has no latency to lose: it lets its results gather until
 * half of what it may hold has settled.
 * @param floorMs least time from the beginning of one transaction to that of the next
 */
export function commitDueIn(moment: CommitMoment, floorMs: number): number {
  const { now, lastCommitAt, lastCommitMs, settledSince = lastCommitAt, settled, inFlight, behind, full } = moment
  const floor = lastCommitAt + floorMs - now
  const mostHaveSettled = 2 * settled >= inFlight
  if (mostHaveSettled && (full || !behind)) return floor
  const patienceMs = behind ? GATHER_MS : Math.min(GATHER_MS, lastCommitMs)
  return Math.max(floor, settledSince + patienceMs - now)
}
