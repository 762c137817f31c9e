import { COLUMNS, Column, offsetOf, type RecordBatch } from '../core/record-batch.ts'
import { SourceKind, SourceReader } from './source-reader.ts'

/** A prediction, and the input record that it names. */
export interface Pair {
  readonly input: RecordBatch
  readonly inputIndex: number
  readonly prediction: RecordBatch
  readonly predictionIndex: number
}

export interface ValueJoinOptions {
  readonly inputTopic: string
  /** By input partition; outputs for records outside are left alone. */
  readonly from: readonly number[]
  readonly to?: readonly number[] | undefined
  /** What inputs and predictions that wait for each other may take. */
  readonly budgetBytes: number
}

/** A batch of which some records wait. */
interface Held {
  readonly batch: RecordBatch
  readonly bytes: number
  left: number
}

interface Waiting {
  readonly held: Held
  readonly index: number
  readonly offset: number
}

interface Lane {
  /** In the order of their offsets. */
  readonly inputs: Held[]
  /** In the order in which they came, which is almost that of their sources. */
  readonly predictions: Waiting[]
  /** Offset after the last input record that came. */
  inputEnd: number
  /** Offset after the last input record that was dropped to keep the budget. */
  droppedEnd: number
}

/**
 * Brings each prediction together with its input record, while both are read at the same time. Whoever comes first waits
 * for the other, within a budget of bytes; when that is spent, what has waited longest is dropped, and the predictions
 * that this leaves alone are counted as dropped.
 */
export class ValueJoin {
  readonly #options: ValueJoinOptions
  readonly #source: SourceReader
  readonly #lanes: readonly Lane[]
  /** In the order in which they came: the oldest first. */
  readonly #heldInputs = new Map<Held, Lane>()
  readonly #heldPredictions = new Set<Held>()
  #pairs: Pair[] = []
  #inputBytes = 0
  #predictionBytes = 0
  #dropped = 0
  #alone = 0

  constructor(options: ValueJoinOptions) {
    this.#options = options
    this.#source = new SourceReader(options.inputTopic)
    this.#lanes = options.from.map(from => ({ inputs: [], predictions: [], inputEnd: from, droppedEnd: from }))
  }

  /** Predictions whose input was dropped to keep the budget, or that were dropped themselves. */
  get dropped(): number {
    return this.#dropped
  }

  /** Predictions that found no input record: it was never read, or earlier predictions of its batch have used it up. */
  get alone(): number {
    return this.#alone
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#inputBytes + this.#predictionBytes
  }

  /** Whether inputs, or outputs, take more than their half of the budget: the other side should come first. */
  isCrowded(side: 'input' | 'output'): boolean {
    return (side === 'input' ? this.#inputBytes : this.#predictionBytes) > this.#options.budgetBytes / 2
  }

  input(batch: RecordBatch): void {
    const lane = this.#lanes[batch.partition]!
    const held = hold(batch, batch.count)
    lane.inputs.push(held)
    lane.inputEnd = offsetOf(batch, batch.count - 1) + 1
    this.#heldInputs.set(held, lane)
    this.#inputBytes += held.bytes
    while (lane.predictions.length > 0 && lane.predictions[0]!.offset < lane.inputEnd) {
      const { held: prediction, index, offset } = lane.predictions.shift()!
      this.#letGo(prediction)
      this.#match(lane, offset, prediction.batch, index)
    }
    this.#keepBudget()
  }

  prediction(batch: RecordBatch): void {
    let held: Held | undefined
    for (let index = 0; index < batch.count; index++) {
      const lane = this.#laneOf(batch, index)
      if (lane === undefined) continue
      const { offset } = this.#source
      if (offset < lane.inputEnd) {
        this.#match(lane, offset, batch, index)
        continue
      }
      held ??= this.#holdPrediction(batch)
      held.left++
      lane.predictions.push({ held, index, offset })
    }
    this.#keepBudget()
  }

  /** Nothing waits for the input of a dead letter. */
  deadLetter(batch: RecordBatch): void {
    for (let index = 0; index < batch.count; index++) {
      const lane = this.#laneOf(batch, index)
      const held = lane === undefined ? undefined : find(lane.inputs, this.#source.offset)
      if (held !== undefined) this.#answered(held)
    }
  }

  /** The pairs that were found since the last call. */
  take(): Pair[] {
    const pairs = this.#pairs
    this.#pairs = []
    return pairs
  }

  /** Nothing more will come: what still waits stays alone. */
  finish(): void {
    for (const lane of this.#lanes) this.#alone += lane.predictions.splice(0).length
    this.#heldPredictions.clear()
    this.#heldInputs.clear()
    this.#inputBytes = 0
    this.#predictionBytes = 0
  }

  /** The lane of an output's source, which is then in `#source`; undefined where it is not to be looked at. */
  #laneOf(batch: RecordBatch, index: number): Lane | undefined {
    if (this.#source.read(batch, index) !== SourceKind.ours) return undefined
    const { partition, offset } = this.#source
    const { from, to } = this.#options
    const lane = this.#lanes[partition]
    return lane === undefined || offset < from[partition]! || offset >= (to?.[partition] ?? Infinity) ? undefined : lane
  }

  /** The input of this prediction has come, or never will. */
  #match(lane: Lane, offset: number, prediction: RecordBatch, predictionIndex: number): void {
    const held = find(lane.inputs, offset)
    const inputIndex = held === undefined ? -1 : indexOf(held.batch, offset)
    if (held === undefined || inputIndex < 0) {
      // Inputs are dropped in the order of their offsets.
      if (offset < lane.droppedEnd) this.#dropped++
      else this.#alone++
      return
    }
    this.#pairs.push({ input: held.batch, inputIndex, prediction, predictionIndex })
    this.#answered(held)
  }

  #answered(held: Held): void {
    held.left--
    if (held.left === 0) this.#dropInput(held)
  }

  #holdPrediction(batch: RecordBatch): Held {
    const held = hold(batch, 0)
    this.#heldPredictions.add(held)
    this.#predictionBytes += held.bytes
    return held
  }

