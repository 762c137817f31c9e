import { Backoff } from '../core/backoff.ts'
import type { Timer } from '../core/clock.ts'
import { asSluiceError } from '../core/errors.ts'
import { type RunTimings, tooManyHang } from '../core/inference.ts'
import type { BatchTrigger } from '../core/telemetry.ts'
import type { ModelIdentity } from '../core/transaction.ts'
import { type BatchPlan, decide, planBatches } from './batch-policy.ts'
import type { BatcherOptions } from './batcher-options.ts'
import { type IsolatedRun, type IsolationPort, runIsolated } from './isolation.ts'
import { LoadMeter } from './load-meter.ts'
import { MicroBatch } from './micro-batch.ts'
import { type RowSource, RowSources } from './row-sources.ts'

/** Runs from one report of what they cost to the next. */
const REPORT_EVERY = 16

interface ReadyBatch {
  readonly batch: MicroBatch
  readonly trigger: BatchTrigger
}

/**
 * Gathers the rows of all tasks of a replica into micro-batches of one model version, so that fifty quiet partitions
 * still fill one batch.
 *
 *   offer ─▶ open batch (rows decoded into a slot) ──close──▶ ready ──idle session──▶ running ──▶ parts settled
 *
 * Rows are decoded as soon as a slot is free, while the sessions still compute; when no slot is free records wait
 * undecoded, and the tasks stop fetching. Everything happens in one thread: no step here awaits except the run itself.
 *
 * **When too many threads hang** the process has to end, but first what they were spent on must bear fruit, or the next
 * process will spend as many on the same rows:
 *
 *   SERVING ── as many hang as it bears ──▶ SETTLING ── no batch runs ──▶ TOLD ── one more batch hangs ──▶ OVER
 *                                           starts no batch               starts what is left to drain     starts none
 */
export class Batcher {
  readonly #options: BatcherOptions
  readonly #sources: RowSources
  readonly #meter: LoadMeter
  readonly #ready: ReadyBatch[] = []
  readonly #identities = new Map<string, ModelIdentity>()
  #open: MicroBatch | undefined
  /** Of the open batch, where there is a target. */
  #plan: BatchPlan | undefined
  #pumping = false
  #closed = false
  /** Batches that wait because a session is at fault. */
  #stuck = 0
  #delay: Timer | undefined
  /** Batches that run or are isolated. */
  #running = 0
  /** People have heard that too many threads hang. */
  #told = false
  /** Nothing is started any more: a batch was given up, because another thread that hangs is one too many. */
  #over = false

  constructor(options: BatcherOptions) {
    this.#options = options
    this.#sources = new RowSources(options.clock)
    this.#meter = new LoadMeter(options.pool.size)
    options.pool.onAvailable(() => this.#schedule())
  }

  /** Says that `source` has records. Harmless when it said so before. */
  offer(source: RowSource): void {
    this.#sources.offer(source)
    this.#schedule()
  }

  /** The source is gone; rows of it that are packed already run along. */
  withdraw(source: RowSource): void {
    this.#sources.withdraw(source)
  }

  /** Says how long the oldest of a transaction's results waited from being computed to being committed. */
  delivered(ms: number): void {
    this.#meter.delivered(ms)
  }

  /** Stops waiting for sessions; what still runs is settled as it is. Call it when the tasks are gone. */
  close(): void {
    this.#closed = true
    this.#delay?.cancel()
  }

  /** Once per turn of the event loop, after everything that one fetch brought has been offered. */
  #schedule(): void {
    if (this.#pumping) return
    this.#pumping = true
    queueMicrotask(() => {
      this.#pumping = false
      this.#pump()
    })
  }

  #pump(): void {
    do {
      this.#startReady()
      this.#replan()
      this.#fillOpen()
    } while (this.#closeOpen())
    this.#startReady()
    // They may have hung in runs of another batcher of the same pool.
    this.#reviewHung()
  }

  #startReady(): void {
    while (this.#ready.length > 0 && this.#options.pool.idle > 0 && this.#mayStart) {
      void this.#run(this.#ready.shift()!)
    }
  }

