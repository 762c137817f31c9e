import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { aborted, within } from '../core/waiting.ts'
import { PoolServer } from '../inference/pool-server.ts'
import type { ConnectionOptions } from '../kafka/cluster.ts'
import type { Health, WorkerState } from '../ops/health.ts'
import type { Metrics } from '../ops/metrics.ts'
import { SharedConditions } from '../ops/shared-conditions.ts'
import type { IoStatus } from '../ops/status.ts'
import type { LivePlan } from '../serving/served-versions.ts'
import { type ServedModel, slotsOfEach } from '../serving/serving.ts'
import { IoHandle } from './io-handle.ts'
import type { LentModel } from './io-messages.ts'
import { connectionOfThread, settingsOfThread } from './io-settings.ts'
import { JointStart } from './joint-start.ts'
import type { WorkerSettings } from './replica.ts'
import { CLOSE_TIMEOUT_MS } from './replica-run.ts'

export interface IoThreadsOptions {
  readonly settings: WorkerSettings
  readonly connection: ConnectionOptions
  readonly tools: { readonly log: Log; readonly clock: Clock; readonly health: Health; readonly metrics: Metrics }
  /** The versions of `live`, with `slotsOfEach` slots for each thread. */
  readonly models: readonly ServedModel[]
  readonly live: LivePlan
  /** A thread is a member of the group, under this id. */
  readonly onJoined: (thread: number, memberId: string) => void
  /** Nothing waits for the version any more. */
  readonly onLeft: (version: string) => void
}

/**
 * IO_THREADS replicas on as many threads, with one session pool a model version, one health and one set of metrics: what `ReplicaRun` is to
 * a worker of one thread. Each is a member of the group, so the group's protocol and the fencing know nothing of threads.
 *
 * An error that ends one thread ends the worker: the others drain and commit, too. **Too many sessions that hang** are an
 * error of all threads: each says so once the batches that it has under way are settled, and only then is the worker ended,
 * or what the sessions were spent on would bear no fruit (see `Batcher`).
 */
export class IoThreads {
  readonly #options: IoThreadsOptions
  /** By version. */
  readonly #servers = new Map<string, PoolServer>()
  /** Threads in which something may wait for a version that was retired. */
  readonly #leaving = new Map<string, Set<number>>()
  /** Versions that some thread could not make ready, until all have let go of them. */
  readonly #failed = new Map<string, PromiseWithResolvers<void>>()
  readonly #conditions: SharedConditions
  readonly #jointStart: JointStart
  readonly #failure = Promise.withResolvers<never>()
  readonly #running = new Set<number>()
  /** Threads that know that too many sessions hang, and have settled what they had under way. */
  readonly #settled = new Set<number>()
  #threads: readonly IoHandle[] = []

