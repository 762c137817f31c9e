import type { Clock, Timer } from '../../src/core/clock.ts'
import { type FetchedRecords, memoryOf } from '../../src/core/record-batch.ts'
import { Signal } from '../../src/core/signal.ts'
import type { Committer, FetchTarget, ModelIdentity, Room } from '../../src/core/transaction.ts'
import { type CommitMoment, commitDueIn } from '../../src/pipeline/commit-pace.ts'
import type { CommitTurns } from '../../src/pipeline/commit-turns.ts'
import type { Holding, InFlightBudget } from '../../src/pipeline/in-flight.ts'

export interface EchoOptions {
  readonly topic: string
  readonly partition: number
  readonly committer: Committer
  readonly clock: Clock
  readonly inFlight: InFlightBudget
  readonly turns: CommitTurns
  readonly commitIntervalMs: number
  /** What is published for each record, and the headers that it gets; undefined publishes nothing. */
  readonly answer: { readonly value: Buffer; readonly model: ModelIdentity } | undefined
  /** The fetcher should look again. */
  readonly onWanted: () => void
  readonly onFailed: (error: unknown) => void
}

/**
 * A partition task without decoding, batching, inference and encoding: what is fetched is in the output writer at once.
 * It shares with the worker what bounds a task (`InFlightBudget`), what paces its transactions (`CommitTurns`, `commitDueIn`), and its
 * committer; its loop is that of `PartitionTask`, and must stay so.
 */
export class EchoTask implements FetchTarget {
  readonly topic: string
  readonly partition: number
  readonly #options: EchoOptions
  readonly #holding: Holding
  readonly #wake = new Signal()
  readonly #stop = new AbortController()
  #running = false
  #position = 0
  #committed = 0
  #lastCommitAt = Number.NEGATIVE_INFINITY
  #lastCommitMs = 0
  #endOffset = 0
  #alarm: Timer | undefined
  /** When the first of what the next transaction carries came. */
  #since: number | undefined
  /** What the next transaction carries. */
  #records = 0
  #bytes = 0

  constructor(options: EchoOptions) {
    this.#options = options
    this.topic = options.topic
    this.partition = options.partition
    this.#holding = options.inFlight.open()
  }

  get position(): number | undefined {
    return this.room === undefined ? undefined : this.#position
  }

  get room(): Room | undefined {
    return this.#running ? this.#holding.room : undefined
  }

  accept({ batches, nextOffset, endOffset }: FetchedRecords): void {
    const { answer, committer, clock } = this.#options
    this.#endOffset = endOffset
    if (batches.length > 0) this.#since ??= clock.now()
    for (const batch of batches) {
      this.#holding.take(batch)
      this.#records += batch.count
      this.#bytes += memoryOf(batch)
      if (answer !== undefined) {
        const { value, model } = answer
        for (let i = 0; i < batch.count; i++) committer.output.prediction(batch, i, value, value.length, model)
      }
      batch.lease?.letGo()
    }
    this.#position = nextOffset
    this.#wake.notify()
  }

  fail(error: Error): void {
    this.#options.onFailed(error)
  }

  /** Serves the partition until `drain`. */
  async serve(): Promise<void> {
    const { offset } = await this.#options.committer.initialise()
    this.#position = offset
    this.#committed = offset
    this.#running = true
    this.#options.onWanted()
    await this.#commitUntilStopped()
  }

  /** Commits what it has, and ends. */
  drain(): void {
    this.#running = false
    this.#stop.abort()
    this.#wake.notify()
  }

  /** Group commit: what comes while a transaction runs, or waits for its turn, goes into the next one. */
  async #commitUntilStopped(): Promise<void> {
    const { clock, turns } = this.#options
    for (;;) {
      await this.#wake.wait()
      if (this.#dirty) {
        const dueIn = this.#stop.signal.aborted ? 0 : this.#commitDueIn()
        this.#alarm?.cancel()
        if (dueIn > 0) this.#alarm = clock.after(dueIn, () => this.#wake.notify())
        else await turns.run(() => this.#commit())
      }
      if (this.#stop.signal.aborted && !this.#dirty) return
    }
  }

  #commitDueIn(): number {
    const { clock, commitIntervalMs } = this.#options
    const moment: CommitMoment = {
      now: clock.now(),
      lastCommitAt: this.#lastCommitAt,
      lastCommitMs: this.#lastCommitMs,
      settledSince: this.#since,
      settled: this.#records,
      inFlight: this.#holding.records,
      behind: this.#endOffset > this.#position,
      full: this.#holding.room === undefined,
    }
    return commitDueIn(moment, commitIntervalMs)
  }

  async #commit(): Promise<void> {
    const [offset, records, bytes] = [this.#position, this.#records, this.#bytes]
    this.#records = 0
    this.#bytes = 0
    this.#since = undefined
    const { clock } = this.#options
    this.#lastCommitAt = clock.now()
    await this.#options.committer.commit(offset)
    this.#lastCommitMs = clock.now() - this.#lastCommitAt
    this.#committed = offset
    this.#holding.giveBack(records, bytes)
    this.#options.onWanted()
    if (this.#dirty) this.#wake.notify()
  }

  get #dirty(): boolean {
    return this.#position > this.#committed
  }
}
