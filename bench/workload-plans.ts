import type { WorkloadName } from './workload.ts'

/** How much a workload is measured with. */
export interface Plan {
  /** Published beforehand: enough that the fastest contender has work for as long as it is measured. */
  readonly records: number
  /** How long a contender is measured, unless told otherwise. */
  readonly seconds: number
  /** Settings of the worker that somebody with such a model would choose. */
  readonly settings: Readonly<Record<string, string>>
  /** An echo and a bare consumer are limits of small models only. */
  readonly limits: boolean
}

export const PLANS: Readonly<Record<WorkloadName, Plan>> = {
  iris: { records: 8_000_000, seconds: 12, settings: {}, limits: true },
  'iris-forest': { records: 8_000_000, seconds: 12, settings: {}, limits: true },
  ffnn: { records: 1_500_000, seconds: 12, settings: {}, limits: true },
  'ffnn-json': { records: 350_000, seconds: 12, settings: {}, limits: true },
  // A batch of a hundred images would take seconds, and gain nothing over one of eight.
  heavy: { records: 1_500, seconds: 30, settings: { MAX_BATCH_SIZE: '8' }, limits: false },
}
