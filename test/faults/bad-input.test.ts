import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import avro from 'avsc'
import type { Message } from 'kafkajs'
import { ERRORS, type ErrorCode } from '../../src/core/errors.ts'
import { assertExactlyOnce } from '../support/audit.ts'
import { committedOffsets, until } from '../support/broker.ts'
import { headerText, type LogRecord } from '../support/record-log.ts'
import { Testbed } from '../support/testbed.ts'
import { type FixtureModel, LOOKUP, ROW_SUMS, STRINGS, TYPES, writeFixtureBundle } from './bundles.ts'
import { fence, health, schemaFolder, sourceOffsets, temporaryFolder } from './support.ts'

/** A record that must become a dead letter, and the words in its message that tell a person why. */
interface BadRecord {
  readonly code: ErrorCode
  readonly words: RegExp
  readonly value: Buffer | string | null
}

const IRIS = { type: 'record', name: 'Iris', fields: ['sepal_length', 'sepal_width', 'petal_length', 'petal_width'] }
type Field = { name: string; type: unknown }

/** The iris schema with other types for some fields; `undefined` leaves one out. */
function irisSchema(types: Readonly<Record<string, unknown>> = {}): object {
  const fields: Field[] = IRIS.fields
    .map(name => ({ name, type: name in types ? types[name] : 'float' }))
    .filter(({ type }) => type !== undefined)
  return { ...IRIS, fields }
}

/** Schema ids of the folder that stands in for a registry here. */
const SCHEMAS: Readonly<Record<number, unknown>> = {
  1: irisSchema(),
  2: { type: 'array', items: 'float' },
  3: 'this is {no JSON',
  4: irisSchema({ petal_width: undefined }),
  5: irisSchema({ petal_width: ['null', 'float'] }),
  6: irisSchema({ petal_width: 'string' }),
  7: { type: 'record', name: 'Digits', fields: [{ name: 'pixels', type: { type: 'array', items: 'float' } }] },
}

function frame(id: number, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeInt32BE(id, 1)
  return Buffer.concat([head, body])
}

function avroValue(id: number, value: object): Buffer {
  return frame(id, avro.Type.forSchema(SCHEMAS[id] as avro.Schema).toBuffer(value))
}

const FLOWER = { sepal_length: 5.1, sepal_width: 3.5, petal_length: 1.4, petal_width: 0.2 }
const GOOD_IRIS = avroValue(1, FLOWER)

const BAD_IRIS: readonly BadRecord[] = [
  { code: 'null-value', words: /no value.*features/, value: null },
  { code: 'record-too-large', words: /201 bytes.*at most 200/, value: Buffer.alloc(201) },
  { code: 'wrong-magic-byte', words: /begins with 0x7b.*0x00.*schema id/, value: '{"sepal_length": 5.1}' },
  { code: 'unknown-schema-id', words: /no schema has the id 99\b/, value: frame(99, GOOD_IRIS.subarray(5)) },
  { code: 'unknown-schema-id', words: /no schema has the id -7\b/, value: frame(-7, GOOD_IRIS.subarray(5)) },
  { code: 'unusable-schema', words: /schema 2\b.*record/, value: frame(2, GOOD_IRIS.subarray(5)) },
  { code: 'unusable-schema', words: /schema 3\b/, value: frame(3, GOOD_IRIS.subarray(5)) },
  { code: 'truncated-message', words: /3 bytes.*at least 5/, value: GOOD_IRIS.subarray(0, 3) },
  { code: 'truncated-message', words: /ends where a float.*petal_width/, value: GOOD_IRIS.subarray(0, -1) },
  {
    code: 'trailing-bytes',
    words: /ends after 16 bytes.*2 more follow/,
    value: Buffer.concat([GOOD_IRIS, Buffer.from('!!')]),
  },
  {
    code: 'invalid-avro',
    words: /union has the index 3; expected 0 to 1.*petal_width/,
    value: frame(5, Buffer.concat([GOOD_IRIS.subarray(5, 17), Buffer.from([6])])),
  },
  { code: 'feature-missing', words: /no field "petal_width".*no default/, value: frame(4, GOOD_IRIS.subarray(5, 17)) },
  { code: 'feature-null', words: /"petal_width" is null/, value: avroValue(5, { ...FLOWER, petal_width: null }) },
  {
    code: 'feature-type',
    words: /"petal_width" is .*string.*expected a number/,
    value: avroValue(6, { ...FLOWER, petal_width: 'wide' }),
  },
  {
    code: 'feature-not-finite',
    words: /"sepal_width" is NaN.*finite/,
    value: avroValue(1, { ...FLOWER, sepal_width: Number.NaN }),
  },
  {
    code: 'feature-not-finite',
    words: /"sepal_width" is Infinity.*finite/,
    value: avroValue(1, { ...FLOWER, sepal_width: Number.POSITIVE_INFINITY }),
  },
]

