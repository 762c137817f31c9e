import { messageOf } from './errors.ts'
import type { ReplicaReport, RolloutState } from './rollout.ts'
import { parseRolloutRecord } from './rollout-records.ts'

/** Hears of a record that cannot be used. */
export type OnDamagedRecord = (key: string, why: string) => void

/**
 * The rollout topic, as far as it was read: the last state of each model, the last report of each replica. A record that
 * cannot be used changes nothing: what was known before it stays.
 */
export class RolloutView {
  readonly #states = new Map<string, RolloutState>()
  readonly #reports = new Map<string, ReplicaReport>()
  /** What has been complained of, by key: the topic may be read more than once. */
  readonly #damaged = new Map<string, string | null>()
  readonly #onDamaged: OnDamagedRecord

  constructor(onDamaged: OnDamagedRecord) {
    this.#onDamaged = onDamaged
  }

  /** Takes the next record of the topic. Never throws. */
  apply(key: string, value: string | null): void {
    try {
      const record = parseRolloutRecord(key, value)
      if (record.kind === 'state') put(this.#states, record.model, record.state)
      else put(this.#reports, record.key, record.report)
    } catch (error) {
      if (this.#damaged.get(key) === value) return
      this.#damaged.set(key, value)
      this.#onDamaged(key, messageOf(error))
    }
  }

  state(model: string): RolloutState | undefined {
    return this.#states.get(model)
  }

  /** Of all replicas that have not left, in no certain order. Those that were killed are among them. */
  get reports(): readonly ReplicaReport[] {
    return [...this.#reports.values()]
  }
}

function put<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) map.delete(key)
  else map.set(key, value)
}
