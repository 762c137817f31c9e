import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { Validator } from '@seriousme/openapi-schema-validator'
import type { ServedModel } from '../../src/serving/serving.ts'
import { lookup } from '../inference/fixtures.ts'
import { type OpenDesk, openDesk } from '../support/desk.ts'
import { copyVersions, disagreement, goldenSamples, storeFixture } from '../support/models.ts'

interface Answer {
  readonly model_name: string
  readonly model_version: string
  readonly id?: string
  readonly outputs: readonly {
    readonly name: string
    readonly datatype: string
    readonly shape: number[]
    readonly data: unknown[]
  }[]
}

const IRIS = ['sepal_length', 'sepal_width', 'petal_length', 'petal_width']
const irisRow = (input: Readonly<Record<string, unknown>>) => IRIS.map(name => input[name] as number)
const iris = (rows: readonly (readonly number[])[], more: object = {}) => ({
  ...more,
  inputs: [{ name: 'float_input', datatype: 'FP32', shape: [rows.length, 4], data: rows.flat() }],
})
const INFER = 'iris-classifier/infer'

/** Row `row` of every output, by name. */
function rowOf({ outputs }: Answer, row: number): Record<string, unknown> {
  return Object.fromEntries(
    outputs.map(({ name, shape, data }) => {
      const width = shape.slice(1).reduce((product, dimension) => product * dimension, 1)
      const values = data.slice(row * width, (row + 1) * width)
      return [name, shape.length === 1 ? values[0] : values]
    }),
  )
}

/** Keeps all sessions of a model for itself until it is called. */
async function occupy({ pool }: ServedModel): Promise<() => void> {
  const held = await Promise.all(Array.from({ length: pool.size }, () => pool.reserve()))
  return () => {
    for (const reservation of held) reservation.release()
  }
}

/** Resolves when as many requests are under way. */
async function underWay(open: OpenDesk, count: number): Promise<void> {
  while ((await open.metric('sluice_api_requests_waiting')) !== count) await turn()
}

const runs = (open: OpenDesk) => open.metric('sluice_batch_size_count')