const pixels = (count: number) => avroValue(7, { pixels: Array.from({ length: count }, (_, i) => i % 17) })

const BAD_DIGITS: readonly BadRecord[] = [
  { code: 'array-length', words: /"pixels" has 63 elements.*exactly 64/, value: pixels(63) },
  { code: 'array-length', words: /"pixels" has .*elements.*exactly 64/, value: pixels(65) },
  { code: 'feature-missing', words: /no field "pixels"/, value: GOOD_IRIS },
]

const PURCHASE = { count: 1, member: true, price: 2.5, discount: 0, basket: [1, 2, 3] }
const json = (value: unknown) => JSON.stringify(value)

const BAD_JSON: readonly BadRecord[] = [
  { code: 'null-value', words: /no value/, value: null },
  { code: 'invalid-json', words: /not JSON.*one JSON object/, value: '{"count": 1' },
  { code: 'invalid-json', words: /is an array.*one JSON object/, value: '[1, 2]' },
  { code: 'invalid-json', words: /not UTF-8/, value: Buffer.from([0x7b, 0xff, 0x7d]) },
  { code: 'feature-missing', words: /no field "member"/, value: json({ ...PURCHASE, member: undefined }) },
  { code: 'feature-null', words: /"price" is null/, value: json({ ...PURCHASE, price: null }) },
  {
    code: 'feature-null',
    words: /element 1 of feature "basket" is null/,
    value: json({ ...PURCHASE, basket: [1, null, 3] }),
  },
  { code: 'feature-type', words: /"member" is .*expected a boolean/, value: json({ ...PURCHASE, member: 1 }) },
  { code: 'feature-type', words: /"count" is .*expected an integer/, value: json({ ...PURCHASE, count: 1.5 }) },
  {
    code: 'feature-range',
    words: /"basket".* is 2147483648; expected an integer from -2\^31 to 2\^31 - 1/,
    value: json({ ...PURCHASE, basket: [1, 2 ** 31, 3] }),
  },
  {
    code: 'feature-range',
    words: /"count" is .*2\^63/,
    value: '{"count":9223372036854775808,"member":true,"price":1,"discount":0,"basket":[1,2,3]}',
  },
  { code: 'array-length', words: /"basket" has 2 elements.*exactly 3/, value: json({ ...PURCHASE, basket: [1, 2] }) },
]

const BAD_INDICES: readonly BadRecord[] = [10, -11, 1_000_000].map(index => ({
  code: 'inference-failed',
  words: new RegExp(`model fails on this row.*${index}`, 's'),
  value: json({ index }),
}))

const LONG_TEXT = 'long '.repeat(300)

const BAD_TEXTS: readonly BadRecord[] = [
  {
    code: 'prediction-too-large',
    words: /prediction has 15\d\d bytes.*MAX_OUTPUT_BYTES allows 1024/,
    value: json({ first: LONG_TEXT, second: 'two' }),
  },
]

/** The bad records, each between two good ones, with keys and headers of their own. */
function betweenGoodOnes(bad: readonly BadRecord[], good: Buffer | string): Message[] {
  const messages: Message[] = [{ key: 'key-0', value: good, headers: { traceparent: 'trace-0' } }]
  for (const { value } of bad) {
    for (const each of [value, good]) {
      const n = messages.length
      // Bytes that are no text must come through as well.
      messages.push({ key: Buffer.from([0xff, n]), value: each, headers: { traceparent: `trace-${n}`, raw: '\0\xff' } })
    }
  }
  return messages
}

