import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { suite, type TestContext, test } from 'node:test'
import { temporaryFolder } from '../faults/support.ts'
import { type Audit, assertExactlyOnce, audit } from '../support/audit.ts'
import { committedOffsets, endOffsets, until, withAdmin } from '../support/broker.ts'
import { copyVersions, frame, IRIS_SCHEMA_ID } from '../support/models.ts'
import { headerText, type LogRecord, sourceOf } from '../support/record-log.ts'
import { runSluice, spawnSluice } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { readTopic } from '../support/topic-reader.ts'
import { irisWorkload } from '../support/workload.ts'

const MODEL = 'iris-classifier'
const PARTITIONS = 4

/** A testbed whose model has these versions, and whose replays go to a topic of their own. */
async function stage(t: TestContext, name: string, versions: readonly string[], env: Record<string, string> = {}) {
  const store = temporaryFolder(t, 'store')
  copyVersions(store, MODEL, versions, [MODEL, 'iris-xgboost'])
  const bed = await Testbed.create(name, { partitions: PARTITIONS, env: { MODEL_STORE: store, ...env } })
  t.after(() => bed.close())
  const output = `${bed.output}-replayed`
  const args = (...more: readonly string[]) => ['replay', '--replay-id', name, '--output-topic', output, ...more]
  return {
    bed,
    store,
    output,
    args,
    replay: (...more: readonly string[]) => runSluice(args(...more), { env: bed.env }),
  }
}

