import { messageOf, type RecordFault } from '../core/errors.ts'
import type { RunTimings } from '../core/inference.ts'

/** Runs rows [first, first + rows) of one slot. */
export type RunRows = (first: number, rows: number) => Promise<RunTimings>

export interface IsolatedRun {
  /** Of the first run that succeeded, with the computing time of all; undefined when every row is bad. */
  readonly timings: RunTimings | undefined
  /** The rows that fail alone, twice; undefined when there are none. */
  readonly faults: Map<number, RecordFault> | undefined
}

/**
 * Runs a batch. One that fails is run once more, because the fault may have been the session's; if it fails again it is
 * bisected until the bad rows stand alone, so that a bad row never takes its neighbours with it. The good rows' outputs
 * are in the slot afterwards. Takes at most about 2·b·log2(rows) runs for b bad rows. Never rejects.
 */
export async function runIsolated(run: RunRows, rows: number): Promise<IsolatedRun> {
  const faults = new Map<number, RecordFault>()
  let timings: RunTimings | undefined

  const attempt = async (first: number, count: number): Promise<unknown> => {
    try {
      const done = await run(first, count)
      timings = timings === undefined ? done : { ...timings, computeMs: timings.computeMs + done.computeMs }
      return undefined
    } catch (error) {
      return error ?? new Error('failed without a reason')
    }
  }

  const isolate = async (first: number, count: number, retry: boolean): Promise<void> => {
    let error = await attempt(first, count)
    if (error !== undefined && (retry || count === 1)) error = await attempt(first, count)
    if (error === undefined) return
    if (count === 1) {
      faults.set(first, { code: 'inference-failed', message: `The model fails on this row: ${messageOf(error)}` })
      return
    }
    const half = count >> 1
    await isolate(first, half, false)
    await isolate(first + half, count - half, false)
  }

  await isolate(0, rows, true)
  return { timings, faults: faults.size === 0 ? undefined : faults }
}