/** Of what `betweenGoodOnes` makes. */
const isBad = (offset: number) => offset % 2 === 1

/** Publishes, serves until all is committed, and looks at every dead letter and at who was predicted. */
async function serve(
  t: TestContext,
  bad: readonly BadRecord[],
  good: Buffer | string,
  env: Readonly<Record<string, string>>,
): Promise<{ predictions: readonly LogRecord[]; deadLetters: readonly LogRecord[] }> {
  const bed = await Testbed.create('bad-input', { partitions: 1, env })
  t.after(() => bed.close())
  await bed.produce(betweenGoodOnes(bad, good))
  const begun = Date.now()
  const worker = await bed.startWorker().ready()
  await bed.caughtUp()
  assert.equal((await health(worker, 'ready')).status, 200)
  assert.equal(await worker.stop(), 0)

  const outcome = await bed.outcome()
  assertExactlyOnce(await bed.audit(outcome)) // keys, values and headers untouched, too
  const { inputs, predictions, deadLetters } = outcome
  const offsets = inputs.map(({ offset }) => offset)
  assert.deepEqual(sourceOffsets(deadLetters), offsets.filter(isBad))
  assert.deepEqual(
    sourceOffsets(predictions),
    offsets.filter(offset => !isBad(offset)),
  )
  assert.deepEqual(await committedOffsets(bed.group, bed.input), [inputs.length])
  for (const [i, letter] of deadLetters.entries()) assertExplains(letter, bad[i]!, begun)
  const complaints = worker.log.filter(({ level }) => level === 'error' || level === 'warn')
  assert.deepEqual(complaints, [], 'a bad record is no trouble of the worker')
  return { predictions, deadLetters }
}

function assertExplains(letter: LogRecord, { code, words }: BadRecord, begun: number): void {
  const said = headerText(letter, 'error-message')!
  assert.equal(headerText(letter, 'error-code'), code, said)
  assert.match(said, words)
  assert.equal(headerText(letter, 'error-stage'), ERRORS[code].stage)
  const failedAt = Date.parse(headerText(letter, 'failed-at')!)
  assert.ok(failedAt >= begun && failedAt <= Date.now(), `failed-at is ${headerText(letter, 'failed-at')}`)
  const reachedModel = ERRORS[code].stage !== 'decode'
  assert.equal(headerText(letter, 'model-version'), reachedModel ? '1' : undefined)
}

const JSON_FORMATS = { INPUT_FORMAT: 'json', OUTPUT_FORMAT: 'json' }

/** JSON in and out of a fixture model. */
function fixtureSettings(t: TestContext, model: FixtureModel): Record<string, string> {
  const store = temporaryFolder(t, 'store')
  writeFixtureBundle(store, model)
  return { ...JSON_FORMATS, MODEL_STORE: store, MODEL_NAME: model.graph }
}

const jsonOf = ({ value }: LogRecord) => JSON.parse(String(value))

