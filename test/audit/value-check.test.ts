import assert from 'node:assert/strict'
import { renameSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import type { UncheckedReason } from '../../src/audit/verdict.ts'
import type { ValueVerdict } from '../../src/auditing/audit-contract.ts'
import { AuditModels } from '../../src/auditing/audit-models.ts'
import { ModelRerun } from '../../src/auditing/model-rerun.ts'
import { ValueCheck } from '../../src/auditing/value-check.ts'
import { loadSettings } from '../../src/config/load.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { plainJson } from '../../src/core/plain-json.ts'
import { writeFixtureBundle } from '../faults/bundles.ts'
import { goldenSamples, MODEL_STORE, manifestOf } from '../support/models.ts'
import { batchOf, INPUT, OUTPUT, source } from './batches.ts'

const MODEL = 'iris-classifier'
const [GOLDEN] = goldenSamples(MODEL)

/** What is wrong with a prediction of the first golden sample, and how the check says it; undefined where it does not. */
interface Case {
  readonly what: string
  readonly value?: string | null
  readonly input?: string
  readonly version?: string
  readonly sha256?: string
  /** What it counts; one that is equal is identical too unless `identical` is false. */
  readonly finds: {
    identical?: false
    different?: RegExp
    unchecked?: readonly [reason: UncheckedReason, note: RegExp]
  }
}

const shifted = (by: number) => {
  const probabilities = GOLDEN!.output.probabilities as number[]
  return plainJson({ ...GOLDEN!.output, probabilities: probabilities.map(each => each + by) })
}

const CASES: readonly Case[] = [
  { what: 'the trainer’s output', value: shifted(1e-7), finds: { identical: false } },
  {
    what: 'an output beyond the tolerance',
    value: shifted(0.01),
    finds: { different: /predictions\/0\/0: element 0 of field "probabilities" is/ },
  },
  { what: 'no JSON', value: '{', finds: { unchecked: ['undecodable', /OUTPUT_FORMAT=json \(invalid-json\)/] } },
  { what: 'no value', value: null, finds: { different: /its value is null/ } },
  { what: 'an input that is no row', input: '{}', finds: { different: /should be a dead letter \(feature-missing/ } },
  { what: 'a version that is not there', version: '77', finds: { unchecked: ['version', /no version "77"/] } },
  {
    what: 'a version with another hash',
    sha256: 'feedfacefeedface',
    finds: { unchecked: ['version', /another hash than feedface/] },
  },
]

suite('predictions are made again and compared', { timeout: 60_000 }, () => {
  for (const each of CASES) {
    test(each.what, async () => {
      const verdict = await check(each)
      const { identical, different, unchecked } = each.finds
      const isEqual = different === undefined && unchecked === undefined
      assert.equal(verdict.different.count, different === undefined ? 0 : 1)
      assert.equal(verdict.unchecked.count, unchecked === undefined ? 0 : 1)
      assert.equal(verdict.equal, isEqual ? 1 : 0)
      assert.equal(verdict.identical, isEqual && identical !== false ? 1 : 0)
      if (different !== undefined) assert.match(verdict.different.examples[0]!, different)
      if (unchecked !== undefined) {
        assert.equal(verdict.unchecked.reasons[unchecked[0]], 1)
        assert.match(verdict.notes[0]!, unchecked[1])
      }
    })
  }

  test('what a linear model predicted of rows alone is equal to what it predicts of them together', async t => {
    const store = await mkdtemp(join(tmpdir(), 'sluice-values-'))
    t.after(() => rm(store, { recursive: true }))
    const sha256 = writeLinear(store)
    const rows = Array.from({ length: ROWS }, (_, row) =>
      Array.from({ length: WIDTH }, (_, i) => Math.sin(row * 31 + i)),
    )
    const session = await InferenceSession.create(join(store, 'linear/1/model.onnx'), { intraOpNumThreads: 1 })
    const predictions: string[] = []
    for (const row of rows) {
      const { y } = await session.run({ x: new Tensor('float32', Float32Array.from(row), [1, WIDTH]) })
      predictions.push(plainJson({ y: [...(y!.data as Float32Array)] }))
    }
    await session.release()

    const verdict = await withCheck(store, async valueCheck => {
      valueCheck.range([0], undefined)
      valueCheck.input(
        batchOf(
          INPUT,
          0,
          rows.map((x, offset) => ({ offset, value: plainJson({ x }) })),
        ),
      )
      const headers = (offset: number) => headersOf('linear', '1', sha256, source(0, offset))
      valueCheck.prediction(
        batchOf(
          OUTPUT,
          0,
          predictions.map((value, offset) => ({ offset, value, headers: headers(offset) })),
        ),
      )
      await valueCheck.room('output')
      return valueCheck.finish()
    })
    t.diagnostic(`${verdict.identical} of ${ROWS} rows have the same bits alone and together`)
    assert.deepEqual([verdict.different, verdict.unchecked.count], [{ count: 0, examples: [] }, 0])
    assert.equal(verdict.equal, ROWS)
  })

  test('of many versions few are open at the same time, and each is opened again when it is asked for', async t => {
    const store = await mkdtemp(join(tmpdir(), 'sluice-values-'))
    t.after(() => rm(store, { recursive: true }))
    const names = ['a', 'b', 'c', 'd', 'e']
    for (const name of names) writeLinear(store, name)
    const { settings } = loadSettings({ env: { ...FORMATS, MODEL_STORE: store } })
    const models = new AuditModels({ settings, schemas: undefined, log: silentLog, clock: systemClock })
    t.after(() => models.close())
    const get = (name: string) => models.get({ name, version: '1', sha256: '' })
    const sizes: number[] = []
    for (const name of names) {
      assert.ok((await get(name)) instanceof ModelRerun)
      sizes.push(models.size)
    }
    assert.deepEqual(sizes, [1, 2, 3, 3, 3])
    const third = await get('c')
    await get('a') // takes the place of `d`: `c` has been asked for since
    assert.equal(await get('c'), third)
    assert.equal(models.size, 3)
    await models.close()
    assert.equal(models.size, 0)
  })
})

const ROWS = 64
const WIDTH = 8
const FORMATS = { INPUT_FORMAT: 'json', OUTPUT_FORMAT: 'json' }

/** Writes a bundle of the fixture `linear`; returns its hash. */
function writeLinear(store: string, name = 'linear'): string {
  const tensor = { type: 'float32', shape: [null, WIDTH] }
  const made = join(store, 'made')
  let sha256 = ''
  writeFixtureBundle(
    made,
    {
      graph: 'linear',
      inputs: [{ ...tensor, tensor: 'x', features: [{ name: 'x', length: WIDTH }] }],
      outputs: [{ tensor: 'y', type: 'float32', shape: [null, 3], field: 'y' }],
      golden: { input: { x: new Array(WIDTH).fill(0) }, output: { y: [0.5, -0.25, 1] } },
    },
    manifest => {
      sha256 = manifest.sha256
      manifest.name = name
      manifest.tolerance = { absolute: 1e-5, relative: 1e-5 }
    },
  )
  // A bundle lies under its own name, not the graph's.
  renameSync(join(made, 'linear'), join(store, name))
  return sha256
}

const headersOf = (name: string, version: string, sha256: string, from: string) =>
  [
    ['model-name', name],
    ['model-version', version],
    ['model-sha256', sha256],
    ['execution-provider', 'cpu'],
    ['source', from],
  ] as const

async function withCheck(
  store: string,
  work: (valueCheck: ValueCheck) => Promise<ValueVerdict>,
): Promise<ValueVerdict> {
  const { settings } = loadSettings({ env: { ...FORMATS, MODEL_STORE: store } })
  const tools = { log: silentLog, clock: systemClock }
  const valueCheck = await ValueCheck.open({ settings, inputTopic: INPUT, examples: 3, ...tools })
  try {
    return await work(valueCheck)
  } finally {
    await valueCheck.close()
  }
}

/** What the check says of one prediction, which is right unless the case says otherwise. */
function check({ value, input, version = '1', sha256 }: Case): Promise<ValueVerdict> {
  return withCheck(MODEL_STORE, async valueCheck => {
    valueCheck.range([0], undefined)
    valueCheck.input(batchOf(INPUT, 0, [{ offset: 5, value: input ?? plainJson(GOLDEN!.input) }]))
    const headers = headersOf(MODEL, version, sha256 ?? manifestOf(MODEL).sha256.slice(0, 16), source(0, 5))
    const prediction = { offset: 0, headers, ...(value === null ? {} : { value: value ?? plainJson(GOLDEN!.output) }) }
    valueCheck.prediction(batchOf(OUTPUT, 0, [prediction]))
    await valueCheck.room('output')
    return await valueCheck.finish()
  })
}
