import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { aborted, within } from '../core/waiting.ts'
import { openStore } from '../models/open-store.ts'
import type { Health } from '../ops/health.ts'
import type { Metrics } from '../ops/metrics.ts'
import { openModel, type ServedModel, slotsOfGuests } from '../serving/serving.ts'
import { whenStoreAnswers } from '../serving/store-wait.ts'
import { InferenceDesk } from './inference-desk.ts'

/** A model, and the version of it; undefined for the highest. */
export interface ModelChoice {
  readonly name: string
  readonly version: string | undefined
}

interface ServerTools {
  readonly log: Log
  readonly clock: Clock
  readonly health: Health
  readonly metrics: Metrics
}

/** Answers requests for models of the store, without Kafka: `sluice serve`. */
export class ModelServer {
  readonly desk: InferenceDesk
  readonly #settings: Settings
  readonly #tools: ServerTools
  readonly #opened: ServedModel[] = []
  readonly #failure = Promise.withResolvers<never>()

  constructor(settings: Settings, tools: ServerTools) {
    this.#settings = settings
    this.#tools = tools
    this.#failure.promise.catch(() => {})
    this.desk = new InferenceDesk({
      settings,
      maxQueueDelayMs: settings.maxQueueDelayMs,
      clock: tools.clock,
      metrics: tools.metrics,
      onCondition: ({ name, version }, error) => this.#onCondition(`requests-${name}-${version}`, error),
    })
  }

  /**
   * Opens what was chosen, or the highest version of every model of the store, and answers until `signal` is aborted; then
   * finishes what is under way, for DRAIN_TIMEOUT_MS at most.
   * @throws SluiceError of a version that cannot be opened; everything is closed by then
   */
  async run(choices: readonly ModelChoice[], signal: AbortSignal): Promise<void> {
    const { health, clock } = this.#tools
    const { drainTimeoutMs } = this.#settings
    health.enter('STARTING')
    try {
      await this.#openAll(choices, signal)
      if (signal.aborted) return
      this.desk.started()
      health.enter('RUNNING')
      await Promise.race([aborted(signal), this.#failure.promise])
    } finally {
      health.enter('DRAINING')
      await within(clock, drainTimeoutMs, this.desk.stop())
      await within(clock, CLOSE_TIMEOUT_MS, Promise.all(this.#opened.map(model => model.close())))
      health.enter('CLOSED')
    }
  }

  async #openAll(choices: readonly ModelChoice[], signal: AbortSignal): Promise<void> {
    const all = choices.length > 0 ? choices : await whenStoreAnswers(() => this.#listed(), this.#tools, signal)
    for (const choice of all ?? []) {
      const opened = await whenStoreAnswers(() => this.#open(choice), this.#tools, signal)
      if (opened === undefined) return
    }
  }

  async #listed(): Promise<ModelChoice[]> {
    const models = await openStore(this.#settings, this.#tools).list()
    if (models.length === 0)
      throw new SluiceError('model-missing', `the model store ${this.#settings.modelStore} is empty: nothing to serve`)
    return models.map(({ name }) => ({ name, version: undefined }))
  }

  /**
   * Opens a version once, however often it was chosen. Of several versions of a model the first that was chosen answers
   * requests that name none.
   */
  async #open(choice: ModelChoice): Promise<ServedModel> {
    const { name } = choice
    const version = choice.version ?? (await openStore(this.#settings, this.#tools).highest(name))
    const ofModel = this.#opened.filter(({ spec }) => spec.name === name)
    const there = ofModel.find(({ spec }) => spec.version === version)
    if (there !== undefined) return there
    const { metrics } = this.#tools
    const tools = {
      ...this.#tools,
      telemetry: metrics.pool.bind(metrics),
      onCondition: (error: SluiceError | undefined) => this.#onCondition(`sessions-${name}-${version}`, error),
    }
    const settings = { ...this.#settings, modelName: name, modelVersion: version }
    const model = this.desk.add(await openModel(settings, tools, slotsOfGuests))
    this.#opened.push(model)
    if (ofModel.length === 0) this.desk.prefer(name, version)
    return model
  }

  #onCondition(key: string, error: SluiceError | undefined): void {
    const { health } = this.#tools
    if (error === undefined) health.clear(key)
    else if (error.response === 'exit') this.#failure.reject(error)
    else health.set(key, error)
  }
}

/** For sessions that are in the runtime. */
const CLOSE_TIMEOUT_MS = 3_000
