import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseInferRequest } from '../../src/api/infer-request.ts'
import type { SluiceError } from '../../src/core/errors.ts'
import type { InferAnswer } from '../../src/core/inference-api.ts'
import { ApiVersion } from '../../src/requests/api-version.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'
import { FakePool, LAYOUT } from '../pipeline/fake-pool.ts'
import { FakeBatcherTelemetry } from '../pipeline/fake-telemetry.ts'
import { MODEL } from '../pipeline/task-harness.ts'

const SPEC = { ...MODEL, ...LAYOUT, fixedBatch: null, tolerance: { absolute: 0, relative: 0 }, training: {} }
const BODY = Buffer.from('{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"data":[666]}]}')
const asked = (apiMaxBodyBytes: number) => parseInferRequest(BODY, undefined, SPEC, { apiMaxRows: 9, apiMaxBodyBytes })
const REQUEST = asked(999)

/** For a request that nobody tells of anything. */
const TIMEOUT = { timeout: 10_000 }

/** A version on one session, beside a stream or alone, and requests for a row that hangs each thread that meets it. */
function hanging({ mostHung }: { mostHung?: number }) {
  const pool = new FakePool({ sessions: 1, slots: 5 })
  pool.hung = { count: 0, most: 16 }
  const told: (string | undefined)[] = []
  const version = new ApiVersion({
    model: { spec: SPEC, pool, sample: undefined, close: async () => {} },
    clock: new FakeClock(),
    share: 0.1,
    maxQueueDelayMs: 0,
    telemetry: new FakeBatcherTelemetry(),
    mostHung,
    onCondition: error => told.push(error?.code),
  })
  /** Resolves to why it is not answered. */
  const ask = () =>
    new Promise<SluiceError>(refuse => {
      const answer = () => assert.fail('it was answered')
      version.run(REQUEST, Number.POSITIVE_INFINITY, { answer, refuse, abandoned: () => false })
    })
  /** Until nothing runs any more. */
  const hang = async () => {
    for (await settle(); pool.runs.length > 0; await settle()) {
      pool.hung.count++
      pool.runs[0]!.fail('session-hung')
    }
  }
  return { pool, version, told, ask, hang }
}

test('an answer that turns out larger than a body may be is refused, and others are answered', TIMEOUT, async () => {
  const { pool, version } = hanging({})
  const ask = (maxBytes: number) =>
    new Promise<SluiceError | string>(settled => {
      const answer = ({ body }: InferAnswer) => settled(String(body))
      version.run(asked(maxBytes), Number.POSITIVE_INFINITY, { answer, refuse: settled, abandoned: () => false })
    })
  const answers = [ask(999), ask(50)]
  for (await settle(); pool.runs.length > 0; await settle()) pool.runs[0]!.succeed()
  const [answer, refusal] = (await Promise.all(answers)) as [string, SluiceError]
  assert.equal(refusal.code, 'request-too-large')
  assert.match(refusal.message, new RegExp(`^the answer to 1 rows has ${answer.length} bytes; .* allows 50\\.`))
  await version.drained()
})

test('beside a stream: rows that hang end the answers of their version, and nothing else', TIMEOUT, async () => {
  const { pool, version, told, ask, hang } = hanging({ mostHung: 4 })
  const first = ask()
  await hang()
  assert.match((await first).message, /^row 0 of the request: The model does not return from this row/)
  assert.deepEqual([told, version.refusal], [[], undefined])
  const second = ask()
  await settle()
  const waiting = ask()
  await hang()
  for (const error of [await second, await waiting, await ask(), version.refusal!]) {
    assert.equal(error.code, 'requests-hung')
    assert.match(
      error.message,
      /^rows of requests have left [34] session threads hanging: version 3 of iris answers no/,
    )
  }
  assert.deepEqual(told, ['requests-hung'])
  assert.deepEqual([version.tasks.idle, version.tasks.hung], [1, { count: 0, most: 16 }])
  const slot = version.tasks.acquire()!
  const run = version.tasks.run(slot, 0, 1)
  pool.runs[0]!.succeed()
  await run
  await version.drained()
})

test('alone: rows that hang end the process once it bears no more', TIMEOUT, async () => {
  const { pool, version, told, ask, hang } = hanging({})
  const codes: string[] = []
  while (told.length === 0) {
    const asked = ask()
    await hang()
    codes.push((await asked).code)
  }
  assert.deepEqual(codes, [...Array(7).fill('request-failed'), 'not-ready'])
  assert.deepEqual([told, pool.hung.count, version.refusal?.code], [['sessions-hung'], 15, 'not-ready'])
})