describe('real models over HTTP', () => {
  let open: OpenDesk
  before(async () => {
    open = await openDesk({ models: ['iris-classifier', 'digits-mlp', 'ffnn'] })
  })
  after(() => open[Symbol.asyncDispose]())
  const json = async (path: string) => (await fetch(`${open.http.url}${path}`)).json()

  test('the server, its health and its models', async () => {
    assert.deepEqual(await json('/v2'), { name: 'sluice', version: '9.9.9', extensions: ['binary_tensor_data'] })
    assert.deepEqual(await json('/v2/health/live'), { live: true })
    assert.deepEqual(await json('/v2/health/ready'), { ready: true })
    assert.deepEqual(await json('/v2/models/iris-classifier/ready'), { name: 'iris-classifier', ready: true })
    assert.deepEqual(await json('/v2/models/iris-classifier/versions/1/ready'), {
      name: 'iris-classifier',
      ready: true,
    })
    assert.deepEqual(await json('/v2/models/digits-mlp/versions/1'), {
      name: 'digits-mlp',
      versions: ['1'],
      platform: 'onnxruntime_onnx',
      inputs: [{ name: 'pixels', datatype: 'FP32', shape: [-1, 64] }],
      outputs: [
        { name: 'label', datatype: 'INT64', shape: [-1] },
        { name: 'probabilities', datatype: 'FP32', shape: [-1, 10] },
      ],
    })
    assert.match(await (await fetch(`${open.http.url}/metrics`)).text(), /sluice_api_requests_waiting 0/)
  })

  test("the trainer's samples come out right, one by one and together", async () => {
    const samples = goldenSamples('iris-classifier')
    const together = (await (await open.post(INFER, iris(samples.map(({ input }) => irisRow(input))))).json()) as Answer
    assert.deepEqual([together.model_name, together.model_version, together.id], ['iris-classifier', '1', undefined])
    for (const [i, { input, output }] of samples.entries()) {
      assert.equal(disagreement('iris-classifier', output, rowOf(together, i)), undefined)
      const response = await open.post('iris-classifier/versions/1/infer', iris([irisRow(input)], { id: `row ${i}` }))
      const alone = (await response.json()) as Answer
      assert.equal(alone.id, `row ${i}`)
      assert.deepEqual(
        alone.outputs.map(({ shape }) => shape),
        [[1], [1, 3]],
      )
      assert.equal(disagreement('iris-classifier', output, rowOf(alone, 0)), undefined)
    }
  })

  test('binary tensors in and out, a subset of the outputs', async () => {
    const samples = goldenSamples('digits-mlp')
    const pixels = Float32Array.from(samples.flatMap(({ input }) => input.pixels as number[]))
    const header = JSON.stringify({
      inputs: [
        {
          name: 'pixels',
          datatype: 'FP32',
          shape: [samples.length, 64],
          parameters: { binary_data_size: pixels.byteLength },
        },
      ],
      outputs: [{ name: 'probabilities', parameters: { binary_data: true } }, { name: 'label' }],
    })
    const body = Buffer.concat([Buffer.from(header), Buffer.from(pixels.buffer)])
    const response = await open.post('digits-mlp/infer', body, {
      'Inference-Header-Content-Length': String(header.length),
    })
    assert.equal(response.headers.get('content-type'), 'application/octet-stream')
    const bytes = Buffer.from(await response.arrayBuffer())
    const length = Number(response.headers.get('inference-header-content-length'))
    const { outputs } = JSON.parse(bytes.subarray(0, length).toString()) as Answer
    assert.deepEqual(
      outputs.map(({ name }) => name),
      ['probabilities', 'label'],
    )
    const probabilities = new Float32Array(
      bytes.buffer.slice(bytes.byteOffset + length, bytes.byteOffset + bytes.length),
    )
    assert.equal(probabilities.length, 10 * samples.length)
    for (const [i, { output }] of samples.entries()) {
      const got = { label: outputs[1]!.data[i], probabilities: [...probabilities.subarray(10 * i, 10 * (i + 1))] }
      assert.equal(disagreement('digits-mlp', output, got), undefined)
    }
  })

  test('a body may be compressed; how large it is then is bounded, too', async () => {
    const body = gzipSync(JSON.stringify(iris([[5.1, 3.5, 1.4, 0.2]])))
    const response = await open.post(INFER, body, { 'content-encoding': 'gzip' })
    assert.equal(response.status, 200)
    assert.equal(((await response.json()) as Answer).outputs[0]!.data[0], 0)
    const bomb = await open.post(INFER, gzipSync(Buffer.alloc(40_000_000, 32)), { 'content-encoding': 'gzip' })
    assert.equal(bomb.status, 413)
    assert.equal((await open.post(INFER, body, { 'content-encoding': 'br' })).status, 400)
    assert.equal((await open.post(INFER, 'no gzip', { 'content-encoding': 'gzip' })).status, 400)
  })

  test('no compressed body ends the server, whoever reads it', async () => {
    const gzip = { 'content-encoding': 'gzip' }
    const small = gzipSync(JSON.stringify(iris([[1, 2, 3, 4]])))
    const cutOff = gzipSync(Buffer.alloc(40_000_000, 32))
    cutOff.fill(255, cutOff.length - 8)
    const cases: readonly (readonly [body: unknown, headers: Record<string, string>, status: number])[] = [
      [undefined, gzip, 400],
      ['no gzip', { ...gzip, 'content-type': 'what/is/this?' }, 415],
      [cutOff, gzip, 413],
      [small.subarray(0, -9), gzip, 400],
    ]
    for (const [body, headers, status] of cases) {
      assert.equal((await open.post(INFER, body, headers)).status, status)
      assert.equal((await open.post(INFER, small, gzip)).status, 200)
    }
  })

  test('refusals have the status of the protocol and one JSON object with the error', async () => {
    const row = [[1, 2, 3, 4]]
    const cases: readonly (readonly [path: string, body: unknown, status: number, error: RegExp])[] = [
      [INFER, '{"inputs":', 400, /no JSON/],
      [INFER, {}, 400, /"inputs" is missing/],
      [
        INFER,
        { inputs: [{ name: 'float_input', datatype: 'FP32', shape: [1, 3], data: [1, 2, 3] }] },
        400,
        /takes \[-1,4\]/,
      ],
      [INFER, '', 400, /no JSON/],
      ['nobody/infer', iris(row), 404, /no model "nobody" is served here; there is iris-classifier, digits-mlp, ffnn/],
      ['iris-classifier/versions/2/infer', iris(row), 404, /not served in version "2"; there is 1/],
      [INFER, ' '.repeat(33_554_433), 413, /33554433 bytes; API_MAX_BODY_BYTES allows 33554432/],
      [INFER, iris(Array.from({ length: 65_537 }, () => [1, 2, 3, 4])), 413, /65537 rows; API_MAX_ROWS allows 65536/],
    ]
    for (const [path, body, status, error] of cases) {
      const response = await open.post(path, body)
      const said = (await response.json()) as { error: string }
      assert.equal(response.status, status, said.error)
      assert.deepEqual(Object.keys(said), ['error'])
      assert.match(said.error, error)
    }
    const bad = await open.post(INFER, '{}', { 'Inference-Header-Content-Length': 'x' })
    assert.equal(bad.status, 400)
    assert.equal(bad.headers.get('x-content-type-options'), 'nosniff')
    assert.equal(bad.headers.get('cache-control'), 'no-store')
    for (const path of ['/v2/models/nobody', '/v2/models/nobody/ready', '/v2/models/ffnn/versions/7', '/v2/nothing']) {
      const response = await fetch(open.http.url + path)
      assert.equal(response.status, 404)
      assert.equal(typeof ((await response.json()) as { error: unknown }).error, 'string')
    }
    assert.equal(await open.metric('sluice_api_requests_waiting'), 0)
    assert.ok((await open.metric('sluice_api_requests_total', { outcome: 'request-invalid' })) >= 4)
  })

  test('a body that never comes to its end is counted out when its connection ends', async () => {
    const client = httpRequest(`${open.http.url}/v2/models/${INFER}`, {
      method: 'POST',
      headers: { 'content-length': 1000 },
    })
    client.on('error', () => {})
    client.write('{"inputs":')
    await underWay(open, 1)
    client.destroy()
    await underWay(open, 0)
  })

  test('requests that wait run in one batch, and each gets its own rows', async () => {
    const samples = goldenSamples('iris-classifier').slice(0, 20)
    const release = await occupy(open.models[0]!)
    const before = await runs(open)
    const asked = samples.map(({ input }) => open.post(INFER, iris([irisRow(input)])))
    await underWay(open, samples.length)
    // The last bodies may still be on their way to the lane.
    for (let i = 0; i < 50; i++) await turn()
    release()
    const answers = await Promise.all(asked)
    for (const [i, response] of answers.entries()) {
      assert.equal(
        disagreement('iris-classifier', samples[i]!.output, rowOf((await response.json()) as Answer, 0)),
        undefined,
      )
    }
    const used = (await runs(open)) - before
    assert.ok(used <= 3, `${samples.length} requests took ${used} runs`)
  })

  test('the OpenAPI document is valid, and has every route', async () => {
    const document = (await json('/v2/openapi.json')) as { paths: Record<string, unknown> }
    const { valid, errors } = await new Validator().validate(document as Record<string, unknown>)
    assert.ok(valid, JSON.stringify(errors))
    const model = ['', '/versions/{version}'].flatMap(version =>
      ['', '/ready', '/infer'].map(rest => `/v2/models/{model}${version}${rest}`),
    )
    assert.deepEqual(
      Object.keys(document.paths).sort(),
      ['/v2', '/v2/health/live', '/v2/health/ready', ...model].sort(),
    )
  })
})

