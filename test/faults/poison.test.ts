import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { Message } from 'kafkajs'
import { assertExactlyOnce } from '../support/audit.ts'
import { committedOffsets, until } from '../support/broker.ts'
import { headerText, type LogRecord } from '../support/record-log.ts'
import type { WorkerProcess } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { type FixtureModel, ROW_SUMS, writeFixtureBundle } from './bundles.ts'
import { MARK } from './marked-rows.ts'
import { health, temporaryFolder } from './support.ts'

const MARKED_ROWS = new URL('./marked-rows.ts', import.meta.url).href

type Poison = 'refused' | 'kills' | 'hangs' | 'sickens'

const CODES: Readonly<Record<Poison, string>> = {
  refused: 'inference-failed',
  kills: 'inference-crashed',
  hangs: 'inference-hung',
  sickens: 'inference-failed',
}

/** ROW_SUMS with its batch dimension fixed at 4. */
const FIXED: FixtureModel = {
  ...ROW_SUMS,
  graph: 'row-sums-of-4',
  inputs: ROW_SUMS.inputs.map(input => ({ ...input, shape: [4, 4] })),
  outputs: ROW_SUMS.outputs.map(output => ({ ...output, shape: [4, 1] })),
}

interface Scene {
  readonly model?: FixtureModel
  readonly partitions?: number
  /** Records of each partition. */
  readonly records: number
  /** What is wrong with which of them, by partition and index. */
  readonly poison: readonly (readonly [partition: number, index: number, poison: Poison])[]
  readonly env?: Readonly<Record<string, string>>
}

/** A worker whose sessions obey the marks, and all of the input in its topic before it starts. */
async function serve(t: TestContext, { model = ROW_SUMS, partitions = 1, records, poison, env = {} }: Scene) {
  const store = temporaryFolder(t, 'poison')
  writeFixtureBundle(store, model)
  const settings = { INPUT_FORMAT: 'json', OUTPUT_FORMAT: 'json', MODEL_STORE: store, MODEL_NAME: model.graph, ...env }
  const bed = await Testbed.create('poison', { partitions, env: settings })
  t.after(() => bed.close())
  const guilty = new Map(poison.map(([partition, index, kind]) => [`${partition}/${index}`, kind]))
  const messages: Message[] = []
  for (let partition = 0; partition < partitions; partition++) {
    for (let index = 0; index < records; index++) {
      const kind = guilty.get(`${partition}/${index}`)
      const a = kind === undefined ? index : MARK[kind]
      messages.push({ partition, key: `${partition}-${index}`, value: JSON.stringify({ a, b: 1, c: 2, d: 3 }) })
    }
  }
  await bed.produce(messages)
  const worker = bed.startWorker({}, [MARKED_ROWS])
  return { bed, worker, guilty }
}

/** Every good row has its own prediction, every guilty one its dead letter, and nothing is lost, doubled or out of order. */
async function assertServed(bed: Testbed, guilty: ReadonlyMap<string, Poison>): Promise<void> {
  await bed.caughtUp(20_000)
  const outcome = await bed.outcome()
  assertExactlyOnce(await bed.audit(outcome))
  const verdicts = outcome.deadLetters.map(letter => [String(letter.key), headerText(letter, 'error-code')])
  const expected = [...guilty].map(([at, kind]) => [at.replace('/', '-'), CODES[kind]])
  assert.deepEqual(verdicts.sort(), expected.sort())
  for (const letter of outcome.deadLetters) {
    assert.equal(headerText(letter, 'error-stage'), 'inference')
    assert.equal(headerText(letter, 'model-version'), '1')
  }
  for (const prediction of outcome.predictions) assertRight(prediction)
}

function assertRight(prediction: LogRecord): void {
  const index = Number(String(prediction.key).split('-')[1])
  assert.deepEqual(JSON.parse(String(prediction.value)), { sum: index + 6 }, String(prediction.key))
}

const events = (worker: WorkerProcess, event: string) => worker.metric('sluice_session_events_total', { event })

describe('a row that kills its session thread', { timeout: 60_000, concurrency: 2 }, () => {
  it('is found among a thousand, on one session, for a few threads', async t => {
    const { bed, worker, guilty } = await serve(t, {
      records: 1024,
      poison: [
        [0, 0, 'kills'],
        [0, 511, 'refused'],
        [0, 1023, 'kills'],
      ],
    })
    await worker.ready()
    await assertServed(bed, guilty)
    const crashed = await events(worker, 'crashed')
    // A batch, a piece and twice the row for each; it may be that not all came in one fetch.
    assert.ok(crashed >= 4 && crashed <= 8, `${crashed} threads died`)
    await until(
      async () => (await events(worker, 'restarted')) === crashed,
      () => 'a session did not come back',
    )
    await worker.ready()
    assert.equal(await worker.stop(), 0)
  })

  it('is found in several partitions at once, on several sessions, any number of them, at any place', async t => {
    const poison = [
      [0, 0, 'kills'],
      [0, 1, 'kills'],
      [0, 99, 'refused'],
      [1, 50, 'refused'],
      [2, 99, 'kills'],
    ] as const
    const env = { SESSIONS: 'cpu*2' }
    const { bed, worker, guilty } = await serve(t, { partitions: 3, records: 100, poison, env })
    await assertServed(bed, guilty)
    assert.equal(await worker.stop(), 0)
  })

  it('is found by a model with a fixed batch', async t => {
    const poison = [
      [0, 5, 'kills'],
      [0, 18, 'refused'],
    ] as const
    const { bed, worker, guilty } = await serve(t, { model: FIXED, records: 19, poison })
    await assertServed(bed, guilty)
    assert.equal(await worker.stop(), 0)
  })
})

