import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import type { RecordBatch } from '../../src/core/record-batch.ts'
import type { ModelIdentity } from '../../src/core/transaction.ts'
import { KafkaOutputWriter, type OutputOptions } from '../../src/kafka/output-writer.ts'
import { readRecordBatches } from '../../src/kafka/record-batch-reader.ts'
import type { RecordBatchWriter } from '../../src/kafka/record-batch-writer.ts'
import {
  anyRecord,
  type PlainRecord,
  plain,
  propertyOptions,
  stockBatch,
  stockMurmur2,
  type TestRecord,
} from './stock.ts'

const SEAL = { producerId: 1n, producerEpoch: 0, baseSequence: 0, transactional: true }
const MODEL: ModelIdentity = { name: 'iris', version: '3', sha256: '0123456789abcdef'.repeat(4), provider: 'cpu' }
const VALUE = Buffer.from('a prediction, and memory after it')
const LENGTH = 12
const clock: Clock = { ...systemClock, wallTime: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6) }
const EVEN = () => ({ input: 4, output: 4, deadLetter: 4, shadow: 0 })

function outputWriter(options: Partial<OutputOptions> = {}): KafkaOutputWriter {
  const topics = {
    outputTopic: 'predictions',
    deadLetterTopic: 'features.dlq',
    shadowTopic: 'predictions.shadow',
    timelineTopic: 'timeline',
  }
  return new KafkaOutputWriter({ ...topics, partitionCounts: EVEN, clock, maxBatchBytes: 1 << 20, ...options })
}

async function input(records: readonly TestRecord[], firstOffset = 1841): Promise<RecordBatch> {
  const bytes = await stockBatch(records, { firstOffset })
  const set = { topic: 'iris-features', partition: 2, bytes, fetchOffset: 0, aborted: [] }
  return readRecordBatches(set).batches[0]!
}

interface Sent {
  readonly topic: string
  readonly partition: number
  readonly records: PlainRecord[]
}

function sent(batches: readonly RecordBatchWriter[]): Sent[] {
  return batches.map(batch => {
    const { topic, partition, bytes } = batch.seal(SEAL)
    const set = { topic, partition, bytes: Buffer.from(bytes), fetchOffset: 0, aborted: [] }
    return { topic, partition, records: readRecordBatches(set).batches.flatMap(plain) }
  })
}

const record = (fields: Partial<TestRecord> = {}): TestRecord => ({
  timestamp: 1_700_000_000_000,
  key: Buffer.from('k'),
  value: Buffer.from('v'),
  headers: {},
  ...fields,
})

const OWN: [string, string][] = [
  ['model-name', 'iris'],
  ['model-version', '3'],
  ['model-sha256', '0123456789abcdef'],
  ['execution-provider', 'cpu'],
]

test('a prediction has the key, timestamp and headers of its input, and says where it comes from', async () => {
  const output = outputWriter()
  const headers = { traceparent: Buffer.from('00-abc'), tags: [Buffer.from('a'), Buffer.from('b')] }
  const batch = await input([record(), record({ timestamp: 1_600_000_000_000, key: null, headers })])
  output.prediction(batch, 0, VALUE, LENGTH, MODEL, 'stable')
  output.prediction(batch, 1, VALUE, LENGTH, MODEL, 'stable')
  assert.equal(output.records, 2)
  const passed = [
    ['traceparent', '00-abc'],
    ['tags', 'a'],
    ['tags', 'b'],
  ]
  const value = 'a prediction'
  assert.deepEqual(sent(output.take()), [
    {
      topic: 'predictions',
      partition: 2,
      records: [
        {
          offset: 0,
          timestamp: 1_700_000_000_000,
          key: 'k',
          value,
          headers: [...OWN, ['source', 'iris-features/2/1841']],
        },
        {
          offset: 1,
          timestamp: 1_600_000_000_000,
          key: null,
          value,
          headers: [...passed, ...OWN, ['source', 'iris-features/2/1842']],
        },
      ],
    },
  ])
})

