import { headerTexts } from './audit/header-walker.ts'
import { type Pair, ValueJoin } from './audit/value-join.ts'
import { placeText } from './audit/verdict.ts'
import type { ValueVerdict, Witness } from './auditing.ts'
import type { SchemaSource } from './codec/schema-source.ts'
import type { Settings } from './config/settings.ts'
import type { Clock } from './core/clock.ts'
import { messageOf, SluiceError } from './core/errors.ts'
import type { Log } from './core/log.ts'
import { offsetOf, type RecordBatch } from './core/record-batch.ts'
import { ModelRerun } from './model-rerun.ts'
import { openSchemas } from './serving.ts'

/** What inputs and predictions that wait for each other may take. */
const BUDGET_BYTES = 256 * 1024 * 1024
/** How long one side waits for the other before it goes on and things are dropped. */
const STALL_MS = 2_000
const LOOK_MS = 20
const MODEL_HEADERS = ['model-name', 'model-version', 'model-sha256', 'execution-provider'].map(name =>
  Buffer.from(name),
)

export interface ValueCheckOptions {
  readonly settings: Settings
  readonly inputTopic: string
  readonly log: Log
  readonly clock: Clock
  /** Different values that are named. */
  readonly examples: number
  readonly budgetBytes?: number
}

/**
 * Predicts again what was predicted, with the model version that each prediction's headers name and the settings that the
 * worker has (INPUT_FORMAT, SCHEMA_*, OUTPUT_FORMAT, MODEL_STORE), and compares the values.
 */
export class ValueCheck implements Witness {
  readonly #options: ValueCheckOptions
  readonly #schemas: SchemaSource | undefined
  /** By name, version and hash; a text says why there is none. */
  readonly #models = new Map<string, Promise<ModelRerun | string>>()
  readonly #examples: string[] = []
  readonly #notes = new Map<string, number>()
  #join: ValueJoin | undefined
  #work: Promise<void> = Promise.resolve()
  #equal = 0
  #different = 0
  #unchecked = 0

  private constructor(options: ValueCheckOptions, schemas: SchemaSource | undefined) {
    this.#options = options
    this.#schemas = schemas
  }

  /** @throws SluiceError `schema-dir-invalid` */
  static async open(options: ValueCheckOptions): Promise<ValueCheck> {
    return new ValueCheck(options, await openSchemas(options.settings, options.clock, options.log))
  }

  range(from: readonly number[], to: readonly number[] | undefined): void {
    const { inputTopic, budgetBytes = BUDGET_BYTES } = this.#options
    this.#join = new ValueJoin({ inputTopic, from, to, budgetBytes })
  }

  input(batch: RecordBatch): void {
    this.#join!.input(batch)
  }

  prediction(batch: RecordBatch): void {
    this.#join!.prediction(batch)
  }

  deadLetter(batch: RecordBatch): void {
    this.#join!.deadLetter(batch)
  }

  /** Resolves when what was found has been compared, and, within limits, when the other side has caught up. */
  async room(side: 'input' | 'output'): Promise<void> {
    const { clock } = this.#options
    await this.#compareFound()
    const deadline = clock.now() + STALL_MS
    while (this.#join!.isCrowded(side) && clock.now() < deadline) await clock.sleep(LOOK_MS)
  }

  /** The verdict. Call it once, at the end. */
  async finish(): Promise<ValueVerdict> {
    await this.#compareFound()
    this.#join?.finish()
    const unchecked = this.#unchecked + (this.#join?.unchecked ?? 0)
    const notes = [...this.#notes].map(([reason, count]) => `${count} values unchecked: ${reason}`)
    return { equal: this.#equal, different: { count: this.#different, examples: this.#examples }, unchecked, notes }
  }

  async close(): Promise<void> {
    for (const model of this.#models.values()) {
      const rerun = await model.catch(() => undefined)
      if (rerun instanceof ModelRerun) await rerun.close()
    }
  }

  /** One after another: all use the same slots. */
  #compareFound(): Promise<void> {
    this.#work = this.#work.then(() => this.#compare(this.#join?.take() ?? []))
    return this.#work
  }

  async #compare(pairs: readonly Pair[]): Promise<void> {
    const byModel = Map.groupBy(pairs, pair =>
      headerTexts(pair.prediction, pair.predictionIndex, MODEL_HEADERS).join('\n'),
    )
    for (const [headers, ofModel] of byModel) {
      const [name = '', version = '', sha256 = '', provider = ''] = headers.split('\n')
      const model = await this.#model(name, version, sha256)
      if (typeof model === 'string') {
        this.#unchecked += ofModel.length
        this.#notes.set(model, (this.#notes.get(model) ?? 0) + ofModel.length)
        continue
      }
      await model.compare(ofModel, provider, (pair, difference) => this.#judged(pair, difference))
    }
  }

  #judged({ prediction, predictionIndex }: Pair, difference: string | undefined): void {
    if (difference === undefined) {
      this.#equal++
      return
    }
    this.#different++
    if (this.#examples.length >= this.#options.examples) return
    const { topic, partition } = prediction
    const place = placeText({ topic, partition, offset: offsetOf(prediction, predictionIndex) })
    this.#examples.push(`${place}: ${difference}`)
  }

  #model(name: string, version: string, sha256: string): Promise<ModelRerun | string> {
    const key = [name, version, sha256].join('\n')
    let model = this.#models.get(key)
    if (model === undefined) {
      model = this.#open(name, version, sha256)
      this.#models.set(key, model)
    }
    return model
  }

  async #open(modelName: string, modelVersion: string, sha256: string): Promise<ModelRerun | string> {
    const { settings, log, clock } = this.#options
    if (modelName === '' || modelVersion === '') return 'they do not name a model and its version'
    try {
      const rerun = await ModelRerun.open({ ...settings, modelName, modelVersion }, this.#schemas, log, clock)
      if (rerun.sha256.startsWith(sha256)) return rerun
      await rerun.close()
      return `model "${modelName}", version "${modelVersion}" in the store has another hash than ${sha256}`
    } catch (error) {
      if (error instanceof SluiceError && error.response === 'exit') return messageOf(error)
      throw error
    }
  }
}