describe('a row that hangs its session', { timeout: 60_000, concurrency: 2 }, () => {
  const env = { RUN_TIMEOUT_MS: '300', MAX_BATCH_SIZE: '32' }

  it('is found, its neighbours are predicted, and the worker ends in order', async t => {
    const { bed, worker, guilty } = await serve(t, { records: 40, poison: [[0, 20, 'hangs']], env })
    await assertServed(bed, guilty)
    assert.equal(await events(worker, 'hung'), 2)
    assert.equal(await worker.metric('sluice_session_threads_left_behind'), 2)
    assert.equal((await health(worker, 'ready')).status, 200)
    assert.equal(await worker.stop(), 0)
  })

  it('that came with a request never ends the worker: it answers no more requests, and its stream goes on', async t => {
    const { bed, worker, guilty } = await serve(t, { records: 40, poison: [[0, 20, 'hangs']], env })
    await worker.ready()
    const url = await worker.url('/v2/models/row-sums/')
    const ask = async (first: number) => {
      const data = [1, 2, 3, 4, first, 6, 7, 8]
      const body = JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [2, 4], data }] })
      const response = await fetch(`${url}infer`, { method: 'POST', body })
      return { status: response.status, text: await response.text() }
    }
    assert.equal((await ask(5)).status, 200)
    const found = await ask(MARK.hangs)
    assert.equal(found.status, 400)
    assert.match(found.text, /row 1 of the request: The model does not return from this row/)
    const refused = await ask(MARK.hangs)
    assert.deepEqual([refused.status, (await ask(5)).text], [503, refused.text])
    assert.match(refused.text, /version 1 of row-sums answers no more requests/)
    assert.equal((await fetch(`${url}ready`)).status, 503)
    assert.equal((await fetch(await worker.url('/v2/health/ready'))).status, 503)
    await bed.produce([{ partition: 0, key: '0-40', value: JSON.stringify({ a: 40, b: 1, c: 2, d: 3 }) }])
    await assertServed(bed, guilty)
    const { status, body } = await health(worker, 'ready')
    assert.deepEqual([status, body.notices.map(({ code }) => code)], [200, ['requests-hung']])
    assert.equal(await worker.stop(), 0)
  })

  it('ends the worker when too many do, even in native code, but not before its batch is behind it', async t => {
    const pipe = join(temporaryFolder(t, 'pipe'), 'pipe')
    execFileSync('mkfifo', [pipe])
    // In the first batch more than can be told apart, and in the second one that the next worker has to find.
    const indexes = [...Array.from({ length: 20 }, (_, i) => i), 40]
    const poison = indexes.map(index => [0, index, 'hangs'] as const)
    const hostile = { ...env, DRAIN_TIMEOUT_MS: '2000', MARKED_ROWS_FIFO: pipe }
    const { bed, worker, guilty } = await serve(t, { records: 64, poison, env: hostile })
    const complaint = await worker.waitForLog(line => line.code === 'sessions-hung')
    const begun = performance.now()
    assert.match(complaint.msg, /1[67] session threads hang/)
    assert.equal(await worker.exited, 1)
    assert.ok(performance.now() - begun < 10_000, 'it ends once it has drained')
    assert.ok((await committedOffsets(bed.group, bed.input))[0]! >= 32, 'the next one does not meet the same rows')
    const next = bed.startWorker({}, [MARKED_ROWS])
    await bed.caughtUp(20_000)
    const outcome = await bed.outcome()
    assertExactlyOnce(await bed.audit(outcome))
    const dead = new Map(outcome.deadLetters.map(letter => [String(letter.key).replace('-', '/'), letter]))
    for (const key of guilty.keys()) assert.ok(dead.has(key), `${key} has a dead letter`)
    for (const [key, letter] of dead) {
      assert.equal(headerText(letter, 'error-code'), 'inference-hung')
      if (!guilty.has(key)) assert.match(headerText(letter, 'error-message')!, /one of the \d+ that ran with it/)
    }
    assert.ok(Number(await events(next, 'hung')) <= 3)
    assert.equal(await next.stop(), 0)
  })
})

describe('a row that makes its session refuse every other', { timeout: 60_000, concurrency: 2 }, () => {
  for (const sessions of ['cpu', 'cpu*2']) {
    it(`(${sessions}) is the only dead letter; the sessions are replaced`, async t => {
      const env = { SESSIONS: sessions, MAX_BATCH_SIZE: '16' }
      const poison = [
        [0, 37, 'sickens'],
        [1, 11, 'refused'],
      ] as const
      const { bed, worker, guilty } = await serve(t, { partitions: 2, records: 100, poison, env })
      await assertServed(bed, guilty)
      assert.ok((await events(worker, 'distrusted')) > 0)
      const complaint = await worker.waitForLog(line => line.msg === 'A session is down; it starts again')
      assert.match(String(complaint.reason), /fails on a row that is known to be good: CUDA error 700/)
      await worker.ready()
      assert.equal(await worker.stop(), 0)
    })
  }
})
