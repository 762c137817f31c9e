import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SluiceError } from '../../src/core/errors.ts'
import { COLUMNS, Column } from '../../src/core/record-batch.ts'
import type { AbortedTransaction } from '../../src/kafka/aborted-transactions.ts'
import { CODECS } from '../../src/kafka/compression.ts'
import { type ReadBatches, type RecordSet, readRecordBatches } from '../../src/kafka/record-batch-reader.ts'
import { JAVA_BATCHES, JAVA_RECORDS, javaBatch } from './java-batches.ts'
import {
  anyRecord,
  filterAbortedMessages,
  marker,
  patched,
  plain,
  plainMessage,
  propertyOptions,
  stockBatch,
  stockMessages,
  type TestRecord,
} from './stock.ts'

function read(bytes: Buffer, options: Partial<RecordSet> = {}): ReadBatches {
  return readRecordBatches({ topic: 'features', partition: 3, bytes, fetchOffset: 0, aborted: [], ...options })
}

const plainOf = ({ batches }: ReadBatches) => batches.flatMap(plain)
const offsetsOf = (result: ReadBatches) => plainOf(result).map(record => record.offset)

function isCorrupt(pattern: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof SluiceError, String(error))
    assert.equal(error.code, 'corrupt-batch')
    assert.match(error.message, pattern)
    return true
  }
}

const record = (value: string, timestamp = 1000): TestRecord => ({
  timestamp,
  key: null,
  value: Buffer.from(value),
  headers: { h: Buffer.from('x') },
})

test('what the Java client writes is read, with every codec', () => {
  for (const codec of CODECS) {
    const result = read(javaBatch(codec), { fetchOffset: 41 })
    assert.deepEqual(plainOf(result), JAVA_RECORDS, codec)
    assert.equal(result.nextOffset, 44)
  }
})

test('what kafkajs writes is read as kafkajs reads it, with every codec', async () => {
  const batches = fc.array(fc.tuple(fc.array(anyRecord, { minLength: 1, maxLength: 6 }), fc.nat(4)), {
    minLength: 1,
    maxLength: 3,
  })
  await fc.assert(
    fc.asyncProperty(batches, fc.boolean(), async (batches, snapshot) => {
      let firstOffset = snapshot ? 2 ** 40 : 0
      const parts: Buffer[] = []
      for (const [records, compression] of batches) {
        parts.push(await stockBatch(records, { firstOffset, compression }))
        firstOffset += records.length
      }
      const bytes = Buffer.concat(parts)
      const expected = (await stockMessages(bytes)).map(plainMessage)
      const result = read(bytes)
      assert.deepEqual(plainOf(result), expected)
      assert.equal(result.nextOffset, firstOffset)
    }),
    propertyOptions,
  )
})

test('uncompressed records are views of what was fetched', async () => {
  const bytes = await stockBatch([record('a')])
  assert.equal(read(bytes).batches[0]?.bytes.buffer, bytes.buffer)
})

test('records before the fetch offset are left out, and empty batches too', async () => {
  const first = await stockBatch([record('a'), record('b')], { firstOffset: 0 })
  const second = await stockBatch([record('c'), record('d'), record('e')], { firstOffset: 2, compression: 1 })
  const bytes = Buffer.concat([first, second])
  assert.deepEqual(offsetsOf(read(bytes, { fetchOffset: 3 })), [3, 4])
  assert.equal(read(bytes, { fetchOffset: 3 }).batches.length, 1)
  assert.deepEqual(read(bytes, { fetchOffset: 7 }), { batches: [], nextOffset: 7, bytesRead: bytes.length })
})

test('offsets that compaction removed leave gaps; a batch without records moves the position', async () => {
  const kept = patched(await stockBatch([record('a')], { firstOffset: 10 }), bytes => bytes.writeInt32BE(5, 23))
  const emptied = patched((await stockBatch([record('b')], { firstOffset: 16 })).subarray(0, 61), bytes => {
    bytes.writeInt32BE(61 - 12, 8)
    bytes.writeInt32BE(3, 23)
    bytes.writeInt32BE(0, 57)
  })
  const result = read(Buffer.concat([kept, emptied]))
  assert.deepEqual(offsetsOf(result), [10])
  assert.equal(result.nextOffset, 20)
})

