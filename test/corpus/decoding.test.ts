import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createFeatureDecoder } from '../../src/codec/feature-decoder.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { FeatureDecoder } from '../../src/core/codec.ts'
import type { InputSpec } from '../../src/core/model.ts'
import { batchOf, columnsFor, rowsOf } from '../codec/support.ts'
import { bytesOf, MAX_RECORD_BYTES, MODELS, readMessages, SCHEMAS, type Suite } from './corpus.ts'
import { goodValue, inputsOf } from './good-values.ts'

/** Far more than any message takes on a busy machine, far less than a loop over 2^53 items. */
const PATIENCE_MS = 1_000

const schemas = {
  find: async (id: number) => {
    const schema = SCHEMAS[id]
    return schema === undefined || typeof schema === 'string' ? (schema as string | undefined) : JSON.stringify(schema)
  },
  register: () => Promise.reject(new Error('nothing registers here')),
}

function decoderOf(suite: Suite, inputs: readonly InputSpec[]): FeatureDecoder {
  const options = { inputs, allowNonFinite: false, maxRecordBytes: MAX_RECORD_BYTES }
  if (suite.startsWith('json')) return createFeatureDecoder({ ...options, format: 'json' })
  return createFeatureDecoder({ ...options, format: 'avro', schemas, clock: systemClock })
}

const messages = readMessages()

describe('the hostile corpus', () => {
  it('is what its script makes, large, and without repeats', () => {
    execFileSync(process.execPath, [fileURLToPath(new URL('./make.ts', import.meta.url)), '--check'])
    assert.ok(messages.length >= 200, `${messages.length} messages`)
    const names = messages.map(({ suite, name }) => `${suite}: ${name}`)
    assert.deepEqual(
      names.filter((name, at) => names.indexOf(name) !== at),
      [],
    )
  })

  for (const suite of Object.keys(MODELS) as Suite[]) {
    it(`in ${suite}: each has its outcome, in time, and its neighbours theirs`, async () => {
      const inputs = inputsOf(suite)
      const decoder = decoderOf(suite, inputs)
      const wrong: string[] = []
      for (const { name, value, expected } of messages.filter(message => message.suite === suite)) {
        const batch = batchOf(goodValue(suite, 1), value === null ? null : bytesOf(value), goodValue(suite, 2))
        const columns = columnsFor(inputs, 3)
        const outcomes: string[] = []
        let row = 0
        const begun = performance.now()
        for (let index = 0; index < 3; index++) {
          let outcome = decoder.decode(batch, index, row, columns)
          if (outcome !== undefined && 'schemaId' in outcome) {
            await decoder.load(outcome.schemaId)
            outcome = decoder.decode(batch, index, row, columns)
          }
          outcomes.push(outcome === undefined ? 'prediction' : 'code' in outcome ? outcome.code : 'needs a schema')
          if (outcome === undefined) row++
        }
        const tookMs = performance.now() - begun
        if (outcomes[1] !== expected) wrong.push(`${name}: ${outcomes[1]}, expected ${expected}`)
        assert.deepEqual([outcomes[0], outcomes[2]], ['prediction', 'prediction'], name)
        assert.deepEqual(rowsOf(columns, 0), firstRow(suite, 1), name)
        assert.deepEqual(rowsOf(columns, row - 1), firstRow(suite, 2), name)
        assert.ok(tookMs < PATIENCE_MS, `${name} took ${tookMs} ms`)
      }
      assert.deepEqual(wrong, [])
    })
  }
})

/** What `goodValue` decodes to, from a decoder that has seen nothing else. */
function firstRow(suite: Suite, n: number): unknown[][] {
  return suite.endsWith('words') ? [[`word ${n}`, 'two']] : [[BigInt(n)], [1], [n / 2, 0], [1, 2, n]]
}
