/**
 * Mutations of valid messages and batches. FUZZ_RUNS=1000000 makes a long run of it, FC_SEED repeats one:
 * `FUZZ_RUNS=1000000 npx node --test test/corpus/fuzz.test.ts`.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import { createFeatureDecoder } from '../../src/codec/feature-decoder.ts'
import { systemClock } from '../../src/core/clock.ts'
import { ERRORS, SluiceError } from '../../src/core/errors.ts'
import { COLUMNS, Column } from '../../src/core/record-batch.ts'
import { readRecordBatches } from '../../src/kafka/record-batch-reader.ts'
import { batchOf, columnsFor, rowsOf } from '../codec/support.ts'
import { JAVA_BATCHES, javaBatch } from '../kafka/java-batches.ts'
import { bytesOf, MAX_RECORD_BYTES, readMessages, SCHEMAS, type Suite } from './corpus.ts'
import { goodValue, inputsOf } from './good-values.ts'

const RUNS = Number(process.env.FUZZ_RUNS ?? 4_000)
const seed = Number(process.env.FC_SEED ?? Math.floor(Math.random() * 2 ** 31))
const PATIENCE_MS = 1_000
console.log(`FC_SEED=${seed} FUZZ_RUNS=${RUNS}`)

type Mutation = (bytes: Buffer) => Buffer

const place = fc.nat(2 ** 31 - 1)
const at = (bytes: Buffer, drawn: number) => (bytes.length === 0 ? 0 : drawn % bytes.length)

const flip = fc.tuple(place, fc.nat(7)).map(
  ([drawn, bit]): Mutation =>
    bytes => {
      const copy = Buffer.from(bytes)
      if (copy.length > 0) copy[at(bytes, drawn)]! ^= 1 << bit
      return copy
    },
)
const overwrite = fc.tuple(place, fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xfe, 0xff)).map(
  ([drawn, value]): Mutation =>
    bytes => {
      const copy = Buffer.from(bytes)
      if (copy.length > 0) copy[at(bytes, drawn)] = value
      return copy
    },
)
const truncate = place.map(
  (drawn): Mutation =>
    bytes =>
      bytes.subarray(0, at(bytes, drawn)),
)
const splice = fc.tuple(place, fc.nat(8), fc.uint8Array({ maxLength: 12 })).map(([drawn, removed, added]): Mutation => {
  return bytes =>
    Buffer.concat([bytes.subarray(0, at(bytes, drawn)), added, bytes.subarray(at(bytes, drawn) + removed)])
})
const repeat = fc
  .tuple(place, fc.integer({ min: 1, max: 16 }), fc.integer({ min: 2, max: 200 }))
  .map(([drawn, length, times]): Mutation => {
    return bytes => {
      const from = at(bytes, drawn)
      const piece = bytes.subarray(from, from + length)
      return Buffer.concat([
        bytes.subarray(0, from),
        ...new Array<Buffer>(times).fill(piece),
        bytes.subarray(from + length),
      ])
    }
  })
const mutations = fc.array(fc.oneof(flip, overwrite, truncate, splice, repeat), { minLength: 1, maxLength: 4 })
const mutate = (bytes: Buffer, steps: readonly Mutation[]) => steps.reduce((mutated, step) => step(mutated), bytes)

describe('mutated messages', () => {
  for (const suite of ['avro', 'json', 'avro-words', 'json-words'] as const) {
    it(`in ${suite} end in a row or a fault, in time, and leave their neighbours alone`, async () => {
      const inputs = inputsOf(suite)
      const decoder = await loadedDecoder(suite)
      const valid = readMessages()
        .filter(message => message.suite === suite && message.expected === 'prediction')
        .map(message => bytesOf(message.value!))
        .filter(bytes => bytes.length < 2_000)
      const outcomes = { rows: 0, faults: 0 }
      const property = fc.property(fc.constantFrom(...valid), mutations, (value, steps) => {
        const hostile = mutate(value, steps)
        const columns = columnsFor(inputs, 3)
        const begun = performance.now()
        const batch = batchOf(goodValue(suite, 1), hostile, goodValue(suite, 2))
        assert.equal(decoder.decode(batch, 0, 0, columns), undefined)
        assert.equal(decoder.decode(batch, 2, 2, columns), undefined)
        const [before, after] = [rowsOf(columns, 0), rowsOf(columns, 2)]
        const outcome = decoder.decode(batch, 1, 1, columns)
        assert.ok(performance.now() - begun < PATIENCE_MS)
        assert.deepEqual([rowsOf(columns, 0), rowsOf(columns, 2)], [before, after])
        if (outcome === undefined) outcomes.rows++
        else outcomes.faults++
        if (outcome !== undefined && 'code' in outcome) assert.equal(ERRORS[outcome.code].response, 'dead-letter')
        // The same value between other bytes: a read across its border would show.
        const alone = { ...batchOf(null), bytes: hostile }
        alone.columns.set([0, 0, 0, 0, hostile.length])
        const again = columnsFor(inputs, 1)
        assert.deepEqual(decoder.decode(alone, 0, 0, again), outcome)
        if (outcome === undefined) assert.deepEqual(rowsOf(again, 0), rowsOf(columns, 1))
      })
      fc.assert(property, { seed, numRuns: RUNS })
      assert.ok(outcomes.rows > 0 && outcomes.faults > 0, JSON.stringify(outcomes))
    })
  }
})

async function loadedDecoder(suite: Suite) {
  const options = { inputs: inputsOf(suite), allowNonFinite: false, maxRecordBytes: MAX_RECORD_BYTES }
  if (suite.startsWith('json')) return createFeatureDecoder({ ...options, format: 'json' })
  const find = async (id: number) => (SCHEMAS[id] === undefined ? undefined : JSON.stringify(SCHEMAS[id]))
  const schemas = { find, register: () => Promise.reject(new Error('nothing registers here')) }
  const decoder = createFeatureDecoder({ ...options, format: 'avro', schemas, clock: systemClock })
  for (const id of Object.keys(SCHEMAS)) await decoder.load(Number(id))
  return decoder
}

describe('mutated record batches', () => {
  it('end in corrupt-batch or in records that lie within them; a good batch before them is read', () => {
    const samples = Object.keys(JAVA_BATCHES).map(name => javaBatch(name as keyof typeof JAVA_BATCHES))
    const outcomes = { read: 0, refused: 0 }
    const property = fc.property(fc.constantFrom(...samples), mutations, fc.boolean(), (sample, steps, sealed) => {
      const hostile = mutate(sample, steps)
      if (sealed) seal(hostile)
      const alone = tryRead(hostile)
      outcomes[alone === undefined ? 'refused' : 'read']++
      const after = tryRead(Buffer.concat([javaBatch('none'), hostile]))
      assert.ok(after !== undefined && after[0]! >= 3, 'the good batch before it')
    })
    fc.assert(property, { seed, numRuns: RUNS })
    assert.ok(outcomes.read > 0 && outcomes.refused > 0, JSON.stringify(outcomes))
  })
})

/** Makes length and checksum fit, so that what lies behind them is reached. */
function seal(batch: Buffer): void {
  if (batch.length < 61) return
  batch.writeInt32BE(batch.length - 12, 8)
  batch[16] = 2
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
}

/** Record counts by batch, or undefined where it is refused as it should be. */
function tryRead(bytes: Buffer): number[] | undefined {
  const begun = performance.now()
  try {
    const set = { topic: 't', partition: 0, fetchOffset: 41, aborted: [], maxDecompressedBytes: 1 << 20 }
    const { batches } = readRecordBatches({ ...set, bytes })
    for (const batch of batches) {
      for (let record = 0; record < batch.count; record++) {
        for (const field of [Column.keyStart, Column.valueStart]) {
          const start = batch.columns[record * COLUMNS + field]!
          const length = batch.columns[record * COLUMNS + field + 1]!
          assert.ok(length >= -1 && start >= 0 && start + Math.max(0, length) <= batch.bytes.length)
        }
        assert.ok(batch.columns[record * COLUMNS + Column.headersEnd]! <= batch.bytes.length)
      }
    }
    return batches.map(({ count }) => count)
  } catch (error) {
    if (error instanceof SluiceError && error.code === 'corrupt-batch') return undefined
    throw error
  } finally {
    assert.ok(performance.now() - begun < PATIENCE_MS)
  }
}
