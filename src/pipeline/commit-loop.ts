import type { Clock, Timer } from '../core/clock.ts'
import { Signal } from '../core/signal.ts'
import type { Committer } from '../core/transaction.ts'
import { commitDueIn } from './commit-pace.ts'
import type { CommitTurns } from './commit-turns.ts'
import type { Holding } from './in-flight.ts'

/** Consecutive records whose output is there. */
export interface Settling {
  readonly records: number
  /** Of the batch that ends with them, if one does: once they are committed nothing of it is in flight any more. */
  readonly bytes: number
  /** Of the oldest of them, in ms since the epoch. */
  readonly timestamp: number
}

/** The content of one transaction: all that was settled when it began. */
export interface Settled {
  readonly offset: number
  readonly records: number
  readonly bytes: number
  /** Of the oldest record of each piece that it is made of, in ms since the epoch. */
  readonly timestamps: readonly number[]
  /** When the first of its results were there, in the clock's milliseconds; undefined when it carries none. */
  readonly since: number | undefined
}

export interface CommitLoopOptions {
  readonly committer: Committer
  /** Shared by the tasks of the replica. */
  readonly turns: CommitTurns
  readonly clock: Clock
  readonly commitIntervalMs: number
}

/** What the loop has to know of its task. */
export interface CommittingTask {
  /** Whether the log holds more than was fetched. */
  readonly behind: boolean
  /** Whether the task finishes what it has, and then ends. */
  readonly draining: boolean
  /** Whether what has settled is committed without delay, because more waits behind it. */
  readonly hurried: boolean
  /** Whether nothing is on its way to be settled. */
  readonly idle: boolean
  /** Whether the task ends, whatever has settled. */
  readonly stopped: boolean
  /** What keeps it from committing: the loop ends with it. */
  readonly failure: Error | undefined
  /** A transaction has begun, and taken all that was in the output writer. */
  begins(settled: Settled): void
  /** @param tookMs how long the transaction took */
  committed(settled: Settled, tookMs: number): void
}

/**
 * Group commit, for one run of a task: what settles while a transaction runs, or waits for its turn, goes into the next. When
 * one begins is for `commitDueIn` to say, how many at once for `CommitTurns`; no promise per record.
 *
 *   settle ─▶ woken ─▶ due? ─▶ turn ─▶ committer.commit(offset) ─▶ room is given back ─┐
 *      ▲                └─ not yet: woken again then                                   │
 *      └────────────────────── more has settled meanwhile ─────────────────────────────┘
 */
export class CommitLoop {
  /** Fetched and not yet committed. */
  readonly holding: Holding
  readonly #options: CommitLoopOptions
  readonly #woken = new Signal()
  #alarm: Timer | undefined
  #committedOffset: number
  /** Every record below is in the output writer or in a committed transaction. */
  #offset: number
  #records = 0
  #extra = false
  #bytes = 0
  #timestamps: number[] = []
  #since: number | undefined
  #lastBegunAt = Number.NEGATIVE_INFINITY
  #lastTookMs = 0

  /**
   * @param start the offset at which the run begins
   * @param holding of this run alone, which `close` closes
   */
  constructor(options: CommitLoopOptions, start: number, holding: Holding) {
    this.#options = options
    this.#offset = start
    this.#committedOffset = start
    this.holding = holding
  }

  get committedOffset(): number {
    return this.#committedOffset
  }

  /** The next offset to commit. */
  get settledOffset(): number {
    return this.#offset
  }

  /** Whether a transaction has something to do. */
  get dirty(): boolean {
    return this.#offset > this.#committedOffset || this.#extra
  }

  /** Whether the output writer has output of settled records that no transaction has taken. */
  get pending(): boolean {
    return this.#records > 0 || this.#extra
  }

  /** There is output beside that of settled records. */
  addExtra(): void {
    this.#extra = true
  }

  /** The output of every record below `offset` is in the output writer; `wake` when all is there that came at once. */
  settle(offset: number, { records, bytes, timestamp }: Settling): void {
    this.#since ??= this.#options.clock.now()
    this.#offset = offset
    this.#records += records
    this.#bytes += bytes
    this.#timestamps.push(timestamp)
  }

  /** There are no records below `offset` besides those that have settled. */
  skip(offset: number): void {
    this.#offset = offset
  }

  /** The loop is to look again: at what has settled, or at what became of its task. */
  wake(): void {
    this.#woken.notify()
  }

  /**
   * Commits until the task is stopped, or has drained.
   * @throws what the committer throws, and the task's failure
   */
  async run(task: CommittingTask): Promise<void> {
    const { turns } = this.#options
    while (!task.stopped) {
      await this.#woken.wait()
      if (task.stopped) return
      if (task.failure !== undefined) throw task.failure
      if (this.dirty) {
        const dueIn = task.draining || task.hurried ? 0 : this.#dueIn(task.behind)
        if (dueIn > 0) this.#wakeIn(dueIn)
        else await turns.run(() => this.#commit(task))
      }
      if (task.draining && task.idle && !this.dirty) return
    }
  }

  /** The run is over: nothing of it is in flight any more. */
  close(): void {
    this.#alarm?.cancel()
    this.holding.close()
    this.wake()
  }

  #dueIn(behind: boolean): number {
    const { clock, commitIntervalMs } = this.#options
    const { holding } = this
    const moment = {
      now: clock.now(),
      lastCommitAt: this.#lastBegunAt,
      lastCommitMs: this.#lastTookMs,
      settledSince: this.#since,
      settled: this.#records,
      inFlight: holding.records,
      behind,
      full: holding.room === undefined,
    }
    return commitDueIn(moment, commitIntervalMs)
  }

  /** Once, however often it is asked for. */
  #wakeIn(delayMs: number): void {
    this.#alarm?.cancel()
    this.#alarm = this.#options.clock.after(delayMs, () => this.wake())
  }

  /** What settled while the task waited for its turn goes along; what happened to it meanwhile counts. */
  async #commit(task: CommittingTask): Promise<void> {
    const { committer, clock } = this.#options
    if (task.failure !== undefined || task.stopped) return
    const settled = this.#take()
    this.#lastBegunAt = clock.now()
    const committing = committer.commit(settled.offset)
    task.begins(settled)
    await committing
    this.#lastTookMs = clock.now() - this.#lastBegunAt
    this.#committedOffset = settled.offset
    this.holding.giveBack(settled.records, settled.bytes)
    task.committed(settled, this.#lastTookMs)
    if (this.dirty) this.wake()
  }

  /** What a transaction that begins now carries; counting begins anew. */
  #take(): Settled {
    const settled = {
      offset: this.#offset,
      records: this.#records,
      bytes: this.#bytes,
      timestamps: this.#timestamps,
      since: this.#since,
    }
    this.#records = 0
    this.#extra = false
    this.#bytes = 0
    this.#timestamps = []
    this.#since = undefined
    return settled
  }
}
