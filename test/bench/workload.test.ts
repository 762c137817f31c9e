import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openWorkload, type WorkloadName, writeSchemas } from '../../bench/workload.ts'
import { createFeatureDecoder } from '../../src/codec/feature-decoder.ts'
import { SchemaDir } from '../../src/codec/schema-dir.ts'
import { systemClock as clock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { COLUMNS, Column, type RecordBatch } from '../../src/core/record-batch.ts'
import { viewOf } from '../../src/core/tensor.ts'

/** A batch of one record. */
function batchOf(value: Buffer): RecordBatch {
  const columns = new Int32Array(COLUMNS)
  columns[Column.keyLength] = -1
  columns[Column.valueLength] = value.length
  return { topic: 't', partition: 0, count: 1, bytes: value, columns, baseOffset: 0, timestamps: Float64Array.of(0) }
}

for (const name of ['iris', 'ffnn', 'ffnn-json', 'heavy'] satisfies WorkloadName[]) {
  test(`a worker decodes the records of ${name} to the rows that they were made of`, async t => {
    const workload = await openWorkload(name)
    const folder = await mkdtemp(join(tmpdir(), 'sluice-workload-'))
    t.after(() => rm(folder, { recursive: true }))
    await writeSchemas(folder, [workload])
    const schemas = await SchemaDir.open(join(folder, 'schemas'), clock, silentLog)
    const { inputs } = workload.bundle.spec
    const decoder = createFeatureDecoder({
      inputs,
      allowNonFinite: false,
      maxRecordBytes: 1 << 20,
      ...(workload.format === 'json' ? { format: 'json' } : { format: 'avro', schemas, clock }),
    })
    const width = workload.features
    const data = viewOf('float32', new ArrayBuffer(4 * width), width) as Float32Array
    const columns = [{ spec: inputs[0]!, data }]
    for (const [i, value] of workload.values.entries()) {
      const needed = decoder.decode(batchOf(value), 0, 0, columns)
      if (needed !== undefined && 'schemaId' in needed) {
        await decoder.load(needed.schemaId)
        assert.equal(decoder.decode(batchOf(value), 0, 0, columns), undefined)
      } else assert.equal(needed, undefined)
      assert.deepEqual(data, workload.rows[i])
    }
  })
}

test('records and predictions are as long as the issue says', async () => {
  const iris = await openWorkload('iris')
  assert.equal(iris.values[0]!.length, 21)
  // Framing and a float.
  assert.equal(iris.predictionBytes, 9)
  const ffnn = await openWorkload('ffnn')
  assert.equal(ffnn.features, 784)
  assert.equal(ffnn.values[0]!.length, 5 + 2 + 4 * 784 + 1)
  // Framing, and an array of ten floats as one block.
  assert.equal(ffnn.predictionBytes, 5 + 1 + 40 + 1)
})
