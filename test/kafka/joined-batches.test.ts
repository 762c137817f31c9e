import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SluiceError } from '../../src/core/errors.ts'
import { memoryOf, type RecordBatch } from '../../src/core/record-batch.ts'
import { AnswerMemory } from '../../src/kafka/answer-memory.ts'
import { BATCH_HEADER_BYTES, BatchField } from '../../src/kafka/batch-layout.ts'
import { MemoryPool, memoryPool } from '../../src/kafka/memory-pool.ts'
import { type ReadBatches, type RecordSet, readRecordBatches } from '../../src/kafka/record-batch-reader.ts'
import {
  anyRecord,
  marker,
  type PlainRecord,
  patched,
  plain,
  plainMessage,
  propertyOptions,
  stockBatch,
  stockMessages,
  type TestRecord,
} from './stock.ts'

const MOST_JOINED_BYTES = 256 * 1024
const GZIP = 1

const record = (value: string | Buffer, timestamp = 1000): TestRecord => ({
  timestamp,
  key: Buffer.from('k'),
  value: Buffer.from(value),
  headers: { h: Buffer.from('x') },
})

/** A batch with so many records, whose values are their offsets. */
function batchAt(firstOffset: number, records = 1, compression = 0): Promise<Buffer> {
  const content = Array.from({ length: records }, (_, i) => record(`${firstOffset + i}`, 1000 + firstOffset + i))
  return stockBatch(content, { firstOffset, compression })
}

/** What was read, in memory that is not lent. */
interface Read extends ReadBatches {
  /** Of each batch. */
  readonly records: readonly PlainRecord[][]
  /** Whether each batch is a view of the answer. */
  readonly views: readonly boolean[]
  /** The records section of each batch. */
  readonly sections: readonly Buffer[]
}

const OVERWRITTEN = 0xdb
let freed: ArrayBuffer[] = []
memoryPool.watch(memory => {
  new Uint8Array(memory).fill(OVERWRITTEN)
  freed.push(memory)
})

/**
 * Reads a set as an answer brings it: behind other things, in memory that is lent. Afterwards it lets go of everything,
 * and checks that each batch gives its columns back, and that the last view of the answer gives that back.
 */
function read(bytes: Buffer, options: Partial<RecordSet> = {}): Read {
  const pool = new MemoryPool()
  const memory = new AnswerMemory(pool)
  let answersFreed = 0
  pool.watch(() => answersFreed++)
  const answer = memory.lend(Math.max(bytes.length + 100, 128 * 1024))
  const set = answer.subarray(37, 37 + bytes.length)
  set.set(bytes)
  const loan = memory.loanOf(answer)!
  const rest = { topic: 'features', partition: 3, fetchOffset: 0, aborted: [], ...options }
  let batches: readonly RecordBatch[] = []
  try {
    const result = readRecordBatches({ ...rest, bytes: set, loan })
    batches = result.batches
    const views = batches.map(batch => batch.bytes.buffer === answer.buffer)
    return { ...result, views, records: batches.map(plain), sections: batches.map(batch => Buffer.from(batch.bytes)) }
  } finally {
    loan.letGo()
    let viewsLeft = batches.filter(batch => batch.bytes.buffer === answer.buffer).length
    for (const batch of batches) {
      assert.equal(answersFreed, viewsLeft === 0 ? 1 : 0, `given back with ${viewsLeft} views left`)
      freed = []
      batch.lease!.letGo()
      assert.equal(freed.length, 1)
      assert.equal(freed[0], batch.columns.buffer)
      assert.equal(freed[0], batch.timestamps.buffer)
      assert.throws(() => batch.lease!.letGo(), /once too often/)
      if (batch.bytes.buffer === answer.buffer) viewsLeft--
    }
    assert.equal(answersFreed, 1, 'nobody holds it, but it was not given back')
  }
}

const offsetsOf = ({ records }: Read) => records.map(ofBatch => ofBatch.map(({ offset }) => offset))
const plainOf = ({ records }: Read) => records.flat()

/** One by one: the difference between thousands of records takes minutes to be shown. */
function assertSame(records: readonly PlainRecord[], expected: readonly PlainRecord[], message?: string): void {
  for (const [i, record] of records.entries()) assert.deepEqual(record, expected[i], message)
  assert.equal(records.length, expected.length, message)
}

const corrupt = (error: unknown) => error instanceof SluiceError && error.code === 'corrupt-batch'

const few = fc.array(anyRecord, { minLength: 1, maxLength: 4 })
/** Many more records in as many bytes as in others, so that the columns have to grow. */
const tiny = fc.integer({ min: 1, max: 200 }).map(count => Array<TestRecord>(count).fill(record('')))
const logOf = fc.array(
  fc.record({
    records: fc.oneof({ weight: 3, arbitrary: few }, { weight: 1, arbitrary: tiny }),
    compression: fc.oneof(
      { weight: 5, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 4 }) },
    ),
    gap: fc.oneof({ weight: 6, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.nat(2 ** 32) }),
  }),
  { minLength: 1, maxLength: 8 },
)

