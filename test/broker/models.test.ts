import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { suite, type TestContext, test } from 'node:test'
import { assertExactlyOnce } from '../support/audit.ts'
import {
  DIGITS_SCHEMA_ID,
  disagreement,
  frame,
  type Golden,
  goldenSamples,
  IMAGE_SCHEMA_ID,
  IRIS_SCHEMA_ID,
  MODEL_STORE,
  manifestOf,
} from '../support/models.ts'
import { headerText, type LogRecord } from '../support/record-log.ts'
import { noSoftwareVulkan, softwareVulkan } from '../support/software-vulkan.ts'
import { Testbed } from '../support/testbed.ts'

const SCHEMA_IDS: Readonly<Record<string, number>> = {
  'iris-regressor': IRIS_SCHEMA_ID,
  'iris-classifier': IRIS_SCHEMA_ID,
  'iris-xgboost': IRIS_SCHEMA_ID,
  'digits-mlp': DIGITS_SCHEMA_ID,
  ffnn: IMAGE_SCHEMA_ID,
}

/** Which golden sample a record is says its key. */
const goldenOf = (samples: readonly Golden[]) => (record: LogRecord) => samples[Number(record.key)]!.output

suite('every bundle predicts through Kafka what its trainer saw', { concurrency: 2 }, () => {
  test('and every bundle is tried', () => {
    assert.deepEqual(readdirSync(MODEL_STORE).sort(), Object.keys(SCHEMA_IDS).sort())
  })

  for (const [model, schemaId] of Object.entries(SCHEMA_IDS)) {
    test(`${model}, in Avro`, async t => {
      const samples = goldenSamples(model)
      const bed = await served(t, model, samples, ({ input }) => frame(schemaId, input))
      const outcome = await bed.outcome()
      assertExactlyOnce(await bed.audit(outcome))
      assert.equal(outcome.predictions.length, samples.length)
      await bed.assertPredictions(outcome, goldenOf(samples))
      for (const prediction of outcome.predictions) {
        assert.equal(headerText(prediction, 'model-name'), model)
        assert.equal(headerText(prediction, 'model-version'), '1')
        assert.equal(headerText(prediction, 'model-sha256'), manifestOf(model).sha256.slice(0, 16))
        assert.equal(headerText(prediction, 'execution-provider'), 'cpu')
      }
    })
  }

  test('iris-classifier, in JSON on both sides', async t => {
    const samples = goldenSamples('iris-classifier')
    const json = { INPUT_FORMAT: 'json', OUTPUT_FORMAT: 'json' }
    const encode = ({ input }: Golden) => Buffer.from(JSON.stringify(input))
    const bed = await served(t, 'iris-classifier', samples, encode, json)
    const outcome = await bed.outcome()
    assertExactlyOnce(await bed.audit(outcome))
    assert.equal(outcome.predictions.length, samples.length)
    for (const { key, value } of outcome.predictions) {
      const got = JSON.parse(value!.toString())
      assert.equal(disagreement('iris-classifier', samples[Number(key)]!.output, got), undefined)
    }
  })

  test('ffnn, on a graphics device', { skip: noSoftwareVulkan }, async t => {
    const samples = goldenSamples('ffnn')
    const env = { SESSIONS: 'webgpu', ...softwareVulkan }
    const bed = await served(t, 'ffnn', samples, ({ input }) => frame(IMAGE_SCHEMA_ID, input), env)
    const outcome = await bed.outcome()
    assertExactlyOnce(await bed.audit(outcome))
    assert.equal(outcome.predictions.length, samples.length)
    await bed.assertPredictions(outcome, goldenOf(samples))
    for (const prediction of outcome.predictions) {
      assert.equal(headerText(prediction, 'execution-provider'), 'webgpu')
    }
  })
})

/** A testbed whose worker has gone through the samples. */
async function served(
  t: TestContext,
  model: string,
  samples: readonly Golden[],
  encode: (sample: Golden) => Buffer,
  env: Record<string, string> = {},
): Promise<Testbed> {
  const bed = await Testbed.create(model, { model, partitions: 2, env })
  t.after(() => bed.close())
  await bed.produce(samples.map((sample, i) => ({ key: String(i), value: encode(sample) })))
  bed.startWorker()
  await bed.caughtUp()
  return bed
}
