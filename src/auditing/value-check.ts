import { headerTexts } from '../audit/header-walker.ts'
import { type Pair, ValueJoin } from '../audit/value-join.ts'
import { placeText, type UncheckedReason } from '../audit/verdict.ts'
import type { SchemaSource } from '../codec/schema-source.ts'
import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import type { Log } from '../core/log.ts'
import { offsetOf, type RecordBatch } from '../core/record-batch.ts'
import { openSchemas } from '../serving/formats.ts'
import type { ValueVerdict, Witness } from './audit-contract.ts'
import { AuditModels } from './audit-models.ts'
import type { Judgement } from './model-rerun.ts'

/** What inputs and predictions that wait for each other may take. */
const BUDGET_BYTES = 256 * 1024 * 1024
/** How long one side waits for the other before it goes on and things are dropped. */
const STALL_MS = 2_000
const LOOK_MS = 20
const MODEL_HEADERS = ['model-name', 'model-version', 'model-sha256'].map(name => Buffer.from(name))

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
 * worker has (INPUT_FORMAT, SCHEMA_*, OUTPUT_FORMAT, MODEL_STORE), and compares the values by the tolerance of the bundle.
 */
export class ValueCheck implements Witness {
  readonly #options: ValueCheckOptions
  readonly #models: AuditModels
  readonly #examples: string[] = []
  /** Why predictions were not compared, in words, with their number. */
  readonly #notes = new Map<string, number>()
  #join: ValueJoin | undefined
  #work: Promise<void> = Promise.resolve()
  #equal = 0
  #identical = 0
  #different = 0
  #withoutVersion = 0
  #undecodable = 0

  private constructor(options: ValueCheckOptions, schemas: SchemaSource | undefined) {
    this.#options = options
    const { settings, log, clock } = options
    this.#models = new AuditModels({ settings, schemas, log, clock })
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
    const reasons: Record<UncheckedReason, number> = {
      version: this.#withoutVersion,
      memory: this.#join?.dropped ?? 0,
      input: this.#join?.alone ?? 0,
      undecodable: this.#undecodable,
    }
    return {
      equal: this.#equal,
      identical: this.#identical,
      different: { count: this.#different, examples: this.#examples },
      unchecked: { count: Object.values(reasons).reduce((sum, count) => sum + count, 0), reasons },
      notes: [...this.#notes].map(([why, count]) => `${count} values unchecked: ${why}`),
    }
  }

  /** Once what is under way has ended. */
  async close(): Promise<void> {
    await this.#work.catch(() => {})
    await this.#models.close()
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
      const [name = '', version = '', sha256 = ''] = headers.split('\n')
      const model = await this.#models.get({ name, version, sha256 })
      if (typeof model === 'string') {
        this.#withoutVersion += ofModel.length
        this.#note(model, ofModel.length)
      } else {
        await model.compare(ofModel, (pair, judgement) => this.#judged(pair, judgement))
      }
    }
  }

  #judged({ prediction, predictionIndex }: Pair, judgement: Judgement): void {
    switch (judgement.kind) {
      case 'equal':
        this.#equal++
        if (judgement.identical) this.#identical++
        break
      case 'undecodable':
        this.#undecodable++
        this.#note(judgement.what, 1)
        break
      case 'different': {
        this.#different++
        if (this.#examples.length >= this.#options.examples) return
        const { topic, partition } = prediction
        const place = placeText({ topic, partition, offset: offsetOf(prediction, predictionIndex) })
        this.#examples.push(`${place}: ${judgement.how}`)
      }
    }
  }

  #note(why: string, count: number): void {
    this.#notes.set(why, (this.#notes.get(why) ?? 0) + count)
  }
}
