/**
 * What closed a micro-batch: a session was free; it was full; MAX_QUEUE_DELAY_MS had passed; with TARGET_LATENCY_MS also: a
 * larger one, or a later one, would have missed the target; or it was as large as it may be while the worker is behind.
 */
export const BATCH_TRIGGERS = ['session-free', 'full', 'delay', 'target-size', 'target-time', 'behind'] as const
export type BatchTrigger = (typeof BATCH_TRIGGERS)[number]

export type TransactionOutcome = 'committed' | 'aborted' | 'fenced'

/** How long a micro-batch spent where, in milliseconds. Names as in Triton: queue, input, compute, output. */
export interface BatchTimings {
  readonly queueMs: number
  readonly inputMs: number
  readonly computeMs: number
}

/**
 * What a run of n rows takes, in milliseconds: `rowMs · n + fixedMs`, and at most `tailMs` more in 99 of 100 runs. None is
 * negative.
 */
export interface RunCost {
  readonly rowMs: number
  readonly fixedMs: number
  readonly tailMs: number
}

/** What a partition's task reports. Called once a batch or a transaction, never once a record. */
export interface PartitionTelemetry {
  recordsIn(count: number): void
  /** Predictions of this version of the model. */
  predictions(version: string, count: number): void
  /** The reporter of a version that shadows. */
  shadow(version: string): ShadowTelemetry
  deadLetter(code: string): void
  outputMs(ms: number): void
  /** From the oldest record's timestamp in a part to the end of the transaction that carried it. */
  endToEndMs(ms: number): void
  transaction(outcome: TransactionOutcome, ms: number): void
  /** A transaction begins, so long after the first of its results was there. */
  commitWaitMs(ms: number): void
  /** Records between the committed position and the end of the log. */
  lag(records: number): void
  /** Records read and not yet committed, and the memory that they take. */
  inFlight(records: number, bytes: number): void
  paused(value: boolean): void
  /** The partition is no longer ours: forget its gauges. */
  remove(): void
}

/** What a shadow version of a partition's task reports. */
export interface ShadowTelemetry {
  predictions(count: number): void
  /** Records that go without its prediction: `behind`, `closed`, or the code of an error. */
  dropped(reason: string, count: number): void
}

/** What the batcher of one model version reports. */
export interface BatcherTelemetry {
  batch(rows: number, trigger: BatchTrigger, timings: BatchTimings): void
  sessions(busy: number, size: number): void
  sessionBusyMs(provider: string, ms: number): void
  /** What runs on this provider take, as measured of late. */
  runCost(provider: string, cost: RunCost): void
  /** With TARGET_LATENCY_MS: the rows that a batch may have now, and what of the target is left for waiting and running. */
  batchLimit(rows: number, budgetMs: number): void
}

/**
 * What becomes of a session: its thread died in a run or idle, hangs in one, or was replaced because it failed where it
 * should not; and it was open again afterwards.
 */
export type SessionEvent = 'crashed' | 'hung' | 'distrusted' | 'restarted'

/** What the session pool of one model version reports. */
export interface PoolTelemetry {
  /** A session on this provider exists: its counters begin at zero. */
  sessionOpened(provider: string): void
  sessionEvent(provider: string, event: SessionEvent): void
  /** Threads that were left behind and have not ended. */
  threadsLeftBehind(count: number): void
}

/** What the inference API reports. Called once a request. */
export interface ApiTelemetry {
  /** Requests under way, over all models. */
  waiting(requests: number): void
  /** A request was answered. */
  answered(model: string, version: string, rows: number, ms: number): void
  /** A request was refused with the error of this code; model and version are empty where they were not known. */
  refused(model: string, version: string, code: string): void
}
