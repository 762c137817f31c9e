import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { describe, it } from 'node:test'
import { measureExport, runtimeVersion, STORE, servedExports } from '../../scripts/exports-measure.ts'
import { recordedExports } from '../../scripts/exports-table.ts'
import { systemClock } from '../../src/core/clock.ts'
import { SluiceError } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import { packObject, unpackRow } from '../../src/core/rows.ts'
import { openModel } from '../../src/serving/serving.ts'

import { writeLargeModel } from './large-model.ts'

/** What is exactly equal here may differ in its last bits on another processor. */
const LAST_BITS = 1e-6

const recorded = recordedExports()
const names = await servedExports()
const STALE = 'run `node scripts/exports.ts` and `node scripts/docs.ts`'

const open = (modelStore: string, modelName: string) =>
  openModel(
    {
      modelStore,
      modelStoreTimeoutMs: 10_000,
      modelCacheDir: '', // for buckets only
      modelName,
      modelVersion: undefined,
      sessions: 'cpu',
      intraOpThreads: 1,
      maxBatchSize: 64,
      runTimeoutMs: 60_000,
    },
    { log: silentLog, clock: systemClock },
  )

describe('real exports', () => {
  it('are recorded, each of them, with this runtime', () => {
    assert.ok(names.length >= 20)
    assert.deepEqual(recorded.exports.map(each => each.name).sort(), names, STALE)
    assert.equal(recorded.runtime, runtimeVersion(), STALE)
  })

  for (const name of names) {
    it(`${name} predicts what its library predicts, as closely as docs/exports.md says`, async () => {
      const { difference, ...measured } = await measureExport(name)
      const { atMost, ...rest } = recorded.exports.find(each => each.name === name)!
      assert.deepEqual(measured, rest, STALE)
      const limit = atMost === 0 && measured.largest !== null ? LAST_BITS : atMost
      assert.ok(difference <= limit, `${difference} is more than ${limit}`)
    })
  }

  it('with weights in a file beside the model are refused: their bytes are not in its hash', async () => {
    await assert.rejects(open(STORE, 'torch-external-data'), error => {
      assert.ok(error instanceof SluiceError)
      assert.equal(error.code, 'external-data')
      assert.match(error.message, /torch-external-data.*model\.onnx\.data/s)
      return true
    })
  })

  it('of more than 100 MB are served', async t => {
    const elements = 30_000_000
    const store = await mkdtemp(join(tmpdir(), 'sluice-large-'))
    t.after(() => rm(store, { recursive: true }))
    const folder = join(store, 'large', '1')
    await mkdir(folder, { recursive: true })
    const modelFile = join(folder, 'model.onnx')
    await writeLargeModel(modelFile, elements)
    assert.ok((await stat(modelFile)).size > 115e6)

    const hash = createHash('sha256')
    await pipeline(createReadStream(modelFile), hash)
    const shape = [null, 1]
    const manifest = {
      format: 1,
      name: 'large',
      version: '1',
      sha256: hash.digest('hex'),
      inputs: [{ tensor: 'index', type: 'int64', shape, features: [{ name: 'index' }] }],
      outputs: [{ tensor: 'value', type: 'float32', shape, field: 'value' }],
      tolerance: { absolute: 0, relative: 0 },
    }
    const golden = JSON.stringify({ input: { index: elements - 1 }, output: { value: 999 } })
    await writeFile(join(folder, 'golden.jsonl'), `${golden}\n`)
    await writeFile(join(folder, 'model.json'), JSON.stringify(manifest))

    const { spec, pool, close } = await open(store, 'large')
    t.after(close)
    const slot = pool.acquire()!
    assert.equal(packObject({ index: 12_345_678 }, spec.inputs, slot.inputs, 0, false), undefined)
    await pool.run(slot, 0, 1)
    assert.deepEqual(unpackRow(spec.outputs, slot.outputs, 0), { value: 678 })
  })
})
