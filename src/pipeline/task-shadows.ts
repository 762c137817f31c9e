import type { Clock } from '../core/clock.ts'
import type { PartitionTelemetry } from '../core/telemetry.ts'
import type { OutputWriter } from '../core/transaction.ts'
import type { ServedVersion } from './serving.ts'
import { ShadowLane } from './shadow-lane.ts'
import type { Part } from './task-run.ts'

export interface TaskShadowsOptions {
  readonly output: OutputWriter
  readonly maxOutputBytes: number
  readonly telemetry: PartitionTelemetry
  readonly clock: Clock
  /** Predictions are there that could be emitted. */
  readonly onSettled: () => void
}

/** A topic of shadows that takes nothing must not keep predictions from going out. */
const PAUSE_MS = 60_000

/** The shadows of one task: a lane for each version, made when the first record is for it. */
export class TaskShadows {
  readonly #options: TaskShadowsOptions
  readonly #lanes = new Map<ServedVersion, ShadowLane>()
  /** Until then nothing is shadowed. */
  #pausedUntil = Number.NEGATIVE_INFINITY

  constructor(options: TaskShadowsOptions) {
    this.#options = options
  }

  /** Whether any version shadows. */
  get any(): boolean {
    return this.#lanes.size > 0
  }

  /** Whether records wait for what `version` says as a shadow. */
  has(version: ServedVersion): boolean {
    return this.#lanes.has(version)
  }

  /** Records that were decoded for the version that answers them; their batch is still held. */
  take({ serving, queued, from, to }: Part): void {
    const { output, clock } = this.#options
    if (serving.shadows.length === 0 || clock.now() < this.#pausedUntil || !output.takesShadows) return
    for (const version of serving.shadows) this.#laneOf(version).take(queued.batch, from, to)
  }

  /**
   * Writes what is there of records below `offset`.
   * @returns how many predictions
   */
  emit(offset: number): number {
    const { output, maxOutputBytes } = this.#options
    let written = 0
    for (const lane of this.#lanes.values()) written += lane.emit(output, offset, maxOutputBytes)
    return written
  }

  /** A broker refused a transaction that may have had predictions of shadows. */
  pause(): void {
    this.#pausedUntil = this.#options.clock.now() + PAUSE_MS
  }

  /** Ends the lanes of all other versions. */
  keep(versions: readonly ServedVersion[] = []): void {
    for (const [version, lane] of this.#lanes) {
      if (versions.includes(version)) continue
      lane.close()
      this.#lanes.delete(version)
    }
  }

  #laneOf(version: ServedVersion): ShadowLane {
    let lane = this.#lanes.get(version)
    if (lane === undefined) {
      const { telemetry, onSettled } = this.#options
      lane = new ShadowLane({ version, telemetry: telemetry.shadow(version.name), onSettled })
      this.#lanes.set(version, lane)
    }
    return lane
  }
}
