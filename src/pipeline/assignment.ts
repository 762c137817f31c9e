import PQueue from 'p-queue'
import type { Clock } from '../core/clock.ts'
import type { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { PartitionTask } from './partition-task.ts'
import { AT_REST, type TaskEnd } from './task-contract.ts'

export interface AssignmentOptions {
  /** Makes the task of a partition with a new producer; `limit` bounds how many initialise at once. */
  readonly createTask: (partition: number, limit: <T>(initialise: () => Promise<T>) => Promise<T>) => PartitionTask
  /** The task is there and may want data; later: it is gone. */
  readonly onTask: (task: PartitionTask) => void
  readonly onTaskGone: (task: PartitionTask) => void
  /** Asks the group whether this replica still belongs to its generation. */
  readonly confirm: () => Promise<boolean>
  /** An error that ends the worker. */
  readonly onFailed: (error: SluiceError) => void
  readonly log: Log
  readonly clock: Clock
}

/** Initialisations at once: enough to be quick with hundreds of partitions, few enough not to flood the coordinator. */
const INITIALISE_CONCURRENCY = 16

/** How long a task that was fenced waits before it asks whether it still owns its partition. */
const RECLAIM_DELAY_MS = 200

/** The tasks of this replica, kept in step with what the group assigns. */
export class AssignedTasks {
  readonly #options: AssignmentOptions
  readonly #tasks = new Map<number, { readonly task: PartitionTask; readonly end: Promise<void> }>()
  readonly #initialising = new PQueue({ concurrency: INITIALISE_CONCURRENCY })
  #assigned: ReadonlySet<number> = new Set()
  #closing = false

  constructor(options: AssignmentOptions) {
    this.#options = options
  }

  get tasks(): PartitionTask[] {
    return [...this.#tasks.values()].map(({ task }) => task)
  }

  /**
   * Takes over a new assignment. Tasks of partitions that went away finish what is in the pipeline, if the new owner
   * lets them; tasks that stay go on. When somebody else may have owned a partition in between (`continuous` is false)
   * every task starts anew, with a new producer.
   */
  assign(partitions: readonly number[], continuous: boolean): void {
    if (this.#closing) return
    this.#assigned = new Set(partitions)
    for (const [partition, { task }] of this.#tasks) {
      const stays = this.#assigned.has(partition) && continuous
      if (stays) continue
      if (AT_REST.has(task.state)) this.#remove(partition, task)
      else if (this.#assigned.has(partition)) task.abort()
      else task.drain()
    }
    for (const partition of partitions) this.#ensure(partition)
  }

  /** Ends every task; each commits what it has in the pipeline. Resolves when all are closed. */
  async drain(): Promise<void> {
    this.#closing = true
    for (const { task } of this.#tasks.values()) task.drain()
    await Promise.all([...this.#tasks.values()].map(({ end }) => end))
  }

  /** Tells every task to end without what is in the pipeline; does not wait for requests that are under way. */
  abort(): void {
    this.#closing = true
    for (const { task } of this.#tasks.values()) task.abort()
  }

  /** Starts a task for the partition, once the one before it has ended. */
  #ensure(partition: number): void {
    if (this.#tasks.has(partition)) return
    const { createTask, onTask } = this.#options
    const limit = <T>(initialise: () => Promise<T>) => this.#initialising.add(initialise)
    const task = createTask(partition, limit)
    this.#tasks.set(partition, { task, end: this.#serve(partition, task) })
    onTask(task)
  }

  async #serve(partition: number, task: PartitionTask): Promise<void> {
    const end = await task.serve()
    // A halted task stays in the table, and what halted it a condition, until the group moves the partition; so does a complete one.
    if (AT_REST.has(task.state) && this.#assigned.has(partition)) return
    this.#remove(partition, task)
    this.#follow(partition, end)
  }

  #remove(partition: number, task: PartitionTask): void {
    this.#tasks.delete(partition)
    this.#options.onTaskGone(task)
  }

  #follow(partition: number, end: TaskEnd): void {
    if (end.how === 'failed') this.#options.onFailed(end.error)
    else if (this.#closing || !this.#assigned.has(partition)) return
    else if (end.how === 'fenced') void this.#reclaim(partition)
    else this.#ensure(partition)
  }

  /**
   * A fenced task usually means that the group has moved on, and the next assignment will say so. But an epoch also ends
   * when the coordinator aborts a transaction that took too long, or when this replica slept through two rebalances and
   * was given the partition back. So ask the group, and serve the partition anew if it is still ours:
   *
   *   A owns p (epoch 1), sleeps ─▶ B owns p (epoch 2) ─▶ A wakes, rejoins, is given p ─▶ A's commit is fenced
   */
  async #reclaim(partition: number): Promise<void> {
    const { clock, confirm, log } = this.#options
    const settled = () => this.#closing || this.#tasks.has(partition) || !this.#assigned.has(partition)
    do {
      await clock.sleep(RECLAIM_DELAY_MS)
      if (settled()) return
    } while (!(await confirm()))
    if (settled()) return
    log.info({ partition }, 'the partition is still assigned here: serving it with a new producer')
    this.#ensure(partition)
  }
}