test('records of a LogAppendTime batch have the time of the append', async () => {
  const bytes = patched(await stockBatch([record('a', 5), record('b', 3)]), bytes => {
    bytes.writeInt16BE(0x08, 21)
    bytes.writeBigInt64BE(1_700_000_000_000n, 35)
  })
  assert.deepEqual(
    plainOf(read(bytes)).map(({ timestamp }) => timestamp),
    [1_700_000_000_000, 1_700_000_000_000],
  )
})

test('timestamps beyond what a number holds come out as its limit', async () => {
  const bytes = patched(await stockBatch([record('a')]), bytes => bytes.writeBigInt64BE(2n ** 63n - 1n, 27))
  assert.equal(read(bytes).batches[0]?.timestamps[0], Number.MAX_SAFE_INTEGER)
})

test('an aborted transaction of the Java client is left out, a committed one is not', () => {
  const records = javaBatch('transactional')
  const aborted = [{ producerId: 7n, firstOffset: 44 }]
  const after = (end: 'abort' | 'commit', aborted: AbortedTransaction[]) =>
    read(Buffer.concat([records, javaBatch(end)]), { fetchOffset: 44, aborted })
  assert.deepEqual([offsetsOf(after('abort', aborted)), after('abort', aborted).nextOffset], [[], 46])
  assert.deepEqual(offsetsOf(after('commit', [])), [44])
  assert.equal(after('commit', []).nextOffset, 46)
})

test('an abort marker ends the transaction: what the producer wrote after it is kept', async () => {
  const batch = (firstOffset: number, producerId: number, transactional = true) =>
    stockBatch([record('x')], { firstOffset, producerId, transactional })
  const bytes = Buffer.concat([
    await batch(10, 7),
    await batch(11, 8),
    await batch(12, 7, false),
    await marker(13, 7, 'abort'),
    await batch(14, 7),
    await batch(15, 8),
    await marker(16, 8, 'abort'),
    await marker(17, 7, 'commit'),
  ])
  // Both began before the fetch: several may open at once.
  const aborted = [
    { producerId: 7n, firstOffset: 4 },
    { producerId: 8n, firstOffset: 2 },
  ]
  assert.deepEqual(offsetsOf(read(bytes, { fetchOffset: 10, aborted })), [12, 14])
  assert.equal(read(bytes, { fetchOffset: 10, aborted }).nextOffset, 18)
})

