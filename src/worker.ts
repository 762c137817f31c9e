import { connectionOptions } from './connection.ts'
import type { SluiceError } from './core/errors.ts'
import { identityOf } from './core/model.ts'
import { within } from './core/waiting.ts'
import { IoThreads, type IoThreadsOptions } from './io-threads.ts'
import type { ConnectionOptions } from './kafka/cluster.ts'
import type { IoStatus, WorkerStatus } from './ops/status.ts'
import { Probe } from './probe.ts'
import type { WorkerSettings } from './replica.ts'
import { CLOSE_TIMEOUT_MS, ReplicaRun } from './replica-run.ts'
import { openModel, type ServedModel, slotsOfEach, slotsOfOne } from './serving.ts'

type WorkerTools = IoThreadsOptions['tools']

/** What reads and writes: one replica on this thread, or several on threads of their own. */
interface Io {
  serve(signal: AbortSignal): Promise<void>
  fail(error: SluiceError): void
  close(): Promise<void>
  status(): IoStatus | Promise<IoStatus>
}

/**
 * One worker: a model in its sessions, and one replica or IO_THREADS of them.
 *
 *   CREATED ─▶ STARTING ─▶ RUNNING ─▶ DRAINING ─▶ CLOSED
 *                 └───────────────────▲   (an error that ends it, or `signal`, at any time)
 *
 * STARTING waits as long as it takes for brokers, topics and the registry; what waiting cannot mend ends the worker.
 */
export class Worker {
  readonly #settings: WorkerSettings
  readonly #tools: WorkerTools
  readonly #connection: ConnectionOptions
  #model: ServedModel | undefined
  #io: Io | undefined
  /** What ended the sessions before there was anything to end. */
  #early: SluiceError | undefined

  /** @throws SluiceError `invalid-config` */
  constructor(settings: WorkerSettings, tools: WorkerTools) {
    this.#settings = settings
    this.#tools = tools
    this.#connection = connectionOptions(settings)
  }

  /**
   * Serves until `signal` is aborted, then drains, commits and leaves the group.
   * @throws SluiceError with response `exit` when going on cannot help; everything is closed by then
   */
  async run(signal: AbortSignal): Promise<void> {
    const { health, clock } = this.#tools
    health.enter('STARTING')
    try {
      this.#model = await this.#openModel()
      this.#io = this.#createIo(this.#model)
      if (this.#early !== undefined) this.#io.fail(this.#early)
      await this.#io.serve(signal)
    } finally {
      health.enter('DRAINING')
      await within(clock, CLOSE_TIMEOUT_MS, Promise.all([this.#model?.close(), this.#io?.close()]))
      health.enter('CLOSED')
    }
  }

  /** For the status page. */
  async status(): Promise<WorkerStatus> {
    const { groupId, inputTopic, outputTopic, deadLetterTopic, processingGuarantee, sessions } = this.#settings
    const model = this.#model
    const nothing: IoStatus = { totals: this.#tools.metrics.totals, partitions: [] }
    return {
      groupId,
      inputTopic,
      outputTopic,
      deadLetterTopic,
      guarantee: processingGuarantee,
      model: model === undefined ? null : identityOf(model.spec),
      sessions:
        model === undefined ? null : { size: model.pool.size, busy: model.pool.size - model.pool.idle, spec: sessions },
      ...((await this.#io?.status()) ?? nothing),
    }
  }

  #openModel(): Promise<ServedModel> {
    const { log, clock, metrics } = this.#tools
    const { ioThreads } = this.#settings
    const slotsFor = ioThreads === 1 ? slotsOfOne : (sessions: number) => ioThreads * slotsOfEach(sessions)
    const telemetry = metrics.pool.bind(metrics)
    return openModel(this.#settings, { log, clock, telemetry, onCondition: error => this.#onSessions(error) }, slotsFor)
  }

  #createIo(model: ServedModel): Io {
    const settings = this.#settings
    const connection = this.#connection
    const tools = this.#tools
    if (settings.ioThreads > 1) return new IoThreads({ settings, connection, tools, model })
    const { spec, pool, sample } = model
    return new ReplicaRun({ settings, connection, tools, model: { spec, pool, probe: new Probe(spec, pool, sample) } })
  }

  /** What the pool says of its sessions as a whole. */
  #onSessions(error: SluiceError | undefined): void {
    const { health } = this.#tools
    if (error === undefined) health.clear('session-pool')
    else if (error.response !== 'exit') health.set('session-pool', error)
    else if (this.#io === undefined) this.#early = error
    else this.#io.fail(error)
  }
}
