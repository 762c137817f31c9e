import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { ValueVerdict } from '../../src/auditing.ts'
import { toJson } from '../../src/codec/json-encoder.ts'
import { loadSettings } from '../../src/config/load.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLog } from '../../src/core/log.ts'
import { ValueCheck } from '../../src/value-check.ts'
import { goldenSamples, MODEL_STORE, manifestOf } from '../support/models.ts'
import { batchOf, INPUT, OUTPUT, source } from './batches.ts'

const MODEL = 'iris-classifier'
const [GOLDEN] = goldenSamples(MODEL)

/** What is wrong with a prediction of the first golden sample, and how the check says it; undefined where it does not. */
interface Case {
  readonly what: string
  readonly value?: string
  readonly input?: string
  readonly provider?: string
  readonly version?: string
  readonly sha256?: string
  readonly finds: { different?: RegExp; unchecked?: RegExp }
}

const shifted = (by: number) => {
  const probabilities = GOLDEN!.output.probabilities as number[]
  return toJson({ ...GOLDEN!.output, probabilities: probabilities.map(each => each + by) })
}

const CASES: readonly Case[] = [
  { what: 'the trainer’s output, from another provider', provider: 'cuda:0', finds: {} },
  {
    what: 'an output within the tolerance, from another provider',
    provider: 'cuda:0',
    value: shifted(1e-7),
    finds: {},
  },
  {
    what: 'an output beyond the tolerance, from another provider',
    provider: 'cuda:0',
    value: shifted(0.01),
    finds: { different: /predictions\/0\/0: element 0 of field "probabilities" is/ },
  },
  {
    what: 'an output of the CPU that differs at all',
    value: shifted(1e-7),
    finds: { different: /its value is [\da-f]+/ },
  },
  { what: 'no JSON, from another provider', provider: 'cuda:0', value: '{', finds: { different: /cannot be decoded/ } },
  { what: 'an input that is no row', input: '{}', finds: { different: /should be a dead letter \(feature-missing/ } },
  { what: 'a version that is not there', version: '77', finds: { unchecked: /no version "77"/ } },
  {
    what: 'a version with another hash',
    sha256: 'feedfacefeedface',
    finds: { unchecked: /another hash than feedface/ },
  },
]

suite('predictions are made again and compared', { timeout: 60_000 }, () => {
  for (const each of CASES) {
    test(each.what, async () => {
      const verdict = await check(each)
      const { different, unchecked } = each.finds
      assert.equal(verdict.different.count, different === undefined ? 0 : 1)
      assert.equal(verdict.unchecked, unchecked === undefined ? 0 : 1)
      assert.equal(verdict.equal, different === undefined && unchecked === undefined ? 1 : 0)
      if (different !== undefined) assert.match(verdict.different.examples[0]!, different)
      if (unchecked !== undefined) assert.match(verdict.notes[0]!, unchecked)
    })
  }
})

async function check({ value, input, provider = 'cpu', version = '1', sha256 }: Case): Promise<ValueVerdict> {
  const env = { MODEL_STORE, INPUT_FORMAT: 'json', OUTPUT_FORMAT: 'json' }
  const { settings } = loadSettings({ env })
  const tools = { log: silentLog, clock: systemClock }
  const valueCheck = await ValueCheck.open({ settings, inputTopic: INPUT, examples: 3, ...tools })
  try {
    valueCheck.range([0], undefined)
    valueCheck.input(batchOf(INPUT, 0, [{ offset: 5, value: input ?? toJson(GOLDEN!.input) }]))
    const headers = [
      ['model-name', MODEL],
      ['model-version', version],
      ['model-sha256', sha256 ?? manifestOf(MODEL).sha256.slice(0, 16)],
      ['execution-provider', provider],
      ['source', source(0, 5)],
    ] as const
    const prediction = { offset: 0, value: value ?? toJson(GOLDEN!.output), headers }
    valueCheck.prediction(batchOf(OUTPUT, 0, [prediction]))
    await valueCheck.room('output')
    return await valueCheck.finish()
  } finally {
    await valueCheck.close()
  }
}