describe('limits and deadlines', () => {
  const row = iris([[5.1, 3.5, 1.4, 0.2]])

  test('a request larger than a slot spans several batches', async () => {
    await using open = await openDesk({ models: ['iris-classifier'], env: { MAX_BATCH_SIZE: '8' } })
    const samples = goldenSamples('iris-classifier')
    const before = await runs(open)
    const rows = Array.from({ length: 50 }, (_, i) => samples[i % samples.length]!)
    const answer = (await (await open.post(INFER, iris(rows.map(({ input }) => irisRow(input))))).json()) as Answer
    for (const [i, { output }] of rows.entries()) {
      assert.equal(disagreement('iris-classifier', output, rowOf(answer, i)), undefined)
    }
    assert.equal((await runs(open)) - before, 7)
  })

  test('what has waited until its deadline is refused with 503 and not run; a request may ask for less', async () => {
    await using open = await openDesk({ models: ['iris-classifier'], env: { API_DEADLINE_MS: '300' } })
    const before = await runs(open)
    const release = await occupy(open.models[0]!)
    const startedAt = performance.now()
    const ended: string[] = []
    const ask = async (name: string, body: unknown) => {
      const response = await open.post(INFER, body)
      ended.push(name)
      return response
    }
    const [usual, hasty] = await Promise.all([
      ask('usual', row),
      ask('hasty', { ...row, parameters: { timeout: 50_000 } }),
      ask('long', { ...row, parameters: { timeout: 900_000_000 } }),
    ])
    assert.deepEqual(ended[0], 'hasty')
    assert.ok(performance.now() - startedAt < 2_000)
    for (const response of [usual!, hasty!]) {
      assert.equal(response.status, 503)
      assert.equal(response.headers.get('retry-after'), '1')
      assert.match(
        ((await response.json()) as { error: string }).error,
        /waited \d+ ms for a session, which is its deadline; it was not run/,
      )
    }
    release()
    assert.equal((await open.post(INFER, row)).status, 200)
    assert.equal((await runs(open)) - before, 1, 'only the last one was run')
    assert.equal(await open.metric('sluice_api_requests_total', { outcome: 'deadline-exceeded' }), 3)
  })

  test('under overload the rest is refused at once, and what was taken is answered', async () => {
    await using open = await openDesk({
      models: ['iris-classifier'],
      env: { API_MAX_WAITING: '30', API_DEADLINE_MS: '20000' },
    })
    const release = await occupy(open.models[0]!)
    const taken = Array.from({ length: 30 }, () => open.post(INFER, row))
    await underWay(open, 30)
    const refused = await Promise.all(Array.from({ length: 20 }, () => open.post(INFER, row)))
    for (const response of refused) {
      assert.equal(response.status, 503)
      assert.equal(response.headers.get('retry-after'), '1')
      assert.match(await response.text(), /30 requests are under way; API_MAX_WAITING allows no more/)
    }
    release()
    assert.deepEqual(
      (await Promise.all(taken)).map(({ status }) => status),
      Array(30).fill(200),
    )
    assert.equal((await open.post(INFER, row)).status, 200)
    assert.equal(await open.metric('sluice_api_requests_total', { outcome: 'overloaded' }), 20)
  })

  test('bodies under way are bounded by their bytes, too', async () => {
    await using open = await openDesk({
      models: ['iris-classifier'],
      env: { API_MAX_BODY_BYTES: '2000', API_MAX_WAITING_BYTES: '3000', API_DEADLINE_MS: '20000' },
    })
    const release = await occupy(open.models[0]!)
    const padded = JSON.stringify(row).padEnd(1_600)
    const taken = open.post(INFER, padded)
    await underWay(open, 1)
    assert.match(await (await open.post(INFER, padded)).text(), /1600 bytes of requests and answers are under way/)
    release()
    assert.equal((await taken).status, 200)
  })

  test('an answer counts beside its request until it is sent', async () => {
    await using open = await openDesk({
      models: [],
      env: { API_MAX_BODY_BYTES: '2000', API_MAX_WAITING_BYTES: '3000' },
    })
    const first = open.desk.enter(1_500)
    open.desk.enter(500).leave()
    first.answered(1_001)
    assert.throws(() => open.desk.enter(500), /2501 bytes of requests and answers are under way/)
    first.leave()
    first.leave()
    open.desk.enter(2_000)
    assert.throws(() => open.desk.enter(1_001), /2000 bytes of/)
  })

  test('a compressed body counts as the largest that it may be', async () => {
    await using open = await openDesk({
      models: ['iris-classifier'],
      env: { API_MAX_BODY_BYTES: '2000', API_MAX_WAITING_BYTES: '3000', API_DEADLINE_MS: '20000' },
    })
    const release = await occupy(open.models[0]!)
    const gzip = { 'content-encoding': 'gzip' }
    const packed = gzipSync(JSON.stringify(row).padEnd(1_900))
    const taken = open.post(INFER, packed, gzip)
    await underWay(open, 1)
    assert.match(
      await (await open.post(INFER, packed, gzip)).text(),
      /2000 bytes of requests and answers are under way/,
    )
    release()
    assert.equal((await taken).status, 200)
  })

  test('a request whose client has gone counts until its rows are out of the way', async () => {
    await using open = await openDesk({ models: ['iris-classifier'], env: { API_DEADLINE_MS: '20000' } })
    const release = await occupy(open.models[0]!)
    const gone = new AbortController()
    const asked = fetch(`${open.http.url}/v2/models/${INFER}`, {
      method: 'POST',
      body: JSON.stringify(row),
      signal: gone.signal,
    }).catch(() => {})
    await underWay(open, 1)
    for (let i = 0; i < 50; i++) await turn()
    gone.abort()
    await asked
    for (let i = 0; i < 50; i++) await turn()
    assert.equal(await open.metric('sluice_api_requests_waiting'), 1, 'its rows still wait')
    release()
    assert.equal((await open.post(INFER, row)).status, 200)
    await underWay(open, 0)
  })

  test('stopping: what is under way is answered, what comes is refused, and it is not ready', async () => {
    await using open = await openDesk({ models: ['iris-classifier'], env: { API_DEADLINE_MS: '20000' } })
    const release = await occupy(open.models[0]!)
    const taken = open.post(INFER, row)
    await underWay(open, 1)
    let over = false
    const stopped = open.desk.stop().then(() => {
      over = true
    })
    assert.equal((await fetch(`${open.http.url}/v2/health/ready`)).status, 503)
    assert.equal((await fetch(`${open.http.url}/v2/models/iris-classifier/ready`)).status, 503)
    assert.match(await (await open.post(INFER, row)).text(), /stopping/)
    assert.equal(over, false)
    release()
    assert.equal((await taken).status, 200)
    await stopped
  })
})

