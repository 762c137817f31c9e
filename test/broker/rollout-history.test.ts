import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { suite, test } from 'node:test'
import { type TimelineEntry, timelineRecord } from '../../src/core/timeline.ts'
import { HandMade } from '../audit/topics.ts'
import { createTopics, kafka, uniqueName } from '../support/broker.ts'
import { append } from '../support/rollout.ts'
import { runSluice } from '../support/sluice-process.ts'

suite('sluice model history', { timeout: 60_000 }, () => {
  test('prints what a read_committed reader sees of this group, topic and model', async t => {
    const { made, timeline, entry, run } = await stage()
    await append(made.options.brokers, timeline, timelineRecord(entry(0, 0, '1', { revision: 0 })))
    await append(made.options.brokers, timeline, timelineRecord(entry(1, 0, '1', { group: 'another' })))
    await append(made.options.brokers, timeline, timelineRecord(entry(1, 0, '1', { model: 'another' })))
    await append(made.options.brokers, timeline, { key: 'x', value: '{"format":9}' })
    const canary = { version: '3', sha256: 'c'.repeat(64), percent: 12.5 }
    const producer = kafka().producer({ transactionalId: uniqueName('task'), idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    t.after(() => producer.disconnect())
    const write = async (...entries: TimelineEntry[]) => {
      const transaction = await producer.transaction()
      await transaction.send({ topic: timeline, messages: entries.map(timelineRecord) })
      return transaction
    }
    await (await write(entry(0, 7, '9'))).abort()
    await (await write(entry(0, 40, '2', { canary }), entry(1, 5, '2'))).commit()
    await made.commit([90, 25])

    const { code, stdout, stderr } = await run()
    assert.equal(code, 0, stderr)
    assert.match(stderr, /^1 records of \S+ have a format that this release cannot read\.$/m)
    assert.deepEqual(stdout.trimEnd().split('\n'), [
      `${made.input}/0`,
      '  [0, 40)   2026-11-23T00:00:00.000Z  version 1 (1111111111111111, chosen by the worker)',
      '  [40, 90)  2026-11-23T00:00:00.000Z  version 2, canary 3 for 12.5 % of the keys (2222222222222222, revision 4)',
      `${made.input}/1`,
      '  [5, 25)   2026-11-23T00:00:00.000Z  version 2 (2222222222222222, revision 4)',
    ])
    const one = await run('--partition', '1', '--json')
    assert.deepEqual(JSON.parse(one.stdout).ranges, [
      {
        partition: 1,
        from: 5,
        to: 25,
        plan: { stable: '2', shadows: [] },
        sha256: { '2': '2'.repeat(64) },
        model: 'iris',
        revision: 4,
        since: Date.parse('2026-11-23'),
      },
    ])
  })

  test('says so when there is nothing, or no timeline', async () => {
    const { run, timeline } = await stage()
    assert.match((await run()).stdout, /says nothing of iris in group .*: are GROUP_ID and INPUT_TOPIC right\?/)
    const { code, stderr } = await run('--timeline-topic', `${timeline}-of-nobody`)
    assert.equal(code, 1)
    assert.match(stderr, /^sluice: Topic \S+-of-nobody does not exist\. \(topic-missing\)/)
    assert.equal((await run('--partition', 'x')).code, 2)
  })
})

async function stage() {
  const made = await HandMade.create(2)
  const timeline = uniqueName('timeline')
  await createTopics({ [timeline]: 1 })
  const env = { ...made.env, TIMELINE_TOPIC: timeline }
  const entry = (partition: number, offset: number, version: string, changes: Partial<TimelineEntry> = {}) => ({
    group: made.group,
    topic: made.input,
    partition,
    offset,
    model: 'iris',
    revision: 4,
    stable: { version, sha256: version.repeat(64) },
    shadows: [],
    at: Date.parse('2026-11-23'),
    ...changes,
  })
  const run = (...args: string[]) => runSluice(['model', 'history', 'iris', ...args], { cwd: tmpdir(), env })
  return { made, timeline, entry, run }
}