async function change(bed: Testbed, ...args: readonly string[]): Promise<void> {
  const { code, stderr } = await runSluice(['model', ...args, '--timeout', '30'], { env: bed.env })
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`)
}

/** What a replay made of the input, its own header put aside. */
async function outcomeOf(bed: Testbed, output: string, id: string) {
  const [inputs, replayed, deadLetters] = await Promise.all(
    [bed.input, output, `${output}.dlq`].map(topic => readTopic(topic)),
  )
  const without = (record: LogRecord) => {
    assert.equal(headerText(record, 'replay-id'), id)
    return { ...record, headers: record.headers.filter(([name]) => name !== 'replay-id') }
  }
  return { inputs: inputs!, predictions: replayed!.map(without), deadLetters: deadLetters!.map(without) }
}

const auditOf = ({ inputs, predictions, deadLetters }: Awaited<ReturnType<typeof outcomeOf>>): Audit =>
  audit(inputs, predictions, deadLetters)

/** Confluent's framing: the schema of another topic has another id. */
const FRAME_BYTES = 5

/** Version, arm and value of each prediction, by the record that it is of. */
function answers(predictions: readonly LogRecord[]): Map<string, string> {
  return new Map(
    predictions.map(record => {
      const by = `${headerText(record, 'model-version')} ${headerText(record, 'model-arm') ?? ''}`
      return [headerText(record, 'source')!, `${by} ${record.value?.toString('hex', FRAME_BYTES)}`]
    }),
  )
}

suite('a replay', { concurrency: 2, timeout: 180_000 }, () => {
  test('as of then repeats what five versions and a canary said, byte for byte, killed twice and shared by two', async t => {
    const { bed, output, args } = await stage(t, 'replay-as-of', ['1', '2', '3', '4', '5'])
    await bed.startWorker().ready()
    const { messages, poisoned } = irisWorkload(12_000, { partitions: PARTITIONS })
    const changes = [
      ['promote', MODEL, '2'],
      ['promote', MODEL, '3'],
      ['canary', MODEL, '1', '--percent', '30'],
      ['promote', MODEL, '4'],
      ['promote', MODEL, '5'],
    ]
    await bed.produce(messages, async sent => {
      if (sent % 2_000 === 0 && changes.length > 0) await change(bed, ...changes.shift()!)
    })
    await bed.caughtUp()
    const before = await committedOffsets(bed.group, bed.input)
    const slow = ['--model-version', 'as-of', '--rate', '3000']
    for (const share of [0.1, 0.4]) {
      const killed = spawnSluice(args(...slow), { env: bed.env })
      const over = once(killed, 'close')
      const group = 'replay-replay-as-of'
      const reached = async () => sum(await committedOffsets(group, bed.input)) > share * messages.length
      await until(reached, () => `nothing was replayed: ${killed.exitCode}`, 30_000)
      killed.kill('SIGKILL')
      await over
    }
    // Other speed, same request: the two share what is left.
    const both = await Promise.all(
      [1, 2].map(() => runSluice(args('--model-version', 'as-of', '--json'), { env: bed.env })),
    )
    for (const { code, stderr } of both) assert.equal(code, 0, stderr)
    const summaries = both.map(({ stdout }) => JSON.parse(stdout))
    assert.deepEqual(summaries[0].ranges, summaries[1].ranges)
    const { predictions } = await bed.outcome()
    const again = await outcomeOf(bed, output, 'replay-as-of')
    assertExactlyOnce(auditOf(again))
    assert.equal(again.predictions.length, messages.length - poisoned)
    const live = answers(predictions)
    const different = [...answers(again.predictions)].filter(([source, answer]) => live.get(source) !== answer)
    assert.deepEqual(different.slice(0, 3), [])
    const versions = new Set(predictions.map(record => headerText(record, 'model-version')))
    assert.deepEqual([...versions].sort(), ['1', '2', '3', '4', '5'])
    assert.deepEqual(await committedOffsets(bed.group, bed.input), before, 'the live group stays where it was')
    const done = await runSluice(args('--model-version', 'as-of'), { env: bed.env })
    assert.equal(done.code, 0, 'once more: there is nothing left to do')
    assert.match(done.stdout, /is complete: .*^here: 0 records/ms)
  })

  test('of a range of offsets, by another version, ends where it was told to, in the middle of a batch', async t => {
    const { bed, output, replay } = await stage(t, 'replay-range', ['1', '2'])
    await bed.produce(irisWorkload(2_000, { partitions: PARTITIONS, poisonEvery: 0 }).messages)
    const range = ['--from', 'offset:0=17,1=0,2=499,3=500', '--to', 'offset:0=101,1=1,2=500,3=500']
    const planned = await replay(...range, '--model-version', '2', '--dry-run', '--json')
    assert.equal(planned.code, 0, planned.stderr)
    assert.deepEqual(JSON.parse(planned.stdout).offsets, { total: 84 + 1 + 1, done: 0 })
    const { code, stdout, stderr } = await replay(...range, '--model-version', '2', '--json')
    assert.equal(code, 0, stderr)
    const { here } = JSON.parse(stdout)
    assert.deepEqual([here.records, here.versions], [86, { 2: 86 }])
    const sources = (await readTopic(output)).map(record => headerText(record, 'source')!)
    const expected = (await readTopic(bed.input))
      .filter(({ partition, offset }) => {
        const [from, to] = [
          [17, 101],
          [0, 1],
          [499, 500],
          [500, 500],
        ][partition] as [number, number]
        return offset >= from && offset < to
      })
      .map(sourceOf)
    assert.deepEqual(sources.sort(), expected.sort())
  })

  test('what the log gains after it has begun is not its affair', async t => {
    const { bed, replay, output } = await stage(t, 'replay-end', ['1'])
    const { messages } = irisWorkload(800, { partitions: PARTITIONS, poisonEvery: 0 })
    await bed.produce(messages)
    assert.equal((await replay()).code, 0)
    await bed.produce(messages)
    const again = await replay()
    assert.equal(again.code, 0, again.stderr)
    assert.equal(sum(await endOffsets(bed.input)), 1_600)
    assert.equal((await readTopic(output)).length, 800)
  })

  test('refuses what it cannot do, and says why, before it begins', async t => {
    const { bed, store, replay, args } = await stage(t, 'replay-refuses', ['1', '2'])
    const { messages } = irisWorkload(400, { partitions: PARTITIONS, poisonEvery: 0 })
    await bed.produce(messages)
    const worker = await bed.startWorker().ready()
    await bed.caughtUp()
    await change(bed, 'promote', MODEL, '1')
    await bed.produce(messages)
    await bed.caughtUp()
    const refused = async (pattern: RegExp, ...more: readonly string[]) => {
      const { code, stderr } = await replay(...more)
      assert.match(stderr, pattern)
      assert.notEqual(code, 0)
      assert.deepEqual(await committedOffsets('replay-replay-refuses', bed.input), [-1, -1, -1, -1])
    }
    await refused(/has predictions that are no replay's/, '--output-topic', bed.output)
    await refused(/must not be INPUT_TOPIC/, '--output-topic', bed.input)
    await refused(/offset 9999 of .*\/2, which ends at/, '--to', 'offset:2=9999')
    await refused(/has no partition 7/, '--from', 'offset:7=0')
    await refused(/has no version "9"/, '--model-version', '9')
    await refused(/--replay-id is "a\/b"/, '--replay-id', 'a/b')
    const stranger = ['--model-version', 'as-of', '--group-id', `${bed.group}-other`]
    await refused(/GROUP_ID .*-other has answered nothing/, ...stranger)
    assert.equal((await replay('--model-version', '2')).code, 0)
    const other = await replay('--model-version', '1')
    assert.equal(other.code, 1)
    assert.match(other.stderr, /was begun with other options/)
    await worker.stop()
    for (const [bundle, pattern] of [
      ['iris-xgboost', /has no version "1"/],
      [MODEL, /Version 2 of iris-classifier is another artifact/],
    ] as const) {
      const elsewhere = join(store, bundle)
      copyVersions(elsewhere, MODEL, ['2'], [bundle])
      const gone = args('--model-version', 'as-of', '--model-store', elsewhere, '--replay-id', 'gone')
      const { code, stderr } = await runSluice(gone, { env: bed.env })
      assert.equal(code, 1)
      assert.match(stderr, pattern)
    }
  })

  test('compares each prediction with the live one, and ends with a table', async t => {
    const { bed, output, replay } = await stage(t, 'replay-compare', ['1', '2', '3'])
    await bed.startWorker({ MODEL_VERSION: '1' }).ready()
    const { messages, poisoned } = irisWorkload(1_500, { partitions: PARTITIONS })
    await bed.produce(messages)
    await bed.caughtUp()
    await Promise.all(bed.workers.map(worker => worker.stop()))
    await bed.produce(messages.slice(0, 100)) // not answered yet
    const compare = ['--compare', '--live-topic', bed.output]
    const same = await replay(...compare, '--model-version', '3', '--json')
    assert.equal(same.code, 0, same.stderr)
    const { agreement } = JSON.parse(same.stdout)
    assert.deepEqual([agreement.compared, agreement.different], [messages.length - poisoned, 0])
    assert.equal(agreement.missing, 99, 'of a hundred one is bad')
    const other = await replay(
      ...compare,
      '--model-version',
      '2',
      '--replay-id',
      'other',
      '--output-topic',
      `${output}-2`,
    )
    assert.equal(other.code, 0, other.stderr)
    assert.match(other.stdout, /of 1,485 differ from the live ones/)

    const live = answers((await bed.outcome()).predictions)
    let different = 0
    for (const record of await readTopic(`${output}-2`)) {
      const former = live.get(headerText(record, 'source')!)
      if (former === undefined) {
        assert.equal(headerText(record, 'differs'), undefined)
        continue
      }
      assert.equal(headerText(record, 'live-model-version'), '1')
      const { label, probabilities } = JSON.parse(headerText(record, 'live-prediction')!)
      assert.ok(Number.isInteger(label) && probabilities.length === 3)
      const isSame = former.split(' ').at(-1) === record.value!.toString('hex', FRAME_BYTES)
      if (isSame) assert.equal(headerText(record, 'differs'), 'false')
      if (headerText(record, 'differs') === 'true') different++
    }
    assert.ok(different > 0, 'another model says something else')
    assert.match(other.stdout, new RegExp(`^${different.toLocaleString('en-US')} of 1,485 differ`, 'm'))
  })

  test('a comparison passes over thousands of live predictions of records that are dead letters now', async t => {
    const { bed, replay } = await stage(t, 'replay-refusing', ['1'], { MAX_BATCH_SIZE: '1024' })
    const odd = frame(IRIS_SCHEMA_ID, { sepal_length: Number.NaN, sepal_width: 1, petal_length: 1, petal_width: 1 })
    const good = irisWorkload(100, { poisonEvery: 0 }).messages.map(message => ({ ...message, partition: 0 }))
    await bed.produce([...Array.from({ length: 21_000 }, () => ({ value: odd, partition: 0 })), ...good])
    const worker = await bed.startWorker({ ALLOW_NON_FINITE: 'true' }).ready()
    await bed.caughtUp()
    await worker.stop()
    const { code, stdout, stderr } = await replay('--compare', '--live-topic', bed.output, '--json')
    assert.equal(code, 0, stderr)
    const { here, agreement } = JSON.parse(stdout)
    assert.deepEqual([here.deadLetters, agreement.compared, agreement.different], [21_000, 100, 0])
  })

  test('partitions that come while it runs are for the next run', async t => {
    const { bed, replay, output } = await stage(t, 'replay-grows', ['1'])
    const { messages } = irisWorkload(800, { partitions: PARTITIONS, poisonEvery: 0 })
    await bed.produce(messages)
    const running = replay('--rate', '200', '--json')
    const begun = async () => sum(await committedOffsets('replay-replay-grows', bed.input)) > 0
    await until(begun, () => 'nothing was replayed', 30_000)
    await withAdmin(admin => admin.createPartitions({ topicPartitions: [{ topic: bed.input, count: PARTITIONS + 2 }] }))
    // A producer whose broker has not heard of a partition drops what is for it, and says nothing.
    const known = async () => (await endOffsets(bed.input)).length === PARTITIONS + 2
    await until(known, () => 'the partitions did not come', 30_000)
    await bed.produce(messages.slice(0, 50).map(message => ({ ...message, partition: PARTITIONS + 1 })))
    const { code, stdout, stderr } = await running
    assert.equal(code, 0, stderr)
    assert.equal(JSON.parse(stdout).here.records, 800)
    const next = await replay('--json')
    assert.equal(next.code, 0, next.stderr)
    assert.equal(JSON.parse(next.stdout).here.records, 50)
    const sources = (await readTopic(output)).map(record => headerText(record, 'source')!)
    assert.deepEqual([sources.length, new Set(sources).size], [850, 850])
  })

  test('of two of one name, begun at once with different versions, never both end well, and no record is answered twice', async t => {
    const { bed, replay, output } = await stage(t, 'replay-twins', ['1', '2'])
    await bed.produce(irisWorkload(2_000, { partitions: PARTITIONS, poisonEvery: 0 }).messages)
    const both = await Promise.all(['1', '2'].map(version => replay('--model-version', version)))
    const failed = both.filter(({ code }) => code !== 0)
    assert.ok(failed.length > 0, both.map(({ stdout }) => stdout).join())
    for (const { code, stderr } of failed) {
      assert.equal(code, 1)
      assert.match(stderr, /with other options, was begun at the same time|was begun with other options/)
    }
    const sources = (await readTopic(output)).map(record => headerText(record, 'source')!)
    assert.equal(new Set(sources).size, sources.length)
    if (failed.length === 1) assert.equal(sources.length, 2_000)
  })

  test('no faster than its rate', async t => {
    const { bed, replay } = await stage(t, 'replay-rate', ['1'])
    await bed.produce(irisWorkload(4_000, { partitions: PARTITIONS, poisonEvery: 0 }).messages)
    const { code, stdout, stderr } = await replay('--rate', '1000', '--json')
    assert.equal(code, 0, stderr)
    const { here } = JSON.parse(stdout)
    assert.equal(here.records, 4_000)
    // What is in flight when it begins is not held back.
    assert.ok(here.seconds > 2.5, `${here.records} records in ${here.seconds} s`)
  })
})

function sum(offsets: readonly number[]): number {
  return offsets.reduce((total, offset) => total + Math.max(0, offset), 0)
}