test('aborted transactions are filtered as kafkajs filters a list of messages', async () => {
  const step = fc.record({
    producerId: fc.integer({ min: 0, max: 3 }),
    action: fc.constantFrom('write', 'write', 'write', 'plain', 'abort', 'commit'),
    records: fc.integer({ min: 1, max: 4 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.func(fc.nat()), async (steps, shuffle) => {
      const { bytes, aborted, end } = await history(steps as HistoryStep[])
      const abortedTransactions = aborted
        .toSorted((a, b) => a.firstOffset - b.firstOffset)
        .map(({ producerId, firstOffset }) => ({ producerId: `${producerId}`, firstOffset: `${firstOffset}` }))
      const messages = filterAbortedMessages({ messages: await stockMessages(bytes), abortedTransactions })
      const expected = messages.filter((m: { isControlRecord: boolean }) => !m.isControlRecord).map(plainMessage)
      const anyOrder = aborted.toSorted((a, b) => shuffle(a.firstOffset) - shuffle(b.firstOffset))
      const result = read(bytes, { aborted: anyOrder })
      assert.deepEqual(plainOf(result), expected)
      assert.equal(result.nextOffset, end)
    }),
    propertyOptions,
  )
})

interface HistoryStep {
  readonly producerId: number
  readonly action: 'write' | 'plain' | 'abort' | 'commit'
  readonly records: number
}

/** A log with transactions of several producers, all of them ended, and the broker's list of the aborted ones. */
async function history(steps: readonly HistoryStep[]) {
  const parts: Buffer[] = []
  const aborted: AbortedTransaction[] = []
  const open = new Map<number, number>()
  let offset = 0
  const end = async (producerId: number, type: 'abort' | 'commit') => {
    const firstOffset = open.get(producerId)
    if (firstOffset === undefined) return
    if (type === 'abort') aborted.push({ producerId: BigInt(producerId), firstOffset })
    open.delete(producerId)
    parts.push(await marker(offset++, producerId, type))
  }
  for (const { producerId, action, records } of steps) {
    if (action === 'abort' || action === 'commit') {
      await end(producerId, action)
      continue
    }
    const transactional = action === 'write'
    if (transactional && !open.has(producerId)) open.set(producerId, offset)
    const content = Array.from({ length: records }, (_, at) => record(`${producerId}-${offset + at}`))
    const id = transactional ? producerId : -1
    parts.push(await stockBatch(content, { firstOffset: offset, producerId: id, transactional }))
    offset += records
  }
  for (const producerId of [...open.keys()]) await end(producerId, producerId % 2 === 0 ? 'abort' : 'commit')
  return { bytes: Buffer.concat(parts), aborted, end: offset }
}

test('a batch cut off at the end is ignored; cut off alone it is an error', async () => {
  const first = await stockBatch([record('a')], { firstOffset: 0 })
  const second = await stockBatch([record('b')], { firstOffset: 1 })
  const whole = Buffer.concat([first, second])
  assert.deepEqual(read(Buffer.alloc(0), { fetchOffset: 9 }), { batches: [], nextOffset: 9, bytesRead: 0 })
  for (let length = 1; length < whole.length; length++) {
    const cut = whole.subarray(0, length)
    if (length < first.length) assert.throws(() => read(cut), isCorrupt(/but no whole batch/))
    else assert.equal(read(cut).nextOffset, 1, `cut to ${length}`)
  }
})

test('a changed byte is noticed, wherever the checksum reaches', async () => {
  const original = await stockBatch([record('a'), record('b')], { firstOffset: 5 })
  const uncovered = new Set([0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15])
  for (let at = 0; at < original.length; at++) {
    const bytes = Buffer.from(original)
    bytes[at]! ^= 0x55
    if (!uncovered.has(at)) assert.throws(() => read(bytes), isCorrupt(/features\/3/), `byte ${at}`)
  }
  const bytes = Buffer.from(original)
  bytes[bytes.length - 1]! ^= 1
  assert.throws(() => read(bytes, { fetchOffset: 5 }), isCorrupt(/holds offset 5 \(it claims to begin at 5\).*CRC-32C/))
})

test('reading ends before a damaged batch that follows good ones', async () => {
  const first = await stockBatch([record('a')], { firstOffset: 0 })
  const second = await stockBatch([record('b')], { firstOffset: 1 })
  second[70]! ^= 1
  assert.deepEqual(offsetsOf(read(Buffer.concat([first, second]))), [0])
  assert.equal(read(Buffer.concat([first, second])).nextOffset, 1)
  assert.throws(() => read(second, { fetchOffset: 1 }), isCorrupt(/offset 1/))
})

test('older formats, unknown codecs and offsets out of turn are refused', async () => {
  const batch = await stockBatch([record('a')], { firstOffset: 4 })
  const old = Buffer.from(batch)
  old[16] = 1
  assert.throws(() => read(old), isCorrupt(/its format is 1, but Kafka 4 writes/))
  assert.throws(() => read(patched(batch, bytes => bytes.writeInt16BE(6, 21))), isCorrupt(/compression 6 is unknown/))
  assert.throws(() => read(patched(batch, bytes => bytes.writeInt32BE(-1, 23))), isCorrupt(/claims offsets 4 to 3/))
  assert.throws(() => read(patched(batch, bytes => bytes.writeInt32BE(99, 57))), isCorrupt(/99 records in/))
  const negative = Buffer.from(batch)
  negative.writeBigInt64BE(-9n, 0)
  assert.throws(() => read(negative), isCorrupt(/claims offsets -9/))
  assert.equal(read(Buffer.concat([batch, batch])).nextOffset, 5)
})

test('a record that lies about itself is refused, and told how', async () => {
  const batch = await stockBatch([record('a')])
  const lies: readonly [at: number, byte: number, RegExp][] = [
    [61, 0x7e, /a record of 63 bytes does not fit/],
    [61, 0x01, /a record of -1 bytes does not fit/],
    [61, 0x14, /longer than its record/],
    [64, 0x02, /offset delta 1 is not between -1 and 1/],
    [64, 0x01, /offset delta -1 is not/],
    [66, 0x7e, /longer than its record/],
    [68, 0x01, /announces -1 headers/],
    [68, 0x04, /ends within a field/],
    [68, 0x00, /4 bytes longer than its fields/],
    [69, 0x01, /a header has no name/],
    [71, 0x7e, /longer than its record/],
  ]
  for (const [at, byte, message] of lies) {
    assert.throws(() => read(patched(batch, bytes => bytes.writeUInt8(byte, at))), isCorrupt(message), `byte ${at}`)
  }
  const twice = await stockBatch([record('a'), record('b')])
  assert.throws(() => read(patched(twice, bytes => bytes.writeInt32BE(1, 57))), isCorrupt(/goes on after its last/))
  assert.throws(() => read(patched(twice, bytes => bytes.writeInt32BE(3, 57))), isCorrupt(/ends within a field/))
})

test('a batch that grows beyond the limit is refused', async () => {
  const large = { ...record(''), value: Buffer.alloc(100_000) }
  for (const compression of [1, 2, 3, 4]) {
    const bytes = await stockBatch([large], { compression })
    assert.throws(() => read(bytes, { maxDecompressedBytes: 50_000 }), isCorrupt(/more than 50000 bytes/))
    assert.equal(plainOf(read(bytes, { maxDecompressedBytes: 101_000 })).length, 1)
  }
})

test('damage under a fitting checksum ends in corrupt-batch or in columns that stay within the records', () => {
  const random = generator(propertyOptions.seed)
  const samples = Object.keys(JAVA_BATCHES).map(name => javaBatch(name as keyof typeof JAVA_BATCHES))
  const outcomes = { read: 0, refused: 0 }
  for (let run = 0; run < 20_000; run++) {
    const sample = samples[run % samples.length]!
    const damaged = patched(sample, bytes => {
      for (let left = 1 + random(3); left > 0; left--) bytes[21 + random(bytes.length - 21)] = random(256)
    })
    try {
      for (const batch of read(damaged, { maxDecompressedBytes: 1 << 20 }).batches) assertWithin(batch)
      outcomes.read++
    } catch (error) {
      if (!(error instanceof SluiceError && error.code === 'corrupt-batch')) throw error
      outcomes.refused++
    }
  }
  assert.ok(outcomes.read > 1_000 && outcomes.refused > 1_000, JSON.stringify(outcomes))
})

function assertWithin({ bytes, columns, count, timestamps }: ReadBatches['batches'][number]) {
  assert.equal(columns.length, count * COLUMNS)
  assert.equal(timestamps.length, count)
  for (let at = 0; at < columns.length; at += COLUMNS) {
    for (const field of [Column.keyStart, Column.valueStart]) {
      const start = columns[at + field]!
      const length = columns[at + field + 1]!
      assert.ok(length >= -1 && start >= 0 && start + Math.max(0, length) <= bytes.length)
    }
    assert.ok(columns[at + Column.headersStart]! <= columns[at + Column.headersEnd]!)
    assert.ok(columns[at + Column.headersEnd]! <= bytes.length)
  }
}

/** Marsaglia's xorshift32: the same numbers for the same seed. */
function generator(seed: number): (below: number) => number {
  let state = seed | 1
  return below => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}