  get #mayStart(): boolean {
    return !this.#over && (this.#told || !this.#tooManyHang)
  }

  get #tooManyHang(): boolean {
    const { count, most } = this.#options.pool.hung
    return count >= most
  }

  /** Bounds the batch that is, or will be, open by what the target allows under the load of this moment. */
  #replan(): void {
    const { targetLatencyMs } = this.#options
    if (targetLatencyMs === 0) return
    if (this.#sources.waiting) this.#open ??= this.#openBatch()
    if (this.#open === undefined) return
    const load = this.#meter.load(this.#sources.backlog)
    this.#plan = planBatches(load, targetLatencyMs, this.#open.slot.capacity)
    this.#open.limit = this.#plan.limit
  }

  #fillOpen(): void {
    const before = this.#open?.rows ?? 0
    while (this.#sources.waiting) {
      this.#open ??= this.#openBatch()
      if (this.#open === undefined || this.#open.full) break
      this.#sources.pack(this.#open)
    }
    const { pool } = this.#options
    // What waited was refused right before it was packed: nobody would ever close this batch.
    if (this.#open?.rows === 0 && this.#open.parts.length === 0) {
      pool.release(this.#open.slot)
      this.#open = undefined
    }
    const packed = (this.#open?.rows ?? 0) - before
    if (packed > 0) this.#meter.arrived(packed, this.#options.clock.now())
  }

  #openBatch(): MicroBatch | undefined {
    const slot = this.#options.pool.acquire()
    if (slot === undefined) return undefined
    return new MicroBatch(slot, this.#options.clock.now(), freed => this.#options.pool.release(freed))
  }

  /** Closes the open batch if the policy says so. Returns whether it did: then there may be room for another. */
  #closeOpen(): boolean {
    const batch = this.#open
    if (batch === undefined) return false
    const { pool, clock, maxQueueDelayMs } = this.#options
    const free = Math.max(0, pool.idle - this.#ready.length)
    const decision = decide(
      { rows: batch.rows, capacity: batch.slot.capacity, openedAt: batch.openedAt, arrivedAt: batch.arrivedAt },
      free,
      clock.now(),
      maxQueueDelayMs,
      this.#plan,
    )
    this.#delay?.cancel()
    this.#delay = undefined
    if (decision === 'gather') return false
    if ('waitMs' in decision) {
      this.#delay = clock.after(decision.waitMs, () => this.#schedule())
      return false
    }
    this.#open = undefined
    this.#ready.push({ batch, trigger: decision.close })
    return true
  }

  async #run(ready: ReadyBatch): Promise<void> {
    const { batch } = ready
    const { pool, telemetry, clock } = this.#options
    const startedAt = clock.now()
    this.#running++
    const running = this.#runUntilSettled(batch)
    telemetry.sessions(pool.busy, pool.size)
    const outcome = await running
    this.#running--
    if (outcome === undefined) this.#drop(batch)
    else this.#settle(ready, outcome, startedAt)
    this.#reviewHung()
    this.#schedule()
  }

  #settle({ batch, trigger }: ReadyBatch, outcome: IsolatedRun, startedAt: number): void {
    const { pool, telemetry, clock } = this.#options
    const { timings, faults } = outcome
    batch.faults = faults
    batch.model = this.#identity(timings)
    const computeMs = timings?.computeMs ?? 0
    const queueMs = startedAt - batch.openedAt - batch.inputMs + (timings?.waitMs ?? 0)
    telemetry.batch(batch.rows, trigger, { queueMs: Math.max(0, queueMs), inputMs: batch.inputMs, computeMs })
    telemetry.sessions(pool.busy, pool.size)
    if (timings !== undefined) telemetry.sessionBusyMs(timings.provider, computeMs)
    if (timings !== undefined && batch.runs === 1) this.#learn(batch, clock.now() - startedAt, timings)
    this.#meter.served(clock.now() - batch.arrivedAt)
    for (const part of batch.parts) part.settled()
  }

  /** From a batch that took one run; isolation says nothing of the others. */
  #learn(batch: MicroBatch, runMs: number, timings: RunTimings): void {
    const { telemetry } = this.#options
    const model = this.#meter.ran(batch.rows, batch.inputMs, runMs, timings)
    if (model.runs % REPORT_EVERY === 1) telemetry.runCost(timings.provider, model.cost)
    if (this.#plan !== undefined) telemetry.batchLimit(this.#plan.limit, this.#plan.budgetMs)
  }

  /** Ends the worker if too many threads hang, once no batch runs: what they were spent on is settled. */
  #reviewHung(): void {
    if (this.#told || this.#closed || this.#running > 0 || !(this.#over || this.#tooManyHang)) return
    this.#told = true
    this.#options.onCondition(tooManyHang(this.#options.pool.hung))
  }

  /** Neither good nor bad is known of these rows, so nobody may be told that they are settled. */
  #drop(batch: MicroBatch): void {
    for (let parts = batch.parts.length; parts > 0; parts--) batch.letGo()
  }

  /**
   * Rows wait as long as the sessions are at fault; undefined when the batcher is closed meanwhile, or too many threads
   * hang for another try. Never rejects.
   */
  async #runUntilSettled(batch: MicroBatch): Promise<IsolatedRun | undefined> {
    const { pool, probe, clock, onGood, onCondition } = this.#options
    const backoff = new Backoff(100, 5_000)
    const port: IsolationPort = {
      run: (first, rows, choice) => {
        batch.runs++
        return pool.run(batch.slot, first, rows, choice)
      },
      probe,
      reserve: choice => pool.reserve(choice),
      distrust: (session, reason) => pool.distrust(session, reason),
      hung: () => pool.hung,
    }
    let stuck = false
    const freed = () => {
      if (stuck && --this.#stuck === 0) onCondition(undefined)
    }
    while (!this.#closed) {
      try {
        const outcome = await runIsolated(port, batch.rows)
        freed()
        if (outcome.faults === undefined) onGood?.(batch.slot)
        return outcome
      } catch (error) {
        if (this.#closed) break
        const failure = asSluiceError(error, 'session-crashed')
        if (failure.code === 'sessions-hung' || this.#tooManyHang) {
          this.#over = true
          break
        }
        if (!stuck) this.#stuck++
        stuck = true
        onCondition(failure)
        await clock.sleep(backoff.next())
      }
    }
    if (!this.#over) freed()
    return undefined
  }

  /** One object for each provider, so that the header block it becomes is encoded once. */
  #identity(timings: RunTimings | undefined): ModelIdentity {
    const provider = timings?.provider ?? 'none'
    let identity = this.#identities.get(provider)
    if (identity === undefined) {
      identity = { ...this.#options.model, provider }
      this.#identities.set(provider, identity)
    }
    return identity
  }
}