test('a row that the model refuses fails its own request, and none that ran with it', async t => {
  const store = mkdtempSync(join(tmpdir(), 'sluice-api-'))
  t.after(() => rmSync(store, { recursive: true }))
  storeFixture(store, lookup())
  await using open = await openDesk({ store, models: ['lookup'], env: { API_DEADLINE_MS: '20000' } })
  const ask = (...indexes: readonly number[]) =>
    open.post('lookup/infer', {
      inputs: [{ name: 'index', datatype: 'INT64', shape: [indexes.length, 1], data: indexes }],
    })
  const release = await occupy(open.models[0]!)
  const asked = [ask(1, 2), ask(3, 99, 4), ask(5), ask(-7777777), ask(6)]
  await underWay(open, asked.length)
  for (let i = 0; i < 50; i++) await turn()
  release()
  const answers = await Promise.all(asked)
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 400, 200, 400, 200],
  )
  const [first, second] = (await Promise.all(answers.map(answer => answer.json()))) as [Answer, { error: string }]
  assert.deepEqual(first.outputs[0]!.data, [10, 20])
  assert.match(second.error, /^row 1 of the request: The model fails on this row/)
  assert.equal((await ask(7)).status, 200)
})

describe('versions', () => {
  test('each by its route; the live one answers by default, and requests end where they began', async t => {
    const store = mkdtempSync(join(tmpdir(), 'sluice-api-'))
    t.after(() => rmSync(store, { recursive: true }))
    copyVersions(store, 'iris-classifier', ['1', '2'])
    await using open = await openDesk({
      store,
      models: ['iris-classifier:1', 'iris-classifier:2'],
      env: { API_DEADLINE_MS: '20000' },
    })
    const body = iris([[5.1, 3.5, 1.4, 0.2]])
    const versionOf = async (response: Promise<Response>) => ((await (await response).json()) as Answer).model_version
    assert.equal(await versionOf(open.post('iris-classifier/versions/2/infer', body)), '2')
    const release = await occupy(open.models[0]!)
    const onOld = open.post(INFER, body)
    await underWay(open, 1)
    for (let i = 0; i < 50; i++) await turn()
    open.desk.prefer('iris-classifier', '2')
    assert.equal(await versionOf(open.post(INFER, body)), '2')
    const closed = open.models[0]!.close()
    assert.equal((await open.post('iris-classifier/versions/1/infer', body)).status, 404)
    release()
    assert.equal(await versionOf(onOld), '1')
    await closed
    const { versions } = (await (await fetch(`${open.http.url}/v2/models/iris-classifier`)).json()) as {
      versions: string[]
    }
    assert.deepEqual(versions, ['2'])
  })
})

