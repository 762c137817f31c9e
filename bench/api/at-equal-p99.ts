import type { LoadResult } from './load.ts'

/**
 * The most requests a second of which the p99 is at most `p99Ms`, from what was measured at several numbers of connections;
 * undefined where none was that fast.
 */
export function throughputAt(results: readonly LoadResult[], p99Ms: number): number | undefined {
  const within = results.filter(result => result.p99Ms <= p99Ms)
  return within.length === 0 ? undefined : Math.max(...within.map(result => result.perSecond))
}

/**
 * How many times the throughput of `peer` ours is at equal p99: the bound is the peer's p99 where its throughput is best, and
 * ours must hold it.
 */
export function ratioAtEqualP99(ours: readonly LoadResult[], peer: readonly LoadResult[]) {
  const best = peer.reduce((most, result) => (result.perSecond > most.perSecond ? result : most))
  const perSecond = throughputAt(ours, best.p99Ms)
  return { p99Ms: best.p99Ms, peer: best.perSecond, ours: perSecond ?? 0, ratio: (perSecond ?? 0) / best.perSecond }
}
