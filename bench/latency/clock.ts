/**
 * Milliseconds of CLOCK_MONOTONIC, with fractions: one clock for all threads and processes of a machine, which nobody
 * sets. `performance.now()` counts from the start of a process or thread, and `timeOrigin`, which would align them, is a
 * reading of the wall clock.
 */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
