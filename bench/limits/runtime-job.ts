import type { WorkloadName } from '../workload.ts'

/** Batches of one size. */
export interface BatchSize {
  readonly rows: number
  readonly runs: number
}

/** What `node bench/limits/runtime.ts` is to do. */
export interface RuntimeJob {
  readonly workload: WorkloadName
  /** Batch sizes, each as often in proportion as it has runs. */
  readonly sizes: readonly BatchSize[]
  readonly sessions: number
  readonly seconds: number
}

/** What it prints. */
export interface RuntimeResult {
  readonly rows: number
  readonly seconds: number
  readonly cpuSeconds: number | undefined
  /** The most that was resident, in MiB. */
  readonly rssMiB: number | undefined
}

/** What each of its threads is given. */
export interface ThreadJob {
  readonly job: RuntimeJob
  readonly index: number
  /** Rows done, by thread. */
  readonly counts: BigInt64Array<SharedArrayBuffer>
  /** Not 0 when the threads are to end. */
  readonly stop: Int32Array<SharedArrayBuffer>
}