  #letGo(held: Held): void {
    held.left--
    if (held.left > 0 || !this.#heldPredictions.delete(held)) return
    this.#predictionBytes -= held.bytes
  }

  #dropInput(held: Held): void {
    const lane = this.#heldInputs.get(held)
    if (lane === undefined) return
    this.#heldInputs.delete(held)
    this.#inputBytes -= held.bytes
    lane.inputs.splice(lane.inputs.indexOf(held), 1)
  }

  /** Drops the oldest of the side that takes more. */
  #keepBudget(): void {
    while (this.bytes > this.#options.budgetBytes) {
      if (this.#inputBytes >= this.#predictionBytes) this.#dropOldestInput()
      else this.#dropPrediction(this.#heldPredictions.values().next().value!)
    }
  }

  #dropOldestInput(): void {
    const [held, lane] = this.#heldInputs.entries().next().value!
    lane.droppedEnd = offsetOf(held.batch, held.batch.count - 1) + 1
    this.#dropInput(held)
  }

  #dropPrediction(held: Held): void {
    this.#heldPredictions.delete(held)
    this.#predictionBytes -= held.bytes
    for (const lane of this.#lanes) {
      const kept = lane.predictions.filter(waiting => waiting.held !== held)
      this.#dropped += lane.predictions.length - kept.length
      if (kept.length < lane.predictions.length) lane.predictions.splice(0, Infinity, ...kept)
    }
  }
}

/** With bytes of its own: those of a batch are a view of everything that one fetch brought. */
function hold(batch: RecordBatch, left: number): Held {
  const bytes = Buffer.from(batch.bytes)
  const size = bytes.length + batch.columns.byteLength + batch.timestamps.byteLength
  return { batch: { ...batch, bytes }, bytes: size, left }
}

/** The batch whose range of offsets holds `offset`. */
function find(batches: readonly Held[], offset: number): Held | undefined {
  let low = 0
  let high = batches.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (offsetOf(batches[middle]!.batch, 0) <= offset) low = middle + 1
    else high = middle
  }
  const held = batches[low - 1]
  return held !== undefined && offset <= offsetOf(held.batch, held.batch.count - 1) ? held : undefined
}

/** The index of the record at `offset`, or -1; at its place unless compaction has left gaps before it. */
function indexOf({ baseOffset, columns, count }: RecordBatch, offset: number): number {
  const delta = offset - baseOffset
  for (let index = Math.min(delta, count - 1); index >= 0; index--) {
    const found = columns[index * COLUMNS + Column.offsetDelta]!
    if (found === delta) return index
    if (found < delta) return -1
  }
  return -1
}
