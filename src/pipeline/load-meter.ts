import type { RunTimings } from '../core/inference.ts'
import type { RunCost } from '../core/telemetry.ts'
import type { Load } from './batch-policy.ts'
import { CostModel, share } from './cost-model.ts'
import { RecentQuantile } from './recent-quantile.ts'

/** Arrivals, and batches, after which one counts for a third of what it did at first. */
const MEMORY = 32
/** Arrivals before their rate is believed. */
const ENOUGH_ARRIVALS = 8
/** A longer pause says nothing of the rate before and after it. */
const LONGEST_GAP_MS = 1000
/** So many mean gaps without an arrival: of random (Poisson) arrivals, one gap in fifty is longer. */
const PATIENCE = 4

/** Measures what `planBatches` needs to know of a batcher. Called a few times a batch, never once a row. */
export class LoadMeter {
  readonly #sessions: number
  /** One for each provider; sessions on one provider are taken to be alike. */
  readonly #models = new Map<string, CostModel>()
  /** Sessions whose first run is over: it allocates, or even compiles, and is no measure of the others. */
  readonly #warm = new Set<number>()
  readonly #served = new RecentQuantile(0.99, 256)
  readonly #delivery = new RecentQuantile(0.99, 256)
  #arrivals = 0
  #lastArrival = 0
  #gapMs = 0
  #rowsPerArrival = 0
  #batches = 0
  #inputRowMs = 0

  /** @param sessions of the pool */
  constructor(sessions: number) {
    this.#sessions = sessions
  }

  /** Rows were packed as they came in. */
  arrived(rows: number, now: number): void {
    if (this.#arrivals > 0) {
      const part = share(this.#arrivals, MEMORY)
      this.#gapMs += part * (Math.min(now - this.#lastArrival, LONGEST_GAP_MS) - this.#gapMs)
      this.#rowsPerArrival += part * (rows - this.#rowsPerArrival)
    }
    this.#arrivals++
    this.#lastArrival = now
  }

  /**
   * A batch was run at the first attempt.
   * @param inputMs time to decode it
   * @param runMs from its hand-over to a session until the batcher had the result: so long the session is taken and the
   *   rows wait, on their way between the threads, too
   * @returns the model of the session's provider
   */
  ran(rows: number, inputMs: number, runMs: number, { session, provider }: RunTimings): CostModel {
    this.#batches++
    this.#inputRowMs += share(this.#batches, MEMORY) * (inputMs / rows - this.#inputRowMs)
    let model = this.#models.get(provider)
    if (model === undefined) {
      model = new CostModel()
      this.#models.set(provider, model)
    }
    if (this.#warm.has(session)) model.observe(rows, runMs)
    else this.#warm.add(session)
    return model
  }

  /** A batch was run, so long after the oldest of its records arrived. */
  served(ms: number): void {
    this.#served.observe(ms)
  }

  /** Results were committed, so long after they had been computed. */
  delivered(ms: number): void {
    this.#delivery.observe(ms)
  }

  /** @param backlog records that wait undecoded */
  load(backlog: number): Load {
    const patient = this.#arrivals > ENOUGH_ARRIVALS && this.#gapMs > 0
    return {
      ...this.#slowest(),
      sessions: this.#sessions,
      backlog,
      rowsPerMs: patient ? this.#rowsPerArrival / this.#gapMs : 0,
      nextRowsBy: patient ? this.#lastArrival + PATIENCE * this.#gapMs : 0,
      inputRowMs: this.#inputRowMs,
      servedMs: this.#served.value,
      deliveryMs: this.#delivery.value,
    }
  }

  /** Nobody knows which session will take a batch, so the slowest counts: a line above those of all providers. */
  #slowest(): Pick<Load, 'cost' | 'largest' | 'slopeKnown'> {
    let cost: RunCost | undefined
    let largest = Number.POSITIVE_INFINITY
    let slopeKnown = true
    for (const model of this.#models.values()) {
      if (model.runs === 0) continue
      cost = cost === undefined ? model.cost : slower(cost, model.cost)
      largest = Math.min(largest, model.largest)
      slopeKnown &&= model.slopeKnown
    }
    return cost === undefined ? { cost, largest: 0, slopeKnown: false } : { cost, largest, slopeKnown }
  }
}

function slower(a: RunCost, b: RunCost): RunCost {
  return {
    rowMs: Math.max(a.rowMs, b.rowMs),
    fixedMs: Math.max(a.fixedMs, b.fixedMs),
    tailMs: Math.max(a.tailMs, b.tailMs),
  }
}
