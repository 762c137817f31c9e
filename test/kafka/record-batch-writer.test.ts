import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { COLUMNS, Column, type RecordBatch, valueBytes } from '../../src/core/record-batch.ts'
import { CODECS } from '../../src/kafka/compression.ts'
import { readRecordBatches } from '../../src/kafka/record-batch-reader.ts'
import { RecordBatchWriter } from '../../src/kafka/record-batch-writer.ts'
import { anyRecord, plain, plainMessage, propertyOptions, stockBatch, stockMessages, type TestRecord } from './stock.ts'

const NO_LIMIT = 1 << 30
const SEAL = { producerId: 4_000_000_000n, producerEpoch: 7, baseSequence: 81, transactional: true }
const STOCK = { producerId: 4_000_000_000, producerEpoch: 7, firstSequence: 81, transactional: true }

async function parsed(records: readonly TestRecord[]): Promise<RecordBatch> {
  const bytes = await stockBatch(records)
  const { batches } = readRecordBatches({ topic: 'in', partition: 0, bytes, fetchOffset: 0, aborted: [] })
  return batches[0]!
}

function readBack(bytes: Buffer): RecordBatch[] {
  return readRecordBatches({ topic: 'out', partition: 5, bytes, fetchOffset: 0, aborted: [] }).batches
}

/** Writes record `index` as it is. */
function copy(writer: RecordBatchWriter, batch: RecordBatch, index: number): boolean {
  const at = index * COLUMNS
  const start = batch.columns[at + Column.headersStart]!
  const end = batch.columns[at + Column.headersEnd]!
  const value = valueBytes(batch, index)
  const count = batch.columns[at + Column.headerCount]!
  const begun = writer.begin(batch, index, value, value?.length ?? 0, count, end - start)
  if (begun) writer.append(batch.bytes, start, end)
  return begun
}

function copyAll(writer: RecordBatchWriter, batch: RecordBatch): void {
  writer.open('out', 5, NO_LIMIT)
  for (let index = 0; index < batch.count; index++) assert.ok(copy(writer, batch, index))
}

const simple = (value: string): TestRecord => ({ timestamp: 5, key: null, value: Buffer.from(value), headers: {} })
const anyRecords = fc.array(anyRecord, { minLength: 1, maxLength: 100 })

test('batches are byte for byte those of kafkajs, from one writer after another batch', async () => {
  const writer = new RecordBatchWriter()
  await fc.assert(
    fc.asyncProperty(anyRecords, async records => {
      copyAll(writer, await parsed(records))
      const sealed = writer.seal(SEAL)
      assert.deepEqual(sealed.bytes, await stockBatch(records, STOCK))
      assert.deepEqual([sealed.topic, sealed.partition, sealed.records], ['out', 5, records.length])
    }),
    propertyOptions,
  )
})

test('compressed batches are read by kafkajs and by the reader', async () => {
  const writer = new RecordBatchWriter()
  await fc.assert(
    fc.asyncProperty(anyRecords, fc.constantFrom(...CODECS), async (records, compression) => {
      copyAll(writer, await parsed(records))
      const expected = (await stockMessages(await stockBatch(records))).map(plainMessage)
      const { bytes } = writer.seal({ ...SEAL, compression })
      assert.deepEqual(readBack(bytes).flatMap(plain), expected)
      // kafkajs knows snappy and lz4 only as the tests taught it, without xerial's frames.
      if (compression !== 'snappy') assert.deepEqual((await stockMessages(bytes)).map(plainMessage), expected)
    }),
    { ...propertyOptions, numRuns: 60 },
  )
})

test('sealing does not change the batch: it may be sealed again for another producer', async () => {
  const records = [simple('a'), simple('b')]
  const writer = new RecordBatchWriter()
  copyAll(writer, await parsed(records))
  writer.seal({ ...SEAL, producerId: 1n, transactional: false, compression: 'zstd' })
  writer.seal({ ...SEAL, producerId: -1n, producerEpoch: -1, baseSequence: -1 })
  assert.deepEqual(writer.seal(SEAL).bytes, await stockBatch(records, STOCK))
})

test('a record that would exceed the limit is left to the next batch; one alone may exceed it', async () => {
  const batch = await parsed([simple('a'.repeat(100)), simple('b'), simple('c'.repeat(1_000_000))])
  const exact = new RecordBatchWriter()
  exact.open('out', 5, NO_LIMIT)
  copy(exact, batch, 0)
  copy(exact, batch, 1)
  const limit = exact.seal(SEAL).bytes.length

  const writer = new RecordBatchWriter()
  writer.open('out', 5, limit)
  assert.deepEqual([copy(writer, batch, 0), copy(writer, batch, 1), copy(writer, batch, 2)], [true, true, false])
  assert.deepEqual(writer.seal(SEAL).bytes, exact.seal(SEAL).bytes)
  writer.open('out', 5, limit - 1)
  assert.deepEqual([copy(writer, batch, 0), copy(writer, batch, 1)], [true, false])
  writer.open('out', 5, limit)
  assert.ok(copy(writer, batch, 2))
  assert.equal(readBack(writer.seal(SEAL).bytes)[0]?.count, 1)
})

test('null keys and values are told from empty ones, and only the value asked for is written', async () => {
  const batch = await parsed([{ timestamp: 1, key: Buffer.alloc(0), value: null, headers: {} }, simple('x')])
  const writer = new RecordBatchWriter()
  writer.open('out', 5, NO_LIMIT)
  writer.begin(batch, 0, null, 9, 0, 0)
  writer.begin(batch, 1, Buffer.from('value and more'), 5, 0, 0)
  writer.begin(batch, 1, Buffer.from('value'), 0, 0, 0)
  const records = readBack(writer.seal(SEAL).bytes).flatMap(plain)
  assert.deepEqual(
    records.map(({ key, value }) => [key, value]),
    [
      ['', null],
      [null, 'value'],
      [null, ''],
    ],
  )
})

test('headers that are missing or too many are a defect that is told at once', async () => {
  const batch = await parsed([simple('a')])
  const writer = new RecordBatchWriter()
  writer.open('out', 5, NO_LIMIT)
  assert.throws(() => writer.seal(SEAL), /without records/)
  writer.begin(batch, 0, null, 0, 1, 4)
  assert.throws(() => writer.append(Buffer.alloc(5), 0, 5), /5 bytes of headers, but 4 were announced/)
  writer.append(Buffer.alloc(4), 0, 3)
  assert.throws(() => writer.begin(batch, 0, null, 0, 0, 0), /1 bytes of the last record's headers are missing/)
  assert.throws(() => writer.seal(SEAL), /are missing/)
})
