import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, type TestContext, test } from 'node:test'
import type { TimelineEntry } from '../../src/core/timeline.ts'
import { temporaryFolder } from '../faults/support.ts'
import { assertExactlyOnce } from '../support/audit.ts'
import { until, withAdmin } from '../support/broker.ts'
import { copyVersions } from '../support/models.ts'
import { headerText, type LogRecord } from '../support/record-log.ts'
import { runSluice } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { answeredBy, canaryHash } from '../support/timeline.ts'
import { readTopic } from '../support/topic-reader.ts'
import { irisWorkload } from '../support/workload.ts'

const MODEL = 'iris-classifier'
const PARTITIONS = 4
const REFUSING_THREAD = new URL('./refusing-thread.ts', import.meta.url).href

/** A store in which the model has these versions, all of the same artifact. */
function storeOf(t: TestContext, ...versions: readonly string[]): string {
  const store = temporaryFolder(t, 'store')
  copyVersions(store, MODEL, versions)
  return store
}

function edit(file: string, change: (text: string) => string): void {
  writeFileSync(file, change(readFileSync(file, 'utf8')))
}

/** Runs `sluice model …` with the settings of the testbed. */
async function model(bed: Testbed, ...args: readonly string[]) {
  return await runSluice(['model', ...args, '--timeout', '30'], { env: bed.env })
}

/** Every prediction is of the version and the arm that the timeline has for its offset and its key; returns the versions. */
async function assertTimeline(bed: Testbed, predictions: readonly LogRecord[]): Promise<Set<string>> {
  const timeline = (await readTopic(bed.timeline)).map(({ value }) => JSON.parse(String(value)) as TimelineEntry)
  const seen = new Set<string>()
  for (const prediction of predictions) {
    const [, partition, offset] = headerText(prediction, 'source')!.split('/').map(Number) as [number, number, number]
    const expected = answeredBy(timeline, partition, offset, canaryHash(prediction.key, partition, offset))
    const got = `${headerText(prediction, 'model-version')} ${headerText(prediction, 'model-arm') ?? 'stable'}`
    assert.equal(got, expected, `${partition}/${offset}`)
    seen.add(got)
  }
  return seen
}

