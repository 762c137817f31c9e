import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { SluiceError } from '../../src/core/errors.ts'
import type { Admission, InferCall, InferenceApi } from '../../src/core/inference-api.ts'
import { silentLog } from '../../src/core/log.ts'
import { Health } from '../../src/ops/health.ts'
import { type HttpOptions, type HttpServer, serveHttp } from '../../src/ops/http.ts'
import { Metrics } from '../../src/ops/metrics.ts'

/** The API over HTTP, with a test in the place of the models. */
async function serve(t: TestContext, infer: (call: InferCall) => void, options: Partial<HttpOptions> = {}) {
  const left = Promise.withResolvers<void>()
  const answered: number[] = []
  const admission: Admission = { answered: bytes => answered.push(bytes), leave: () => left.resolve() }
  const api: InferenceApi = {
    ready: true,
    maxBodyBytes: 1_000,
    metadata: () => assert.fail('not asked for'),
    requireReady: () => {},
    enter: () => admission,
    infer,
  }
  const server = await serveHttp({
    host: '127.0.0.1',
    port: 0,
    release: '9.9.9',
    log: silentLog,
    health: new Health({ clock: systemClock, log: silentLog }),
    metrics: new Metrics({ release: '9.9.9', process: false }),
    api,
    ...options,
  })
  t.after(() => server.close())
  return { server, answered, left: left.promise }
}

const ask = (server: HttpServer) => fetch(`${server.url}/v2/models/a/infer`, { method: 'POST', body: '{}' })

test('what goes wrong inside is in the log, and not in the answer', async t => {
  const logged: unknown[] = []
  const log = { ...silentLog, error: ({ error }: Record<string, unknown>) => logged.push(error) }
  const errors = [new SluiceError('internal', 'secret detail'), new SluiceError('session-crashed', 'secret detail')]
  let refused = 0
  const { server } = await serve(t, call => call.refuse(errors[refused++]!), { log })
  for (const _ of errors) {
    const response = await ask(server)
    assert.equal(response.status, 500)
    const { error } = (await response.json()) as { error: string }
    assert.equal(error, 'internal error: the request failed, and the log of this process says why')
  }
  assert.deepEqual(logged, errors)
})

test('an error of the request, or a state that passes, is in the answer and not in the log', async t => {
  const log = { ...silentLog, error: () => assert.fail('nothing went wrong inside') }
  const errors = {
    400: 'request-failed',
    404: 'version-not-served',
    413: 'request-too-large',
    503: 'not-ready',
  } as const
  for (const [status, code] of Object.entries(errors)) {
    const { server } = await serve(t, call => call.refuse(new SluiceError(code, `because of ${code}`)), { log })
    const response = await ask(server)
    assert.deepEqual([response.status, await response.json()], [Number(status), { error: `because of ${code}` }])
    assert.equal(response.headers.get('retry-after'), status === '503' ? '1' : null)
  }
})

const stallTimeoutMs = 50

/** A model that takes longer than a client may stall. */
const slow =
  (body: string) =>
  ({ answer }: InferCall) =>
    void setTimeout(() => answer({ body, headerLength: undefined }), 3 * stallTimeoutMs)

test('a client that does not read its answer is cut off, and its place is free', { timeout: 20_000 }, async t => {
  const moreThanSocketsHold = 'x'.repeat(64_000_000)
  const { server, answered, left } = await serve(t, slow(moreThanSocketsHold), { stallTimeoutMs })
  const socket = connect(server.port, '127.0.0.1').pause()
  t.after(() => socket.destroy())
  socket.write('POST /v2/models/a/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}')
  await left
  assert.deepEqual(answered, [moreThanSocketsHold.length], 'until then its answer counted')
})

test('a model may take longer than that', async t => {
  const { server } = await serve(t, slow('{}'), { stallTimeoutMs })
  assert.equal(await (await ask(server)).text(), '{}')
})
