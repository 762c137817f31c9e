import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Arrivals, planArrivals } from '../../bench/latency/arrivals.ts'
import { noSightings, Sightings } from '../../bench/latency/sightings.ts'
import { SourceReader } from '../../bench/latency/source-reader.ts'
import { COLUMNS, Column, type RecordBatch } from '../../src/core/record-batch.ts'
import { readRecordBatches } from '../../src/kafka/record-batch-reader.ts'
import { RecordBatchWriter } from '../../src/kafka/record-batch-writer.ts'
import { HeaderBuilder } from '../../src/kafka/record-headers.ts'
import { planOf } from './latency-plans.ts'

const NOBODY = { producerId: -1n, producerEpoch: -1, baseSequence: -1, transactional: false } as const

function sightings(plan: Arrivals, firstOffsets: readonly number[]): Sightings {
  return new Sightings(plan, noSightings(plan.count), firstOffsets)
}

describe('sightings', () => {
  it('give each record the time of its first output', () => {
    const seen = sightings(planOf([0, 1, 2]), [1_000])
    seen.add(0, 1_000, 50)
    seen.add(0, 1_001, 51)
    seen.add(0, 1_001, 52)
    assert.deepEqual([...seen.times], [50, 51, Number.NaN])
    assert.deepEqual(seen.tally(), { seen: 2, doubled: 1, misordered: 0, foreign: 0 })
  })

  it('tell records of different partitions apart', () => {
    const plan = planArrivals([{ rate: 200, seconds: 1 }], 3, 7)
    const seen = sightings(plan, [10, 20, 30])
    const ranks = [10, 20, 30]
    for (let record = 0; record < plan.count; record++) {
      const partition = plan.partitionOf[record]!
      seen.add(partition, ranks[partition]!++, record)
    }
    assert.deepEqual([...seen.times], [...plan.times.keys()])
    assert.deepEqual(seen.tally(), { seen: plan.count, doubled: 0, misordered: 0, foreign: 0 })
  })

  it('notice an output that was overtaken by another of its partition', () => {
    const seen = sightings(planOf([0, 1, 2, 3]), [0])
    for (const offset of [0, 2, 1, 3]) seen.add(0, offset, offset)
    assert.deepEqual(seen.tally(), { seen: 4, doubled: 0, misordered: 1, foreign: 0 })
  })

  it('take a repetition from an earlier offset for doubled, not for misordered', () => {
    const seen = sightings(planOf([0, 1, 2]), [0])
    for (const offset of [0, 1, 0, 1, 2]) seen.add(0, offset, offset)
    assert.deepEqual(seen.tally(), { seen: 3, doubled: 2, misordered: 0, foreign: 0 })
  })

  it('count what no record of the plan explains', () => {
    const seen = sightings(planOf([0, 1]), [5])
    for (const [partition, offset] of [
      [0, 4],
      [0, 7],
      [1, 5],
      [-1, -1],
    ] as const)
      seen.add(partition, offset, 1)
    assert.deepEqual(seen.tally(), { seen: 0, doubled: 0, misordered: 0, foreign: 4 })
  })
})

describe('the header source', () => {
  const cases: [string | undefined, number, number][] = [
    ['features/0/0', 0, 0],
    ['features/12/9007199254740990', 12, 9_007_199_254_740_990],
    ['other/1/2', -1, -1],
    ['featurez/1/2', -1, -1],
    ['features2/1/2', -1, -1],
    ['features/1', -1, -1],
    ['features/1/', -1, -1],
    ['features//2', -1, -1],
    ['features/1/2x', -1, -1],
    ['features/1/2/3', -1, -1],
    ['', -1, -1],
    [undefined, -1, -1],
  ]
  for (const [text, partition, offset] of cases) {
    it(`${text === undefined ? 'that is not there' : `"${text}"`} is read as ${partition}, ${offset}`, () => {
      const source = new SourceReader('features')
      source.read(batchWith(['features/3/4']), 0)
      source.read(batchWith(['features/5/6', text, 'features/7/8']), 1)
      assert.deepEqual([source.partition, source.offset], [partition, offset])
    })
  }
})

/** Records with these headers among others, as a reader has them. */
function batchWith(sources: readonly (string | undefined)[]): RecordBatch {
  const columns = new Int32Array(COLUMNS)
  columns[Column.keyLength] = -1
  const timestamps = Float64Array.of(1)
  const from = { topic: '', partition: 0, count: 1, bytes: Buffer.alloc(0), columns, baseOffset: 0, timestamps }
  const writer = new RecordBatchWriter()
  writer.open('predictions', 0, Number.MAX_SAFE_INTEGER)
  for (const source of sources) {
    const headers = new HeaderBuilder().add('model-name', 'iris').add('sources', 'features/1/1')
    if (source !== undefined) headers.add('source', source)
    headers.add('execution-provider', 'cpu')
    writer.begin(from, 0, null, 0, headers.count, headers.length)
    writer.append(headers.bytes, 0, headers.length)
  }
  const { bytes } = writer.seal(NOBODY)
  const { batches } = readRecordBatches({ topic: 'predictions', partition: 0, bytes, fetchOffset: 0, aborted: [] })
  return batches[0]!
}