test('joined batches have exactly the records that each of them has', async () => {
  await fc.assert(
    fc.asyncProperty(
      logOf,
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.option(fc.nat(40)),
      async (log, from, boundary) => {
        const parts: Buffer[] = []
        const held: number[] = []
        let firstOffset = 2 ** 33
        for (const { records, compression, gap } of log) {
          firstOffset += gap
          parts.push(await stockBatch(records, { firstOffset, compression }))
          for (let i = 0; i < records.length; i++) held.push(firstOffset + i)
          firstOffset += records.length
        }
        const fetchOffset = held[Math.floor(from * (held.length - 1))]!
        const bytes = Buffer.concat(parts)
        const options = boundary === null ? {} : { boundary: fetchOffset + boundary }
        const result = read(bytes, { fetchOffset, ...options })
        const all = (await stockMessages(bytes)).map(plainMessage)
        assertSame(
          plainOf(result),
          all.filter(({ offset }) => offset >= fetchOffset),
        )
        assert.deepEqual([result.nextOffset, result.bytesRead], [firstOffset, bytes.length])
        assert.ok(result.batches.every(({ count }) => count > 0))
      },
    ),
    { ...propertyOptions, numRuns: 60 },
  )
})

test('what is not compressed is one batch, from the first record to the last', async () => {
  const bytes = Buffer.concat([await batchAt(5, 2), await batchAt(7), await batchAt(9, 3)])
  const result = read(bytes, { fetchOffset: 5 })
  assert.deepEqual(offsetsOf(result), [[5, 6, 7, 9, 10, 11]])
  assert.equal(result.batches[0]!.baseOffset, 5)
  assert.ok(result.sections[0]!.equals(bytes.subarray(BATCH_HEADER_BYTES)))
  assert.deepEqual(
    plainOf(result).map(({ value, timestamp }) => [value, timestamp]),
    [5, 6, 7, 9, 10, 11].map(offset => [`${offset}`, 1000 + offset]),
  )
})

test('columns grow again and again where a batch of few records is followed by ones of many', async () => {
  const sizes = [1, 50, 700, 3, 2_000]
  const parts: Buffer[] = []
  let firstOffset = 0
  for (const size of sizes) {
    const value = size === 1 ? Buffer.alloc(20_000, 'sluice') : Buffer.alloc(0)
    const content = Array.from({ length: size }, (_, i) => record(value, firstOffset + i))
    parts.push(await stockBatch(content, { firstOffset }))
    firstOffset += size
  }
  const bytes = Buffer.concat(parts)
  const result = read(bytes)
  assert.equal(result.batches.length, 1)
  const [batch] = result.batches
  assert.deepEqual([batch!.columns.length, batch!.timestamps.length], [8 * firstOffset, firstOffset])
  assertSame(plainOf(result), (await stockMessages(bytes)).map(plainMessage))
})

test('256 KiB are one batch, a byte more are two; one that is larger in the log stays whole, and alone', async () => {
  const first = await stockBatch([record(Buffer.alloc(100_000))], { firstOffset: 0 })
  const ofValue = (length: number) => stockBatch([record(Buffer.alloc(length))], { firstOffset: 1 })
  const overhead = (await ofValue(150_000)).length - 150_000
  const fitting = MOST_JOINED_BYTES - (first.length - BATCH_HEADER_BYTES) - overhead
  const last = await batchAt(2)
  const joined = read(Buffer.concat([first, await ofValue(fitting), last]))
  assert.deepEqual(offsetsOf(joined), [[0, 1], [2]])
  assert.equal(joined.batches[0]!.bytes.length, MOST_JOINED_BYTES)
  assert.deepEqual(offsetsOf(read(Buffer.concat([first, await ofValue(fitting + 1), last]))), [[0], [1, 2]])
  const large = Buffer.concat([await batchAt(0), await ofValue(MOST_JOINED_BYTES), last])
  assert.deepEqual(offsetsOf(read(large)), [[0], [1], [2]])
})

test('compressed batches stay by themselves, between those of before and those of after', async () => {
  const codecs = [0, GZIP, 0, 0, 2, 3, 0]
  const bytes = Buffer.concat(await Promise.all(codecs.map((codec, i) => batchAt(2 * i, 2, codec))))
  const result = read(bytes)
  assert.deepEqual(offsetsOf(result), [
    [0, 1],
    [2, 3],
    [4, 5, 6, 7],
    [8, 9],
    [10, 11],
    [12, 13],
  ])
  assert.deepEqual(result.views, [true, false, true, false, false, true])
})