  constructor(options: IoThreadsOptions) {
    const { settings, tools, models } = options
    this.#options = options
    this.#conditions = new SharedConditions(tools.health)
    for (const model of models) this.#serve(model)
    this.#jointStart = new JointStart({
      threads: settings.ioThreads,
      clock: tools.clock,
      onBegin: () => {
        for (const thread of this.#threads) thread.begin()
      },
    })
    // Whoever waits for it hears of it: one that comes while nobody does is no defect.
    this.#failure.promise.catch(() => {})
  }

  /**
   * Serves until `signal` is aborted or a thread fails, then lets all threads drain, commit and leave the group.
   * @throws SluiceError of the first thread that failed, with response `exit`
   */
  async serve(signal: AbortSignal): Promise<void> {
    const { settings, tools } = this.#options
    this.#threads = Array.from({ length: settings.ioThreads }, (_, i) => this.#start(i + 1))
    tools.metrics.include(() => Promise.all(this.#threads.map(thread => thread.report('metrics'))))
    try {
      await Promise.race([aborted(signal), this.#failure.promise])
    } finally {
      tools.health.enter('DRAINING')
      await this.#drain()
    }
  }

  /** Ends the worker, because of an error from elsewhere; the first one counts. */
  fail(error: Error): void {
    this.#failure.reject(error)
  }

  async close(): Promise<void> {
    for (const server of this.#servers.values()) server.close()
  }

  /**
   * Makes a version ready to answer in every thread.
   * @throws SluiceError where it cannot answer
   */
  async prepare(model: ServedModel): Promise<void> {
    const { version } = model.spec
    this.#serve(model)
    const prepared = await Promise.allSettled(this.#threads.map(thread => thread.prepare(this.#lend(model))))
    const failed = prepared.find(result => result.status === 'rejected')
    if (failed === undefined) return
    // Nothing of the attempt may stay: the next one begins with another pool.
    const left = Promise.withResolvers<void>()
    this.#failed.set(version, left)
    this.retire(version)
    await left.promise
    throw failed.reason
  }

  /** This plan answers from now on. */
  adopt(live: LivePlan): void {
    for (const thread of this.#threads) thread.adopt(live)
  }

  /** The version is of no plan any more: `onLeft` tells when nothing waits for it. */
  retire(version: string): void {
    this.#leaving.set(version, new Set(this.#threads.keys()))
    for (const thread of this.#threads) thread.retire(version)
  }

  #onLeft(version: string, thread: number): void {
    const leaving = this.#leaving.get(version)
    leaving?.delete(thread - 1)
    if (leaving?.size !== 0) return
    this.#leaving.delete(version)
    this.#servers.get(version)?.close()
    this.#servers.delete(version)
    const failed = this.#failed.get(version)
    this.#failed.delete(version)
    if (failed === undefined) this.#options.onLeft(version)
    else failed.resolve()
  }

  #serve({ spec, pool, tasksWaitWhen }: ServedModel): void {
    const { settings, tools } = this.#options
    const { sessions } = tools.metrics.batcher({ model: spec.name, version: spec.version })
    const server = new PoolServer({
      pool,
      clock: tools.clock,
      layout: spec,
      clients: settings.ioThreads,
      slotsEach: slotsOfEach(pool.size),
      onBusy: sessions,
    })
    tasksWaitWhen?.(graceMs => server.clientsWait(graceMs))
    this.#servers.set(spec.version, server)
  }

  #lend({ spec, sample }: ServedModel): LentModel {
    return { spec, sample, pool: this.#servers.get(spec.version)!.lend() }
  }

  /** Of all threads together. */
  async status(): Promise<IoStatus> {
    const all = await Promise.all(this.#threads.map(thread => thread.report('status')))
    const sum = (total: keyof IoStatus['totals']) => all.reduce((sum, { totals }) => sum + totals[total], 0)
    return {
      totals: { recordsIn: sum('recordsIn'), predictions: sum('predictions'), deadLetters: sum('deadLetters') },
      partitions: all.flatMap(({ partitions }) => partitions).toSorted((a, b) => a.partition - b.partition),
    }
  }

  #start(thread: number): IoHandle {
    const { settings, connection, tools, models, live } = this.#options
    return new IoHandle({
      setup: {
        thread,
        settings: settingsOfThread(settings),
        connection: connectionOfThread(connection, thread),
        models: models.map(model => this.#lend(model)),
        live,
      },
      clock: tools.clock,
      onState: state => this.#onState(thread, state),
      onJoined: (generation, memberId) => {
        this.#jointStart.joined(thread, generation)
        this.#options.onJoined(thread, memberId)
      },
      onCondition: (key, error) => {
        if (error === undefined) this.#conditions.clear(thread, key)
        else this.#conditions.set(thread, key, error)
      },
      onFailed: error => this.#onFailed(thread, error),
      onLeft: version => this.#onLeft(version, thread),
    })
  }

  /** The worker runs once all of its threads do, and never again after it began to drain. */
  #onState(thread: number, state: WorkerState): void {
    const { settings, tools } = this.#options
    if (state === 'RUNNING') this.#running.add(thread)
    if (this.#running.size === settings.ioThreads && tools.health.state === 'STARTING') tools.health.enter('RUNNING')
  }

  #onFailed(thread: number, error: Error): void {
    if (error instanceof SluiceError && error.code === 'sessions-hung') {
      this.#settled.add(thread)
      // A thread that is only about to begin has nothing to settle, and says nothing.
      if (![...this.#running].every(other => this.#settled.has(other))) return
    }
    this.fail(error)
  }

  async #drain(): Promise<void> {
    const { settings, tools } = this.#options
    for (const thread of this.#threads) thread.drain()
    const ended = Promise.all(this.#threads.map(thread => thread.ended))
    // Each keeps to DRAIN_TIMEOUT_MS by itself, and closes connections after that.
    const limitMs = settings.drainTimeoutMs + 3 * CLOSE_TIMEOUT_MS
    if (await within(tools.clock, limitMs, ended)) return
    tools.log.warn({ limitMs }, 'an I/O thread does not end: what it has in flight is left to the next owner')
  }
}
