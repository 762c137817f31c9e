import type { Clock } from '../../src/core/clock.ts'
import { type FetchedRecords, memoryOf } from '../../src/core/record-batch.ts'
import type { Committer, FetchTarget, ModelIdentity, Room } from '../../src/core/transaction.ts'
import { CommitLoop, type CommittingTask } from '../../src/pipeline/commit-loop.ts'
import type { CommitTurns } from '../../src/pipeline/commit-turns.ts'
import type { InFlightBudget } from '../../src/pipeline/in-flight.ts'

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
 * What bounds a task, and what paces its transactions, is the worker's own.
 */
export class EchoTask implements FetchTarget, CommittingTask {
  readonly topic: string
  readonly partition: number
  readonly #options: EchoOptions
  readonly #stop = new AbortController()
  #commits: CommitLoop
  #running = false
  #position = 0
  #endOffset = 0

  constructor(options: EchoOptions) {
    this.#options = options
    this.topic = options.topic
    this.partition = options.partition
    this.#commits = new CommitLoop(options, 0, options.inFlight.open())
  }

  get position(): number | undefined {
    return this.room === undefined ? undefined : this.#position
  }

  get room(): Room | undefined {
    return this.#running ? this.#commits.holding.room : undefined
  }

  accept({ batches, nextOffset, endOffset }: FetchedRecords): void {
    const { answer, committer } = this.#options
    this.#endOffset = endOffset
    for (const batch of batches) {
      this.#commits.holding.take(batch)
      if (answer !== undefined) {
        const { value, model } = answer
        for (let i = 0; i < batch.count; i++)
          committer.output.prediction(batch, i, value, value.length, model, 'stable')
      }
      this.#commits.settle(nextOffset, {
        records: batch.count,
        bytes: memoryOf(batch),
        timestamp: batch.timestamps[0]!,
      })
      batch.lease?.letGo()
    }
    this.#position = nextOffset
    this.#commits.skip(nextOffset)
    this.#commits.wake()
  }

  fail(error: Error): void {
    this.#options.onFailed(error)
  }

  /** Serves the partition until `drain`. */
  async serve(): Promise<void> {
    const { offset } = await this.#options.committer.initialise()
    this.#position = offset
    this.#commits = new CommitLoop(this.#options, offset, this.#options.inFlight.open())
    this.#running = true
    this.#options.onWanted()
    await this.#commits.run(this)
  }

  /** Commits what it has, and ends. */
  drain(): void {
    this.#running = false
    this.#stop.abort()
    this.#commits.wake()
  }

  // CommittingTask

  readonly idle = true
  readonly hurried = false
  readonly stopped = false
  readonly failure = undefined

  get behind(): boolean {
    return this.#endOffset > this.#position
  }

  get draining(): boolean {
    return this.#stop.signal.aborted
  }

  begins(): void {}

  committed(): void {
    this.#options.onWanted()
  }
}