describe('a bad record becomes a dead letter, and its neighbours are predicted', { timeout: 120_000 }, () => {
  it('in Avro', async t => {
    const settings = { MODEL_NAME: 'iris-classifier', SCHEMA_DIR: schemaFolder(t, SCHEMAS), MAX_RECORD_BYTES: '200' }
    // With more threads the runtime adds up the trees in an order that depends on the size of the batch.
    const env = { ...settings, INTRA_OP_THREADS: '1' }
    const { predictions } = await serve(t, BAD_IRIS, GOOD_IRIS, env)
    const values = new Set(predictions.map(({ value }) => value!.toString('hex')))
    assert.equal(values.size, 1, 'the same flower, the same prediction, whatever stood beside it')
  })

  it('in an Avro array', async t => {
    await serve(t, BAD_DIGITS, pixels(64), { MODEL_NAME: 'digits-mlp', SCHEMA_DIR: schemaFolder(t, SCHEMAS) })
  })

  it('in JSON', async t => {
    const { predictions } = await serve(t, BAD_JSON, json(PURCHASE), fixtureSettings(t, TYPES))
    for (const prediction of predictions) assert.deepEqual(jsonOf(prediction), { next_count: 2, twice: [5, 0] })
  })

  it('when the model fails on it', async t => {
    const env = fixtureSettings(t, LOOKUP)
    const { predictions, deadLetters } = await serve(t, BAD_INDICES, json({ index: 4 }), env)
    for (const prediction of predictions) assert.deepEqual(jsonOf(prediction), { value: 40 })
    for (const letter of deadLetters) assert.equal(headerText(letter, 'model-name'), 'lookup')
  })

  it('when its prediction would be too large', async t => {
    const env = { ...fixtureSettings(t, STRINGS), MAX_OUTPUT_BYTES: '1024' }
    await serve(t, BAD_TEXTS, json({ first: 'one', second: 'two' }), env)
  })

  it('unless ALLOW_NON_FINITE lets NaN and infinity reach the model', async t => {
    const env = { ...fixtureSettings(t, ROW_SUMS), ALLOW_NON_FINITE: 'true' }
    const bed = await Testbed.create('non-finite', { partitions: 1, env })
    t.after(() => bed.close())
    await bed.produce(['NaN', 'Infinity', '-Infinity', 1].map(a => ({ value: json({ a, b: 1, c: 1, d: 1 }) })))
    bed.startWorker()
    await bed.caughtUp()
    const { predictions, deadLetters } = await bed.outcome()
    assert.deepEqual(
      predictions.map(prediction => jsonOf(prediction).sum),
      ['NaN', 'Infinity', '-Infinity', 4],
    )
    assert.deepEqual(deadLetters, [])
  })
})

describe('a dead letter and the offset behind it', { timeout: 120_000 }, () => {
  const RECORDS = 2_000
  const IN_A_BATCH = 20
  const seed = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))

  for (const round of [0, 1, 2]) {
    // Somewhere in the middle, another place in each round.
    const killAt = 100 + ((seed + round * 911) % (RECORDS / 4))

    it(`are there both or not at all after a SIGKILL past offset ${killAt} (TEST_SEED=${seed})`, async t => {
      const isBad = (offset: number) => offset % 3 === 0
      // Many small transactions, so that it dies amid one.
      const small = { MAX_BATCH_SIZE: '8', MAX_IN_FLIGHT_RECORDS: '8', FETCH_MAX_BYTES: '1024' }
      const env = { ...small, SCHEMA_DIR: schemaFolder(t, SCHEMAS) }
      const bed = await Testbed.create('atomic', { partitions: 1, env })
      t.after(() => bed.close())
      await produceInBatches(bed, RECORDS, IN_A_BATCH, offset => (isBad(offset) ? 'no Avro' : GOOD_IRIS))
      const worker = bed.startWorker()
      let committed = 0
      const passed = async () => {
        committed = (await committedOffsets(bed.group, bed.input))[0]!
        return committed > killAt
      }
      await until(passed, () => `the group is at ${committed}. ${worker.describe()}`, 60_000)
      await worker.kill()
      await fence(`${bed.group}.${bed.input}.0`)

      await passed()
      assert.ok(committed < RECORDS, 'it was done before it was killed: nothing is shown')
      const offsets = Array.from({ length: committed }, (_, offset) => offset)
      const { predictions, deadLetters } = await bed.outcome()
      assert.deepEqual(sourceOffsets(deadLetters), offsets.filter(isBad))
      assert.deepEqual(
        sourceOffsets(predictions),
        offsets.filter(offset => !isBad(offset)),
      )
    })
  }
})

async function produceInBatches(
  bed: Testbed,
  count: number,
  size: number,
  content: (offset: number) => Buffer | string,
) {
  for (let first = 0; first < count; first += size) {
    await bed.produce(Array.from({ length: size }, (_, i) => ({ value: content(first + i) })))
  }
}
