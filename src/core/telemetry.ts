/** What closed a micro-batch: a session was free, it was full, or MAX_QUEUE_DELAY_MS had passed. */
export type BatchTrigger = 'session-free' | 'full' | 'delay'

export type TransactionOutcome = 'committed' | 'aborted' | 'fenced'

/** How long a micro-batch spent where, in milliseconds. Names as in Triton: queue, input, compute, output. */
export interface BatchTimings {
  readonly queueMs: number
  readonly inputMs: number
  readonly computeMs: number
}

/** What a partition's task reports. Called once a batch or a transaction, never once a record. */
export interface PartitionTelemetry {
  recordsIn(count: number): void
  predictions(count: number): void
  deadLetter(code: string): void
  outputMs(ms: number): void
  /** From the oldest record's timestamp in a part to the end of the transaction that carried it. */
  endToEndMs(ms: number): void
  transaction(outcome: TransactionOutcome, ms: number): void
  /** Records between the committed position and the end of the log. */
  lag(records: number): void
  paused(value: boolean): void
  /** The partition is no longer ours: forget its gauges. */
  remove(): void
}

/** What the batcher of one model version reports. */
export interface BatcherTelemetry {
  batch(rows: number, trigger: BatchTrigger, timings: BatchTimings): void
  sessions(busy: number, size: number): void
  sessionBusyMs(provider: string, ms: number): void
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