test('markers and aborted transactions leave gaps within a batch', async () => {
  const of = (firstOffset: number, producerId: number) =>
    stockBatch([record(`${firstOffset}`), record(`${firstOffset + 1}`)], {
      firstOffset,
      producerId,
      transactional: true,
    })
  const bytes = Buffer.concat([
    await of(0, 7),
    await of(2, 8),
    await marker(4, 8, 'abort'),
    await of(5, 7),
    await marker(7, 7, 'commit'),
    await of(8, 8),
    await marker(10, 8, 'commit'),
  ])
  const result = read(bytes, { aborted: [{ producerId: 8n, firstOffset: 2 }] })
  assert.deepEqual(offsetsOf(result), [[0, 1, 5, 6, 8, 9]])
  assert.deepEqual(
    plainOf(result).map(({ value }) => Number(value)),
    [0, 1, 5, 6, 8, 9],
  )
  assert.equal(result.nextOffset, 11)
  assert.deepEqual(read(bytes.subarray(0, 0)).batches, [])
  const markers = read(Buffer.concat([await marker(0, 8, 'abort'), await marker(1, 7, 'commit')]))
  assert.deepEqual([markers.batches, markers.nextOffset], [[], 2])
})

test('a fetch from within a batch begins there, wherever that is', async () => {
  const codecs = [0, 0, GZIP, 0]
  const bytes = Buffer.concat(await Promise.all(codecs.map((codec, i) => batchAt(3 * i, 3, codec))))
  for (let fetchOffset = 0; fetchOffset <= 12; fetchOffset++) {
    const result = read(bytes, { fetchOffset })
    const expected = Array.from({ length: 12 - fetchOffset }, (_, i) => fetchOffset + i)
    assert.deepEqual(offsetsOf(result).flat(), expected, `from ${fetchOffset}`)
    assert.deepEqual(
      plainOf(result).map(({ value }) => Number(value)),
      expected,
    )
    assert.equal(result.nextOffset, 12)
  }
})

test('a batch whose last records compaction removed may have nothing to read: what follows is joined, and right', async () => {
  const first = patched(await batchAt(0, 2), bytes => bytes.writeInt32BE(5, BatchField.lastOffsetDelta))
  const gzipped = patched(await batchAt(6, 1, GZIP), bytes => bytes.writeInt32BE(2, BatchField.lastOffsetDelta))
  const bytes = Buffer.concat([first, gzipped, await batchAt(9, 2), await batchAt(11)])
  const result = read(bytes, { fetchOffset: 8 })
  assert.deepEqual(offsetsOf(result), [[9, 10, 11]])
  const nothing = read(first, { fetchOffset: 3 })
  assert.deepEqual([nothing.batches, nothing.nextOffset], [[], 6])
  const emptied = read(Buffer.concat([first, gzipped]), { fetchOffset: 3 })
  assert.deepEqual([offsetsOf(emptied), emptied.nextOffset], [[[6]], 9])
})

test('damage in the middle leaves what came before whole', async () => {
  const good = Buffer.concat([await batchAt(0, 2), await batchAt(2, 2)])
  const many = 2_000
  const damaged: readonly [what: string, bytes: Buffer][] = [
    ['its checksum', flipped(await batchAt(4, many))],
    ['its last record', malformed(await batchAt(4, many))],
    ['its first record', patched(await batchAt(4, many), bytes => bytes.writeUInt8(0x01, BATCH_HEADER_BYTES))],
    ['its count', patched(await batchAt(4, many), bytes => bytes.writeInt32BE(2 ** 31 - 1, BatchField.count))],
    ['its codec', patched(await batchAt(4, many), bytes => bytes.writeInt16BE(6, BatchField.attributes))],
    ['what is compressed', patched(await batchAt(4, many), bytes => bytes.writeInt16BE(GZIP, BatchField.attributes))],
    [
      'a record within gzip',
      patched(await batchAt(4, many, GZIP), bytes => bytes.writeInt32BE(many - 1, BatchField.count)),
    ],
  ]
  const expected = (await stockMessages(good)).map(plainMessage)
  for (const [what, bytes] of damaged) {
    for (const options of [{}, { boundary: 4 }]) {
      const result = read(Buffer.concat([good, bytes, await batchAt(4 + many)]), options)
      assertSame(plainOf(result), expected, what)
      assert.deepEqual([result.batches.length, result.nextOffset, result.bytesRead], [1, 4, good.length], what)
    }
    assert.throws(() => read(bytes, { fetchOffset: 4 }), corrupt, what)
  }
})

/** The checksum does not fit any more. */
function flipped(batch: Buffer): Buffer {
  const bytes = Buffer.from(batch)
  bytes[bytes.length - 1]! ^= 1
  return bytes
}

