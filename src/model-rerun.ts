import type { Pair } from './audit/value-join.ts'
import { createFeatureDecoder } from './codec/feature-decoder.ts'
import { createPredictionEncoder } from './codec/prediction-encoder.ts'
import { predictionSchema } from './codec/prediction-schema.ts'
import type { SchemaSource } from './codec/schema-source.ts'
import type { Settings } from './config/settings.ts'
import type { Clock } from './core/clock.ts'
import type { FeatureDecoder, PredictionEncoder } from './core/codec.ts'
import { type RecordFault, SluiceError } from './core/errors.ts'
import type { Log } from './core/log.ts'
import type { InputSpec, OutputSpec } from './core/model.ts'
import { type RecordBatch, valueBytes } from './core/record-batch.ts'
import { isScalar, unpackRow } from './core/rows.ts'
import { byteLength, type TensorColumn, type TensorSlot, viewOf } from './core/tensor.ts'
import { outputDifference } from './models/verification.ts'
import { createDecoder, openModel, type ServedModel } from './serving.ts'

/** Told of each pair: how the prediction differs, or undefined where it does not. */
export type OnJudged = (pair: Pair, difference: string | undefined) => void

type RerunSettings = Settings & { readonly modelName: string }

/** Confluent's framing: a zero, then the schema id. */
const FRAME_BYTES = 5

/**
 * A model version that predicts again. On the CPU a row has the same bits in every batch, so values must be equal byte
 * for byte; where one of the two ran elsewhere, they may differ by what the bundle tolerates of golden samples.
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
    this.#predicted = model.spec.outputs.map(spec => ({
      spec,
      data: viewOf(spec.type, new ArrayBuffer(byteLength(spec.type, spec.width)), spec.width),
    }))
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
      const predictions = predictionDecoder(settings, model, schemas, clock)
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

  /** Predicts the inputs of `pairs` again, as many at a time as a slot holds. `provider` made the predictions. */
  async compare(pairs: readonly Pair[], provider: string, onJudged: OnJudged): Promise<void> {
    let packed: Pair[] = []
    for (const pair of pairs) {
      const fault = await decode(this.#features, pair.input, pair.inputIndex, packed.length, this.#slot.inputs)
      if (fault === undefined) packed.push(pair)
      else onJudged(pair, `its input cannot be decoded, and should be a dead letter (${fault.code}: ${fault.message})`)
      if (packed.length < this.#slot.capacity) continue
      await this.#run(packed, provider, onJudged)
      packed = []
    }
    if (packed.length > 0) await this.#run(packed, provider, onJudged)
  }

  async #run(packed: readonly Pair[], provider: string, onJudged: OnJudged): Promise<void> {
    for (const part of await this.#predict(0, packed.length)) {
      for (let row = part.first; row < part.first + part.rows; row++) {
        const pair = packed[row]!
        if (part.refused !== undefined) onJudged(pair, part.refused)
        else if (provider === 'cpu' && part.provider === 'cpu') onJudged(pair, this.#byteDifference(pair, row))
        else onJudged(pair, await this.#valueDifference(pair, row))
      }
    }
  }

  /** Runs rows, and where the runtime refuses them, halves of them, down to the rows that are to blame. */
  async #predict(first: number, rows: number): Promise<Part[]> {
    try {
      const { provider } = await this.#model.pool.run(this.#slot, first, rows)
      return [{ first, rows, provider }]
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'inference-failed') throw error
      if (rows === 1) return [{ first, rows, refused: `the model refuses its input: ${error.message}` }]
      const half = rows >>> 1
      return [...(await this.#predict(first, half)), ...(await this.#predict(first + half, rows - half))]
    }
  }

  #byteDifference({ prediction, predictionIndex }: Pair, row: number): string | undefined {
    const value = valueBytes(prediction, predictionIndex)
    if (value === null) return 'its value is null'
    if (this.#settings.outputFormat === 'avro' && (value.length < FRAME_BYTES || value[0] !== 0)) {
      return 'its value has no Confluent framing, as OUTPUT_FORMAT=avro says'
    }
    const encoder = this.#encoder(this.#settings.outputFormat === 'avro' ? value.readInt32BE(1) : 0)
    const needed = encoder.maxBytes(row, this.#slot.outputs)
    if (this.#scratch.length < needed) this.#scratch = Buffer.alloc(needed * 2)
    const length = encoder.encode(row, this.#slot.outputs, this.#scratch, 0)
    if (value.equals(this.#scratch.subarray(0, length))) return undefined
    return `its value is ${hex(value)}, but the model predicts ${hex(this.#scratch.subarray(0, length))}`
  }

  async #valueDifference({ prediction, predictionIndex }: Pair, row: number): Promise<string | undefined> {
    const fault = await decode(this.#predictions, prediction, predictionIndex, 0, this.#predicted)
    if (fault !== undefined) return `it cannot be decoded: ${fault.message}`
    const { outputs, tolerance } = this.#model.spec
    const expected = unpackRow(outputs, this.#slot.outputs, row)
    const got = unpackRow(outputs, this.#predicted, 0)
    for (const output of outputs) {
      const difference = outputDifference(output, expected[output.field], got[output.field], tolerance)
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

/** Rows that ran together on a provider, or one that the model refused. */
interface Part {
  readonly first: number
  readonly rows: number
  readonly provider?: string
  readonly refused?: string
}

function predictionDecoder(
  settings: RerunSettings,
  { spec }: ServedModel,
  schemas: SchemaSource | undefined,
  clock: Clock,
): FeatureDecoder {
  const options = { inputs: spec.outputs.map(asInput), allowNonFinite: true, maxRecordBytes: settings.maxOutputBytes }
  switch (settings.outputFormat) {
    case 'avro':
      return createFeatureDecoder({ ...options, format: 'avro', schemas: schemas!, clock })
    case 'avro-raw':
      return createFeatureDecoder({
        ...options,
        format: 'avro-raw',
        writerSchema: predictionSchema(spec, 'predictions'),
      })
    case 'json':
      return createFeatureDecoder({ ...options, format: 'json' })
  }
}

/** An output as an input that has its field for a feature. */
function asInput(output: OutputSpec): InputSpec {
  return { ...output, features: [{ name: output.field, length: output.width, array: !isScalar(output) }] }
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

const SHOWN_BYTES = 32

function hex(value: Uint8Array): string {
  const shown = Buffer.from(value.subarray(0, SHOWN_BYTES)).toString('hex')
  return value.length > SHOWN_BYTES ? `${shown}… (${value.length} bytes)` : shown
}
