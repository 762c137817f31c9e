import { headerTexts } from '../audit/header-walker.ts'
import type { Clock } from '../core/clock.ts'
import type { FeatureDecoder } from '../core/codec.ts'
import { COMPARED, type ComparedHeaders, type Comparison } from '../core/comparison.ts'
import { SluiceError } from '../core/errors.ts'
import type { ModelSpec, OutputSpec } from '../core/model.ts'
import { plainJson } from '../core/plain-json.ts'
import type { RecordBatch } from '../core/record-batch.ts'
import { unpackRow } from '../core/rows.ts'
import { Signal } from '../core/signal.ts'
import type { TensorColumn } from '../core/tensor.ts'
import type { TopicView } from '../kafka/log-offsets.ts'
import { stableEndOffsets, startOffsets } from '../kafka/log-offsets.ts'
import { TopicScan } from '../kafka/topic-scan.ts'
import { asGolden, outputDifference } from '../models/verification.ts'

/** What a live version said of a record. */
interface LiveAnswer {
  readonly version: string
  /** By field; undefined where it cannot be read as a prediction of this model. */
  readonly values: Record<string, unknown> | undefined
}

export interface LiveAnswersOptions {
  /** The live output, with as many partitions as the input; connections of its own. */
  readonly live: TopicView
  readonly inputTopic: string
  readonly partition: number
  /** Reads the live predictions, one at a time, into `columns`. */
  readonly decoder: FeatureDecoder
  readonly columns: readonly TensorColumn[]
  /** Of the versions that are replayed. */
  readonly specs: ReadonlyMap<string, ModelSpec>
  readonly clock: Clock
  readonly onTrouble: (message: string) => void
  /** An error after which nothing can be compared. */
  readonly onFailed: (error: unknown) => void
}

/** Answers that wait for the replay to come to their records. */
const MOST_WAITING = 20_000
const AGAIN_MS = 1_000
const HEADERS = ['source', 'model-version', 'replay-id'].map(name => Buffer.from(name))

/**
 * What the live group said of one input partition, read along beside a replay of it: both are in the order of the input. A
 * record that was answered twice, because the group was set back, counts as it was answered first.
 */
export class LiveAnswers implements Comparison {
  readonly #options: LiveAnswersOptions
  readonly #waiting = new Map<number, LiveAnswer>()
  readonly #taken = new Signal()
  #reading = new AbortController()
  /** Of the records below, all is known. */
  #knownTo = 0
  #from = 0
  /** Somebody waits for what was said of records below. */
  #needed = 0

  constructor(options: LiveAnswersOptions) {
    this.#options = options
  }

  begin(offset: number, onMore: () => void): void {
    this.close()
    this.#waiting.clear()
    this.#reading = new AbortController()
    this.#from = offset
    this.#knownTo = offset
    this.#needed = offset
    const { signal } = this.#reading
    this.#read(signal, onMore).catch(error => {
      if (!signal.aborted) this.#options.onFailed(error)
    })
  }

  isReady(from: number, to: number): boolean {
    for (const offset of this.#waiting.keys()) {
      if (offset >= from) break
      this.#waiting.delete(offset)
    }
    this.#needed = Math.max(this.#needed, to)
    if (this.#mayRead) this.#taken.notify()
    return to <= this.#knownTo
  }

  compare(offset: number, version: string, outputs: readonly TensorColumn[], row: number): ComparedHeaders | undefined {
    const answer = this.#waiting.get(offset)
    if (answer?.values === undefined) return undefined
    const { values } = answer
    const spec = this.#options.specs.get(version)!
    const said = unpackRow(spec.outputs, outputs, row)
    const differs = spec.outputs.some(output => {
      return outputDifference(output, asGolden(values[output.field]), said[output.field], spec.tolerance) !== undefined
    })
    return {
      [COMPARED.version]: answer.version,
      [COMPARED.prediction]: plainJson(values),
      [COMPARED.differs]: String(differs),
    }
  }

  close(): void {
    this.#reading.abort()
    this.#taken.notify()
  }

  /** Not while many answers wait for their records, unless the next records wait for more of them. */
  get #mayRead(): boolean {
    return this.#waiting.size < MOST_WAITING || this.#knownTo < this.#needed
  }

  /** To the end of the live output as it is when the task begins. */
  async #read(signal: AbortSignal, onMore: () => void): Promise<void> {
    const { live, partition, clock } = this.#options
    const [starts, ends] = await Promise.all([startOffsets(live), stableEndOffsets(live)])
    const fetched: RecordBatch[] = []
    const scan = new TopicScan({
      ...live,
      clock,
      start: ends.map((end, other) => (other === partition ? starts[other]! : end)),
      accept: batch => fetched.push(batch),
      room: async () => {
        await this.#keep(fetched, signal)
        setImmediate(onMore)
        while (!this.#mayRead && !signal.aborted) await this.#taken.wait()
      },
      onTrouble: error => error && this.#options.onTrouble(error.message),
    })
    await scan.readTo(ends, { patienceMs: Number.POSITIVE_INFINITY, signal })
    await this.#keep(fetched, signal)
    if (signal.aborted) return
    this.#knownTo = Number.POSITIVE_INFINITY
    setImmediate(onMore)
  }

  async #keep(fetched: RecordBatch[], signal: AbortSignal): Promise<void> {
    for (const batch of fetched.splice(0)) {
      for (let index = 0; index < batch.count && !signal.aborted; index++) await this.#keepOne(batch, index, signal)
      batch.lease?.letGo()
    }
  }

  async #keepOne(batch: RecordBatch, index: number, signal: AbortSignal): Promise<void> {
    const { inputTopic, partition } = this.#options
    const [source = '', version = '', replay] = headerTexts(batch, index, HEADERS)
    const prefix = `${inputTopic}/${partition}/`
    if (replay !== '' || !source.startsWith(prefix)) return
    const offset = Number(source.slice(prefix.length))
    // What comes twice is behind what is known, and was answered before.
    if (!(offset >= this.#knownTo)) return
    if (offset >= this.#from) {
      const values = await this.#valuesOf(batch, index)
      if (signal.aborted) return // it has begun anew meanwhile
      this.#waiting.set(offset, { version, values })
    }
    this.#knownTo = offset + 1
  }

  async #valuesOf(batch: RecordBatch, index: number): Promise<Record<string, unknown> | undefined> {
    const { decoder, columns } = this.#options
    for (;;) {
      const outcome = decoder.decode(batch, index, 0, columns)
      if (outcome !== undefined && 'schemaId' in outcome) await this.#load(outcome.schemaId)
      else if (outcome !== undefined) return undefined
      else
        return unpackRow(
          columns.map(({ spec }) => spec as OutputSpec),
          columns,
          0,
        )
    }
  }

  /** Tries until the registry answers. */
  async #load(schemaId: number): Promise<void> {
    const { decoder, clock, onTrouble } = this.#options
    try {
      await decoder.load(schemaId)
    } catch (error) {
      if (!(error instanceof SluiceError) || error.response !== 'retry') throw error
      onTrouble(error.message)
      await clock.sleep(AGAIN_MS, this.#reading.signal)
    }
  }
}
