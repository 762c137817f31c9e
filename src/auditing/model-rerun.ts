import type { Pair } from '../audit/value-join.ts'
import { createPredictionEncoder } from '../codec/prediction-encoder.ts'
import type { SchemaSource } from '../codec/schema-source.ts'
import type { Settings } from '../config/settings.ts'
import type { Clock } from '../core/clock.ts'
import type { FeatureDecoder, PredictionEncoder } from '../core/codec.ts'
import { type RecordFault, SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { type RecordBatch, valueBytes } from '../core/record-batch.ts'
import { unpackRow } from '../core/rows.ts'
import { ownColumn, type TensorColumn, type TensorSlot } from '../core/tensor.ts'
import { asGolden, outputDifference } from '../models/verification.ts'
import { createDecoder, createPredictionDecoder } from '../serving/formats.ts'
import { openModel, type ServedModel } from '../serving/serving.ts'

/** What came of comparing a prediction with what the model predicts now. */
export type Judgement =
  /** Within the tolerance of the bundle; `identical`: of the same bytes. */
  | { readonly kind: 'equal'; readonly identical: boolean }
  | { readonly kind: 'different'; readonly how: string }
  | { readonly kind: 'undecodable'; readonly what: string }

/** Told of each pair, once. */
export type OnJudged = (pair: Pair, judgement: Judgement) => void

type RerunSettings = Settings & { readonly modelName: string }

/** Confluent's framing: a zero, then the schema id. */
const FRAME_BYTES = 5

/**
 * A model version that predicts again. Values may differ by what the bundle tolerates of golden samples, on every
 * provider: the batches of then are not those of now, and even on one thread of a CPU a row alone may take another path
 * through a kernel than a row among others (ONNX Runtime multiplies a vector, not a matrix, in LinearRegressor and
 * LinearClassifier), which adds in another order.
 */
export class ModelRerun {
  readonly #model: ServedModel
  readonly #slot: TensorSlot
  readonly #features: FeatureDecoder
  readonly #settings: RerunSettings
  /** By schema id: the one that the prediction names, so that nothing has to be registered. */
  readonly #encoders = new Map<number, PredictionEncoder>()
  /** Reads predictions back, as if the outputs were the features of a model. */
  readonly #predictions: FeatureDecoder
  readonly #predicted: readonly TensorColumn[]
  #scratch = Buffer.alloc(4096)

  private constructor(
    model: ServedModel,
    settings: RerunSettings,
    features: FeatureDecoder,
    predictions: FeatureDecoder,
  ) {
    this.#model = model
    this.#settings = settings
    this.#features = features
    this.#predictions = predictions
    this.#predicted = model.spec.outputs.map(spec => ownColumn(spec, 1))
    const slot = model.pool.acquire()
    if (slot === undefined) throw new SluiceError('internal', 'The session pool has no slot to predict again in.')
    this.#slot = slot
  }

  /** Throws as `openModel` and `createDecoder`. */
  static async open(
    settings: RerunSettings,
    schemas: SchemaSource | undefined,
    log: Log,
    clock: Clock,
  ): Promise<ModelRerun> {
    const model = await openModel(settings, { log, clock })
    try {
      const features = await createDecoder(settings, model.spec, schemas, clock)
      const predictions = createPredictionDecoder(settings, model.spec, schemas, clock)
      return new ModelRerun(model, settings, features, predictions)
    } catch (error) {
      await model.close()
      throw error
    }
  }

  get sha256(): string {
    return this.#model.spec.sha256
  }

  close(): Promise<void> {
    return this.#model.close()
  }

  /**
   * Predicts the inputs of `pairs` again, as many at a time as a slot holds.
   * @throws SluiceError `registry-unreachable`; `session-crashed` and what else the pool cannot recover from
   */
  async compare(pairs: readonly Pair[], onJudged: OnJudged): Promise<void> {
    let packed: Pair[] = []
    for (const pair of pairs) {
      const fault = await decode(this.#features, pair.input, pair.inputIndex, packed.length, this.#slot.inputs)
      if (fault === undefined) packed.push(pair)
      else onJudged(pair, ofBadInput(fault))
      if (packed.length < this.#slot.capacity) continue
      await this.#run(packed, onJudged)
      packed = []
    }
    if (packed.length > 0) await this.#run(packed, onJudged)
  }

  async #run(packed: readonly Pair[], onJudged: OnJudged): Promise<void> {
    for (const part of await this.#predict(0, packed.length)) {
      for (let row = part.first; row < part.first + part.rows; row++) {
        const pair = packed[row]!
        if (part.refused !== undefined) onJudged(pair, { kind: 'different', how: part.refused })
        else onJudged(pair, await this.#judge(pair, row))
      }
    }
  }

  /** Runs rows, and where the runtime refuses them, halves of them, down to the rows that are to blame. */
  async #predict(first: number, rows: number): Promise<Part[]> {
    try {
      await this.#model.pool.run(this.#slot, first, rows)
      return [{ first, rows }]
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'inference-failed') throw error
      if (rows === 1) return [{ first, rows, refused: `the model refuses its input: ${error.message}` }]
      const half = rows >>> 1
      return [...(await this.#predict(first, half)), ...(await this.#predict(first + half, rows - half))]
    }
  }

  /** Compares a prediction with row `row` of the outputs. */
  async #judge({ prediction, predictionIndex }: Pair, row: number): Promise<Judgement> {
    const value = valueBytes(prediction, predictionIndex)
    if (value === null) return { kind: 'different', how: 'its value is null' }
    if (this.#isIdentical(value, row)) return { kind: 'equal', identical: true }
    const fault = await decode(this.#predictions, prediction, predictionIndex, 0, this.#predicted)
    if (fault !== undefined) {
      return {
        kind: 'undecodable',
        what: `the prediction cannot be decoded with OUTPUT_FORMAT=${this.#settings.outputFormat} (${fault.code})`,
      }
    }
    const how = this.#difference(row)
    return how === undefined ? { kind: 'equal', identical: false } : { kind: 'different', how }
  }

  /** Whether a worker would write this value, to the byte, for row `row`. */
  #isIdentical(value: Buffer, row: number): boolean {
    const isFramed = this.#settings.outputFormat === 'avro'
    if (isFramed && value.length < FRAME_BYTES) return false
    const encoder = this.#encoder(isFramed ? value.readInt32BE(1) : 0)
    const needed = encoder.maxBytes(row, this.#slot.outputs)
    if (this.#scratch.length < needed) this.#scratch = Buffer.alloc(needed * 2)
    const length = encoder.encode(row, this.#slot.outputs, this.#scratch, 0)
    return value.equals(this.#scratch.subarray(0, length))
  }

  /** How the prediction that was decoded last differs from row `row`, in words. */
  #difference(row: number): string | undefined {
    const { outputs, tolerance } = this.#model.spec
    const expected = unpackRow(outputs, this.#slot.outputs, row)
    const got = unpackRow(outputs, this.#predicted, 0)
    for (const output of outputs) {
      const difference = outputDifference(output, asGolden(expected[output.field]), got[output.field], tolerance)
      if (difference !== undefined) return difference
    }
    return undefined
  }

  #encoder(schemaId: number): PredictionEncoder {
    let encoder = this.#encoders.get(schemaId)
    if (encoder === undefined) {
      encoder = createPredictionEncoder(this.#settings.outputFormat, this.#model.spec.outputs, schemaId)
      this.#encoders.set(schemaId, encoder)
    }
    return encoder
  }
}

/** Schemas that the worker had and that are gone now: the worker could decode the record all the same. */
const OF_THE_SCHEMA: ReadonlySet<string> = new Set(['unknown-schema-id', 'unusable-schema'])

/** What to think of a prediction whose input is bad. */
function ofBadInput({ code, message }: RecordFault): Judgement {
  if (OF_THE_SCHEMA.has(code)) return { kind: 'undecodable', what: `the input cannot be decoded (${code})` }
  return { kind: 'different', how: `its input cannot be decoded, and should be a dead letter (${code}: ${message})` }
}

/** Rows that ran together, or one that the model refused. */
interface Part {
  readonly first: number
  readonly rows: number
  readonly refused?: string
}

/** Decodes a record into row `row`, after loading what schema it needs. */
async function decode(
  decoder: FeatureDecoder,
  batch: RecordBatch,
  index: number,
  row: number,
  columns: readonly TensorColumn[],
): Promise<RecordFault | undefined> {
  for (;;) {
    const outcome = decoder.decode(batch, index, row, columns)
    if (outcome === undefined || !('schemaId' in outcome)) return outcome
    await decoder.load(outcome.schemaId)
  }
}
