import type { RunCost } from '../core/telemetry.ts'
import { RecentQuantile } from './recent-quantile.ts'

/** Runs after which one counts for a third of what it did at first. */
const MEMORY = 128
/** The same for how far runs are usually off, which has to follow a machine that became slower. */
const DEVIATION_MEMORY = 16
/** Runs before anything is taken for an outlier, or the slope for clear. */
const WARM_UP = 8
/** An outlier takes that many times longer than a run usually is off. */
const OUTLIER = 5
/** Spread of the batch sizes, as a share of their mean, below which the slope of before counts as much as the runs do. */
const FAINT_SPREAD = 0.05
/** And from which on the runs show the slope. */
const CLEAR_SPREAD = 0.25

/**
 * What a run of the model takes, learnt from the runs: `rowMs · rows + fixedMs`, and how much longer the slowest of a
 * hundred take.
 *
 * The line is the least-squares one over exponentially weighted moments (updates of mean, variance and covariance as in
 * Finch, "Incremental calculation of weighted mean and variance", 2009):
 *
 *     rowMs = (cov(rows, ms) + κ·s) / (var(rows) + κ),   fixedMs = mean(ms) − rowMs·mean(rows)
 *
 * While all batches have one size, the runs do not tell the two apart, and a line through their mean with any slope fits. Hence
 * s, the last slope that was clear, with a weight κ that matters only then (a ridge towards s); before there was any,
 * the line through the origin, which never takes a larger batch for cheaper than it is. Both are kept from being negative.
 *
 * A run is never too fast by accident, but may be too slow: what exceeds the expectation by far counts only in part. When
 * runs become slower for good, the limit grows by a quarter each time, so some twenty of them are enough.
 */
export class CostModel {
  #runs = 0
  #largest = 0
  #rows = 0
  #ms = 0
  #variance = 0
  #covariance = 0
  #deviation = 0
  #clearSlope: number | undefined
  readonly #excess = new RecentQuantile(0.99, 256)

  /** Learns from a run that took its rows at the first attempt. */
  observe(rows: number, ms: number): void {
    const expected = this.expect(rows)
    if (this.#runs > 0) this.#excess.observe(ms - expected)
    const known = this.#runs >= WARM_UP && rows <= 2 * this.#largest
    const bound = expected + Math.max(OUTLIER * this.#deviation, 0.1 * expected, 0.05)
    const taken = known ? Math.min(ms, bound) : ms
    this.#runs++
    this.#largest = Math.max(this.#largest, rows)
    this.#follow(rows, taken)
    this.#deviation += share(this.#runs, DEVIATION_MEMORY) * (Math.abs(taken - expected) - this.#deviation)
    const clear = this.#runs >= WARM_UP && this.#variance >= (CLEAR_SPREAD * this.#rows) ** 2
    if (clear) this.#clearSlope = this.#slope()
  }

  get runs(): number {
    return this.#runs
  }

  /** Rows of the largest run. */
  get largest(): number {
    return this.#largest
  }

  /** Whether batch sizes have differed enough, now or once, to tell `rowMs` from `fixedMs`. */
  get slopeKnown(): boolean {
    return this.#clearSlope !== undefined
  }

  get cost(): RunCost {
    const rowMs = this.#slope()
    return { rowMs, fixedMs: Math.max(0, this.#ms - rowMs * this.#rows), tailMs: Math.max(0, this.#excess.value) }
  }

  /** The mean time of a run of `rows`, in milliseconds; 0 before the first. */
  expect(rows: number): number {
    return this.#ms + this.#slope() * (rows - this.#rows)
  }

  #follow(rows: number, ms: number): void {
    const part = share(this.#runs, MEMORY)
    const rowsOff = rows - this.#rows
    const msOff = ms - this.#ms
    this.#rows += part * rowsOff
    this.#ms += part * msOff
    this.#variance = (1 - part) * (this.#variance + part * rowsOff * rowsOff)
    this.#covariance = (1 - part) * (this.#covariance + part * rowsOff * msOff)
  }

  #slope(): number {
    if (this.#rows === 0) return 0
    const throughOrigin = this.#ms / this.#rows
    const ridge = (FAINT_SPREAD * this.#rows) ** 2
    const before = this.#clearSlope ?? throughOrigin
    const slope = (this.#covariance + ridge * before) / (this.#variance + ridge)
    return Math.min(Math.max(0, slope), throughOrigin)
  }
}

/** The weight of the latest observation: that of a plain mean at first. */
export function share(count: number, memory: number): number {
  return Math.max(1 / count, 1 / memory)
}