test('headers that Sluice sets itself replace those of the input, whether set this time or not', async () => {
  const stale = Buffer.from('stale')
  const headers = {
    a: Buffer.from('1'),
    'model-name': stale,
    source: [stale, stale],
    'model-arm': stale,
    'model-nam2': Buffer.from('2'),
    'replay-id': stale,
    'model-version': stale,
    z: Buffer.from('3'),
    'model-sha256': stale,
    'execution-provider': stale,
  }
  const batch = await input([record({ headers })])
  const live = outputWriter()
  live.prediction(batch, 0, VALUE, LENGTH, MODEL, 'stable')
  const kept = [
    ['a', '1'],
    ['model-nam2', '2'],
    ['z', '3'],
  ]
  const source = ['source', 'iris-features/2/1841']
  assert.deepEqual(sent(live.take())[0]?.records[0]?.headers, [...kept, ...OWN, source])

  const replay = outputWriter({ replayId: 'r-1' })
  replay.prediction(batch, 0, VALUE, LENGTH, { ...MODEL, provider: 'cuda:0', version: '4' }, 'canary')
  assert.deepEqual(sent(replay.take())[0]?.records[0]?.headers, [
    ...kept,
    ['model-name', 'iris'],
    ['model-version', '4'],
    ['model-sha256', '0123456789abcdef'],
    ['execution-provider', 'cuda:0'],
    ['replay-id', 'r-1'],
    ['model-arm', 'canary'],
    source,
  ])
})

test('any input passes through: predictions keep key and headers, dead letters everything', async () => {
  const output = outputWriter()
  const fault = { code: 'invalid-avro', message: 'Länge 7 ∉ [0, 4]' } as const
  await fc.assert(
    fc.asyncProperty(fc.array(anyRecord, { minLength: 1, maxLength: 20 }), async records => {
      const batch = await input(records)
      for (let index = 0; index < batch.count; index++) {
        output.prediction(batch, index, VALUE, LENGTH, MODEL, 'stable')
        output.deadLetter(batch, index, fault, 'decode')
      }
      const taken = output.take()
      const result = sent(taken)
      output.recycle(taken)
      const originals = plain(batch)
      const from = (topic: string) => result.filter(sent => sent.topic === topic).flatMap(sent => sent.records)
      const predictions = from('predictions')
      const deadLetters = from('features.dlq')
      for (const [at, original] of originals.entries()) {
        const { key, timestamp, headers, offset, value } = original
        const source = ['source', `iris-features/2/${offset}`]
        const added = [
          ['error-code', 'invalid-avro'],
          ['error-message', 'Länge 7 ∉ [0, 4]'],
          ['error-stage', 'decode'],
          ['failed-at', '2026-01-02T03:04:05.006Z'],
        ]
        assert.deepEqual(predictions[at], { ...predictions[at], key, timestamp, headers: [...headers, ...OWN, source] })
        assert.deepEqual(deadLetters[at], {
          ...deadLetters[at],
          key,
          timestamp,
          value,
          headers: [...headers, ...added, source],
        })
      }
      assert.equal(predictions.length + deadLetters.length, 2 * records.length)
    }),
    propertyOptions,
  )
})

test('a dead letter keeps even headers that Sluice sets, and names the model if one was reached', async () => {
  const output = outputWriter()
  const batch = await input([record({ value: null, headers: { source: Buffer.from('upstream') } })])
  output.deadLetter(batch, 0, { code: 'inference-failed', message: 'm'.repeat(2_000) }, 'inference', MODEL)
  const [letter] = sent(output.take())[0]!.records
  assert.equal(letter?.value, null)
  assert.deepEqual(letter?.headers, [
    ['source', 'upstream'],
    ['error-code', 'inference-failed'],
    ['error-message', 'm'.repeat(2_000)],
    ['error-stage', 'inference'],
    ['failed-at', '2026-01-02T03:04:05.006Z'],
    ['model-name', 'iris'],
    ['model-version', '3'],
    ['source', 'iris-features/2/1841'],
  ])
})

test('source has the offset in digits, however many', async () => {
  const output = outputWriter()
  const offsets = [9, 10, 0, 99, 12345678901, 1, 2 ** 53 - 2, 2 ** 31, 100, 999999]
  for (const offset of offsets) output.prediction(await input([record()], offset), 0, VALUE, LENGTH, MODEL, 'stable')
  const sources = sent(output.take())[0]?.records.map(({ headers }) => headers.at(-1)?.[1])
  assert.deepEqual(
    sources,
    offsets.map(offset => `iris-features/2/${offset}`),
  )
})

test('with other partition counts the key decides as in Java, and the input partition where there is none', async () => {
  const output = outputWriter({ partitionCounts: () => ({ input: 4, output: 7, deadLetter: 2, shadow: 0 }) })
  const keys = ['21', 'foobar', 'a-little-bit-long-string', '']
  const batch = await input([...keys.map(key => record({ key: Buffer.from(key) })), record({ key: null })])
  const odd = { ...batch, partition: 9 }
  for (let index = 0; index < batch.count; index++) {
    output.prediction(odd, index, VALUE, LENGTH, MODEL, 'stable')
    output.deadLetter(odd, index, { code: 'null-value', message: '' }, 'decode')
  }
  const result = sent(output.take())
  const partitionsOf = (topic: string, key: string | null) =>
    result.filter(b => b.topic === topic && b.records.some(r => r.key === key)).map(b => b.partition)
  for (const key of keys) {
    const hash = stockMurmur2(Buffer.from(key)) & 0x7fffffff
    assert.deepEqual(partitionsOf('predictions', key), [hash % 7])
    assert.deepEqual(partitionsOf('features.dlq', key), [hash % 2])
  }
  assert.deepEqual(partitionsOf('predictions', null), [2])
  assert.deepEqual(partitionsOf('features.dlq', null), [1])
})

