import type { Arrivals } from '../../bench/latency/arrivals.ts'

/** A plan with records of one partition at these times, and no knock. */
export function planOf(times: readonly number[]): Arrivals {
  return {
    count: times.length,
    partitions: 1,
    times: Float64Array.from(times),
    partitionOf: new Uint16Array(times.length),
    order: Int32Array.from(times, (_, i) => i),
    starts: Int32Array.of(0, times.length),
  }
}

/** Times from `from` on, a second's worth `rate`, for `seconds`. */
export function evenly(rate: number, seconds: number, from = 0): number[] {
  return Array.from({ length: rate * seconds }, (_, i) => from + (i * 1000) / rate)
}