/** All records are right but for the last, which is a byte longer than its batch; the checksum fits. */
function malformed(batch: Buffer): Buffer {
  return patched(batch.subarray(0, -1), bytes => bytes.writeInt32BE(bytes.length - 12, BatchField.length))
}

test('no batch of before a boundary is joined to one that begins there or later', async () => {
  const bytes = Buffer.concat([await batchAt(0, 2), await batchAt(2, 3), await batchAt(5), await batchAt(6, 2)])
  const joinedAt = (boundary: number) => offsetsOf(read(bytes, { boundary }))
  assert.deepEqual(joinedAt(0), [[0, 1, 2, 3, 4, 5, 6, 7]])
  for (const boundary of [1, 2])
    assert.deepEqual(joinedAt(boundary), [
      [0, 1],
      [2, 3, 4, 5, 6, 7],
    ])
  // A batch that reaches beyond the boundary is not divided.
  for (const boundary of [3, 5])
    assert.deepEqual(joinedAt(boundary), [
      [0, 1, 2, 3, 4],
      [5, 6, 7],
    ])
  assert.deepEqual(joinedAt(6), [
    [0, 1, 2, 3, 4, 5],
    [6, 7],
  ])
  for (const boundary of [7, 9]) assert.deepEqual(joinedAt(boundary), [[0, 1, 2, 3, 4, 5, 6, 7]])
})

test('offsets that are too far apart for a column are in two batches', async () => {
  const MOST = 2 ** 31 - 1
  const base = 2 ** 40
  const from = (...offsets: number[]) => ({ fetchOffset: base, offsets })
  for (const { offsets, expected } of [
    { ...from(MOST), expected: [[0, 1, MOST]] },
    { ...from(MOST + 1), expected: [[0, 1], [MOST + 1]] },
    { ...from(2 ** 32), expected: [[0, 1], [2 ** 32]] },
    {
      ...from(2 ** 31, 2 ** 31 + 9),
      expected: [
        [0, 1],
        [2 ** 31, 2 ** 31 + 9],
      ],
    },
  ]) {
    const batches = await Promise.all(offsets.map(offset => batchAt(base + offset)))
    const result = read(Buffer.concat([await batchAt(base, 2), ...batches]), { fetchOffset: base })
    assert.deepEqual(
      offsetsOf(result).map(batch => batch.map(offset => offset - base)),
      expected,
    )
  }
  // Its first record would fit, its last would not.
  const across = read(Buffer.concat([await batchAt(base), await batchAt(base + MOST, 2)]), { fetchOffset: base })
  assert.deepEqual(offsetsOf(across), [[base], [base + MOST, base + MOST + 1]])
})

test('reading ends with the batch that fills the room, whatever it was joined to', async () => {
  const codecs = [0, 0, GZIP, 0, 0, 0]
  const parts = await Promise.all(codecs.map((codec, i) => batchAt(2 * i, 2, codec)))
  const bytes = Buffer.concat(parts)
  const unlimited = Number.POSITIVE_INFINITY
  for (let batches = 1; batches <= codecs.length; batches++) {
    const whole = read(Buffer.concat(parts.slice(0, batches)))
    const memory = whole.batches.reduce((sum, batch) => sum + memoryOf(batch), 0)
    for (const [room, expected] of [
      [{ records: 2 * batches - 1, bytes: unlimited }, batches],
      [{ records: 2 * batches, bytes: unlimited }, batches],
      [{ records: 2 * batches + 1, bytes: unlimited }, Math.min(batches + 1, codecs.length)],
      [{ records: unlimited, bytes: memory }, batches],
      [{ records: unlimited, bytes: memory + 1 }, Math.min(batches + 1, codecs.length)],
    ] as const) {
      const result = read(bytes, { room })
      const said = JSON.stringify(room)
      assert.deepEqual(offsetsOf(result).flat(), [...Array(2 * expected).keys()], said)
      assert.equal(result.bytesRead, Buffer.concat(parts.slice(0, expected)).length, said)
    }
  }
})

test('batches that reach beyond the end of the log, or are cut off, are left out of what is joined', async () => {
  const parts = [await batchAt(0, 2), await batchAt(2, 2), await batchAt(4, 2)]
  const bytes = Buffer.concat(parts)
  for (const endOfLog of [4, 5]) assert.deepEqual(offsetsOf(read(bytes, { endOfLog })), [[0, 1, 2, 3]])
  for (let cut = 1; cut <= parts[2]!.length; cut++) {
    const result = read(bytes.subarray(0, bytes.length - cut))
    assert.deepEqual([offsetsOf(result), result.nextOffset], [[[0, 1, 2, 3]], 4], `${cut} bytes short`)
  }
})