describe('other tensors', () => {
  const EXPORTS = new URL('../fixtures/exports/', import.meta.url)
  const samplesOf = (model: string) =>
    readFileSync(new URL(`${model}/1/golden.jsonl`, EXPORTS), 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as { input: Record<string, never>; output: Record<string, unknown> })

  test('several inputs, strings and integers among them', async () => {
    await using open = await openDesk({ store: EXPORTS.pathname, models: ['sklearn-pipeline'] })
    const samples = samplesOf('sklearn-pipeline')
    const { spec } = open.models[0]!
    const datatypes = { string: 'BYTES', float32: 'FP32', int64: 'INT64' } as Record<string, string>
    const inputs = spec.inputs.map(({ tensor, type, features }) => ({
      name: tensor,
      datatype: datatypes[type],
      shape: [samples.length, 1],
      data: samples.map(({ input }) => input[features[0]!.name]),
    }))
    const answer = (await (await open.post('sklearn-pipeline/infer', { inputs })).json()) as Answer
    for (const [i, { output }] of samples.entries()) {
      const got = rowOf(answer, i)
      for (const { tensor, field } of spec.outputs) {
        const [expected, actual] = [output[field], got[tensor]].map(value => [value].flat(2) as unknown[]) as [
          unknown[],
          unknown[],
        ]
        for (const [e, value] of expected.entries()) {
          if (typeof value === 'number')
            assert.ok(Math.abs(value - (actual[e] as number)) < 1e-4, `${field}: ${actual[e]}`)
          else assert.deepEqual(actual[e], value)
        }
      }
    }
  })

  test('half floats in binary', async () => {
    await using open = await openDesk({ store: EXPORTS.pathname, models: ['torch-float16'] })
    const [sample] = samplesOf('torch-float16')
    const { inputs, outputs } = open.models[0]!.spec
    const values = Float16Array.from(
      inputs[0]!.features.flatMap(({ name }) => sample!.input[name] as unknown as number[]),
    )
    const header = JSON.stringify({
      inputs: [
        {
          name: inputs[0]!.tensor,
          datatype: 'FP16',
          shape: [1, ...inputs[0]!.rowShape],
          parameters: { binary_data_size: values.byteLength },
        },
      ],
      parameters: { binary_data_output: true },
    })
    const body = Buffer.concat([Buffer.from(header), Buffer.from(values.buffer)])
    const response = await open.post('torch-float16/infer', body, {
      'Inference-Header-Content-Length': String(header.length),
    })
    assert.equal(response.status, 200)
    const bytes = Buffer.from(await response.arrayBuffer())
    const at = Number(response.headers.get('inference-header-content-length'))
    const got = new Float16Array(
      bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + 2 * outputs[0]!.width),
    )
    const expected = [sample!.output[outputs[0]!.field]].flat() as number[]
    for (const [i, value] of expected.entries()) assert.ok(Math.abs(value - got[i]!) < 0.02, `${value} ${got[i]}`)
  })
})