suite('a rollout, with real workers', { concurrency: 3, timeout: 120_000 }, () => {
  for (const [threads, guarantee] of [
    ['1', 'exactly-once'],
    ['2', 'exactly-once'],
    ['2', 'at-least-once'],
  ] as const) {
    test(`goes on under load, record for record, ${guarantee}, on ${threads} I/O threads`, async t => {
      const changed = { IO_THREADS: threads, PROCESSING_GUARANTEE: guarantee, MAX_BATCH_SIZE: '64' }
      const env = { MODEL_STORE: storeOf(t, '1', '2'), ...changed }
      const bed = await Testbed.create('rollout', { partitions: PARTITIONS, env: { ...env, MODEL_NAME: MODEL } })
      t.after(() => bed.close())
      await bed.startWorker().ready()
      const { messages, poisoned } = irisWorkload(6_000, { partitions: PARTITIONS })
      const changes = [
        ['promote', MODEL, '1'],
        ['canary', MODEL, '2', '--percent', '30'],
        ['promote', MODEL, '2'],
        ['shadow', MODEL, '1'],
        ['rollback', MODEL],
      ]
      await bed.produce(messages, async sent => {
        const change = changes[sent / 1_000 - 1]
        if (change === undefined) return
        const { code, stdout, stderr } = await model(bed, ...change)
        assert.equal(code, 0, `${change.join(' ')}: ${stdout}${stderr}`)
      })
      await bed.caughtUp()
      const outcome = await bed.outcome()
      assertExactlyOnce(await bed.audit(outcome))
      assert.equal(outcome.predictions.length, messages.length - poisoned)
      const seen = await assertTimeline(bed, outcome.predictions)
      assert.ok(seen.has('1 stable') && seen.has('2 stable') && seen.has('2 canary'), [...seen].join())
      const shadows = await readTopic(`${bed.output}.shadow`)
      assert.ok(shadows.length > 0)
      assert.ok(shadows.every(record => headerText(record, 'model-arm') === 'shadow'))
      assert.equal(new Set(shadows.map(record => headerText(record, 'source'))).size, shadows.length, 'none twice')
    })
  }

  test('what one of several threads cannot make ready leaves nothing behind: the next attempt begins anew', async t => {
    const env = { MODEL_STORE: storeOf(t, '1', '2'), MODEL_NAME: MODEL, IO_THREADS: '2' }
    const bed = await Testbed.create('rollout-refusing', { partitions: PARTITIONS, env })
    t.after(() => bed.close())
    assert.equal((await model(bed, 'promote', MODEL, '1')).code, 0)
    const worker = await bed.startWorker({}, [REFUSING_THREAD]).ready()
    const refused = await model(bed, 'promote', MODEL, '2')
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /this thread has no room left/)
    await bed.produce(irisWorkload(200, { partitions: PARTITIONS }).messages)
    await bed.caughtUp()
    const accepted = await model(bed, 'promote', MODEL, '2')
    assert.equal(accepted.code, 0, accepted.stderr + worker.describe())
    await bed.produce(irisWorkload(200, { partitions: PARTITIONS }).messages)
    await bed.caughtUp()
    const outcome = await bed.outcome()
    assertExactlyOnce(await bed.audit(outcome))
    assert.deepEqual(await assertTimeline(bed, outcome.predictions), new Set(['1 stable', '2 stable']))
  })

  test('a worker that starts later shadows, too, and goes on when the topic of the shadows is deleted', async t => {
    const env = { MODEL_STORE: storeOf(t, '1', '2'), MODEL_NAME: MODEL, METADATA_MAX_AGE_MS: '500' }
    const bed = await Testbed.create('rollout-shadow', { partitions: PARTITIONS, env })
    t.after(() => bed.close())
    for (const change of [
      ['promote', MODEL, '1'],
      ['shadow', MODEL, '2'],
    ]) {
      const { code, stderr } = await model(bed, ...change)
      assert.equal(code, 0, stderr)
    }
    const shadowTopic = `${bed.output}.shadow`
    const worker = await bed.startWorker().ready()
    const { messages } = irisWorkload(400, { partitions: PARTITIONS })
    const shadowed = async () => (await worker.metric('sluice_shadow_predictions_total')) > 0
    await until(
      async () => {
        await bed.produce(messages)
        return await shadowed()
      },
      () => 'nothing is shadowed',
      20_000,
    )
    await bed.caughtUp()
    assert.ok((await readTopic(shadowTopic)).length > 0)
    await withAdmin(admin => admin.deleteTopics({ topics: [shadowTopic] }))
    await worker.waitForLog(({ msg, reason }) => /topic of the shadows/.test(msg) && reason === 'it does not exist')
    await bed.produce(messages)
    await bed.caughtUp()
    assertExactlyOnce(await bed.audit())
  })

  test('a version that does not verify never answers, and a worker that starts later begins with what is live', async t => {
    const store = storeOf(t, '1', '3')
    edit(join(store, MODEL, '3', 'golden.jsonl'), text => text.replace(/"label": ?\d/, '"label": 77'))
    const env = { MODEL_STORE: store, MODEL_NAME: MODEL }
    const bed = await Testbed.create('rollout-broken', { partitions: PARTITIONS, env })
    t.after(() => bed.close())
    const first = await model(bed, 'promote', MODEL, '1')
    assert.equal(first.code, 0, `without workers: ${first.stderr}`)
    const worker = await bed.startWorker().ready()
    const refused = await model(bed, 'promote', MODEL, '3')
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /golden sample 1/)
    await bed.produce(irisWorkload(400, { partitions: PARTITIONS }).messages)
    await bed.caughtUp()
    assert.deepEqual(await assertTimeline(bed, (await bed.outcome()).predictions), new Set(['1 stable']))
    assert.ok(
      worker.log.some(({ level, code }) => level === 'warn' && code === 'golden-mismatch'),
      worker.describe(),
    )
  })
})