test('batches stay within their limit, in order; a record beyond it goes alone', async () => {
  const output = outputWriter({ maxBatchBytes: 1_000 })
  const batch = await input(Array.from({ length: 50 }, () => record()))
  const huge = Buffer.alloc(5_000, 'x')
  for (let index = 0; index < batch.count; index++) {
    const value = index === 25 ? huge : VALUE
    output.prediction(batch, index, value, index === 25 ? huge.length : LENGTH, MODEL, 'stable')
  }
  const taken = output.take()
  assert.ok(taken.length > 5, `${taken.length} batches`)
  for (const writer of taken) assert.ok(writer.records === 1 || writer.seal(SEAL).bytes.length <= 1_000)
  const sources = sent(taken).flatMap(({ records }) => records.map(({ headers }) => headers.at(-1)?.[1]))
  assert.deepEqual(
    sources,
    Array.from({ length: 50 }, (_, at) => `iris-features/2/${1841 + at}`),
  )
})

test('what is written after take belongs to the next take, and does not touch what was taken', async () => {
  const output = outputWriter()
  const batch = await input([record({ key: Buffer.from('first') }), record({ key: Buffer.from('second') })])
  output.prediction(batch, 0, VALUE, LENGTH, MODEL, 'stable')
  const first = output.take()
  assert.equal(output.records, 0)
  output.prediction(batch, 1, VALUE, LENGTH, MODEL, 'stable')
  const keys = (batches: readonly RecordBatchWriter[]) => sent(batches).map(({ records }) => records.map(r => r.key))
  assert.deepEqual(keys(first), [['first']])
  output.recycle(first)
  assert.deepEqual(keys(output.take()), [['second']])
  assert.deepEqual(output.take(), [])
})

test('recycled memory is used again', async () => {
  const output = outputWriter()
  const batch = await input([record()])
  const memories = Array.from({ length: 3 }, () => {
    output.prediction(batch, 0, Buffer.alloc(100_000), 100_000, MODEL, 'stable')
    const taken = output.take()
    const { buffer } = taken[0]!.seal({ producerId: 1n, producerEpoch: 0, baseSequence: 0, transactional: false }).bytes
    output.recycle(taken)
    return buffer
  })
  assert.equal(memories[1]!.byteLength, 131_072, 'twice the first, because it did not fit')
  assert.equal(memories[2], memories[1])
})

test('a topic that is given partitions changes the mapping between two transactions, not within one', async () => {
  let counts = { input: 4, output: 4, deadLetter: 4, shadow: 0 }
  const output = outputWriter({ partitionCounts: () => counts })
  const batch = await input([record({ key: Buffer.from('21') })])
  const partitions = () => sent(output.take()).map(({ partition }) => partition)
  output.prediction(batch, 0, VALUE, LENGTH, MODEL, 'stable')
  counts = { ...counts, input: 6 }
  output.prediction(batch, 0, VALUE, LENGTH, MODEL, 'stable')
  assert.deepEqual(partitions(), [batch.partition], 'both together')
  output.prediction(batch, 0, VALUE, LENGTH, MODEL, 'stable')
  const ofKey = (stockMurmur2(Buffer.from('21')) & 0x7fffffff) % 4
  assert.notEqual(ofKey, batch.partition)
  assert.deepEqual(partitions(), [ofKey])

  counts = { input: 0, output: 0, deadLetter: 0, shadow: 0 }
  output.discard()
  output.prediction(batch, 0, VALUE, LENGTH, MODEL, 'stable')
  assert.deepEqual(partitions(), [ofKey], 'a topic that is not there counts for nothing')
})

test('discard throws away what was not taken', async () => {
  const output = outputWriter()
  const batch = await input([record()])
  output.prediction(batch, 0, VALUE, LENGTH, MODEL, 'stable')
  output.deadLetter(batch, 0, { code: 'null-value', message: '' }, 'decode')
  output.discard()
  assert.equal(output.records, 0)
  assert.deepEqual(output.take(), [])
  output.prediction(batch, 0, VALUE, LENGTH, MODEL, 'stable')
  assert.deepEqual(
    output.take().map(({ records }) => records),
    [1],
  )
})
