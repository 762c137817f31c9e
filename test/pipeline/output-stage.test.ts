import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PredictionEncoder } from '../../src/core/codec.ts'
import type { RecordFault } from '../../src/core/errors.ts'
import { MicroBatch } from '../../src/pipeline/micro-batch.ts'
import { emitPart } from '../../src/pipeline/output-stage.ts'
import { Part, TaskRun } from '../../src/pipeline/task-run.ts'
import { batchOf, range, textEncoder } from './fake-codec.ts'
import { FakeOutput, prediction } from './fake-committer.ts'
import { FakePool, predictionFor } from './fake-pool.ts'
import { commitLoop, MODEL, servingBy, TaskHarness } from './task-harness.ts'

interface Options {
  /** Records that could not be decoded, by index. */
  readonly undecodable?: Record<number, RecordFault>
  /** Rows that the model refused. */
  readonly refused?: Record<number, RecordFault>
  readonly encoder?: PredictionEncoder
  readonly maxOutputBytes?: number
  /** Rows of others before ours. */
  readonly firstRow?: number
}

/** Emits records [from, to) of a batch that begins at offset 100. */
function emit(from: number, to: number, options: Options = {}) {
  const { undecodable = {}, refused = {}, encoder = textEncoder, maxOutputBytes = 1_000, firstRow = 0 } = options
  const microBatch = new MicroBatch(new FakePool({ capacity: 16 }).acquire()!, 0, () => {})
  microBatch.model = { ...MODEL, provider: 'cpu' }
  const serving = servingBy({ ...new TaskHarness().version, encoder })
  const queued = { batch: batchOf(range(100, 120)), cursor: from, endOffset: 120 }
  const part = new Part(new TaskRun(100, commitLoop(100), () => {}), queued, firstRow, serving, 'stable')
  part.to = to
  part.microBatch = microBatch
  const outputs = microBatch.slot.outputs[0]!.data as Float64Array
  let row = firstRow
  for (let index = from; index < to; index++) {
    const fault = undecodable[index]
    if (fault === undefined) outputs[row++] = predictionFor(100 + index)
    else part.fault(index, fault)
  }
  const faults = Object.entries(refused).map(([at, fault]): [number, RecordFault] => [Number(at), fault])
  if (faults.length > 0) microBatch.faults = new Map(faults)
  const output = new FakeOutput()
  const counts = emitPart(part, { output, maxOutputBytes })
  return { written: output.take(), counts, model: microBatch.model }
}

const garbage: RecordFault = { code: 'invalid-avro', message: 'garbage' }
const refusal: RecordFault = { code: 'inference-failed', message: 'the model fails on this row' }

test('each record of the part becomes the prediction of its row', () => {
  const { written, counts } = emit(3, 7, { firstRow: 5 })
  assert.deepEqual(written, range(103, 107).map(prediction))
  assert.deepEqual(counts, { predictions: 4, deadLetters: [] })
})

test('a record that was not decoded has no row: those after it keep theirs', () => {
  const { written, counts } = emit(0, 4, { undecodable: { 0: garbage, 2: garbage } })
  const deadLetter = { said: 'invalid-avro', stage: 'decode', model: undefined }
  assert.deepEqual(written, [
    { offset: 100, ...deadLetter },
    prediction(101),
    { offset: 102, ...deadLetter },
    prediction(103),
  ])
  assert.deepEqual(counts, { predictions: 2, deadLetters: ['invalid-avro', 'invalid-avro'] })
})

test('a row that the model refuses becomes a dead letter that names the model; rows are not records', () => {
  const { written, model } = emit(0, 3, { firstRow: 4, undecodable: { 0: garbage }, refused: { 5: refusal } })
  assert.deepEqual(written.slice(1), [
    prediction(101),
    { offset: 102, said: 'inference-failed', stage: 'inference', model },
  ])
})

test('a prediction that is too large becomes a dead letter, its neighbours do not', () => {
  const encoder: PredictionEncoder = {
    maxBytes: row => (row === 1 ? 10_000 : 24),
    encode: (row, outputs, target, at) =>
      row === 1 ? target.fill('x', at, at + 9_000).length && at + 9_000 : textEncoder.encode(row, outputs, target, at),
  }
  const { written, counts } = emit(0, 3, { encoder, maxOutputBytes: 8_999 })
  assert.deepEqual(
    written.map(({ offset, said, stage }) => [offset, said, stage]),
    [
      [100, '201', undefined],
      [101, 'prediction-too-large', 'encode'],
      [102, '205', undefined],
    ],
  )
  assert.deepEqual(counts, { predictions: 2, deadLetters: ['prediction-too-large'] })
  assert.equal(emit(0, 3, { encoder, maxOutputBytes: 9_000 }).counts.predictions, 3)
})
