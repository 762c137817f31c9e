import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import { valueBytes } from '../../src/core/record-batch.ts'
import { readRecordBatches } from '../../src/kafka/record-batch-reader.ts'
import { bytesOf, readBatches } from './corpus.ts'

const PATIENCE_MS = 2_000
const MEBIBYTE = 1024 * 1024
let refusal: string | undefined
/** Far less than the bombs, far more than what is good. */
const MOST_DECOMPRESSED = 8 * MEBIBYTE

test('every hostile record batch is refused or read, in time and in bounded memory', () => {
  const wrong: string[] = []
  for (const { name, bytes: stored, expected } of readBatches()) {
    const bytes = bytesOf(stored)
    const before = process.memoryUsage().rss
    const begun = performance.now()
    const outcome = read(bytes)
    const tookMs = performance.now() - begun
    const grewBy = (process.memoryUsage().rss - before) / MEBIBYTE
    // Refused for what it would become, not for some slip in how it was made.
    if (name.includes('bomb')) assert.match(String(refusal), /more than 8388608 bytes when decompressed/, name)
    if (outcome !== expected) wrong.push(`${name}: ${outcome}, expected ${expected}`)
    assert.ok(tookMs < PATIENCE_MS, `${name} took ${tookMs} ms`)
    assert.ok(grewBy < 96, `${name} took ${grewBy} MiB`)
  }
  assert.deepEqual(wrong, [])
})

/** How many records there are, all of them within the bytes; or the code of the error. */
function read(bytes: Buffer): number | string {
  const set = { topic: 't', partition: 0, fetchOffset: 0, aborted: [], maxDecompressedBytes: MOST_DECOMPRESSED }
  try {
    const { batches } = readRecordBatches({ ...set, bytes })
    for (const batch of batches)
      for (let i = 0; i < batch.count; i++) assert.ok((valueBytes(batch, i)?.length ?? 0) <= 5)
    return batches.reduce((sum, { count }) => sum + count, 0)
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error
    refusal = error.message
    return error.code
  }
}
