import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { on, once } from 'node:events'
import { tmpdir } from 'node:os'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { vanished } from '../../src/audit/verdict.ts'
import type { AuditVerdict } from '../../src/auditing/audit-contract.ts'
import { auditTopics, followTopics } from '../../src/auditing/auditing.ts'
import { conclusion } from '../../src/commands/audit-report.ts'
import { withAdmin } from '../support/broker.ts'
import { runSluice } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { irisWorkload } from '../support/workload.ts'
import { range } from './batches.ts'
import { HandMade } from './topics.ts'

/** Away from the checkout, so that a developer's `.env` has no say. */
const cwd = tmpdir()

/** Runs `sluice audit` in a process of its own. */
const audit = (env: Record<string, string>, ...args: string[]) => runSluice(['audit', ...args], { cwd, env })

/** Starts `sluice audit --follow` in a process that ends with this one. */
function follow(env: Record<string, string>): ChildProcess {
  const url = (path: string) => new URL(`../../${path}`, import.meta.url)
  const args = ['--import', url('dev/tether.ts').href, fileURLToPath(url('src/cli.ts')), 'audit', '--follow']
  return spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, ...env },
    cwd,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
}

/** Counts of faults; those that are 0 are left out. */
function faultsOf({ faults }: AuditVerdict): Record<string, number> {
  const counts = Object.entries(faults).map(([kind, { count }]) => [kind, count] as const)
  return Object.fromEntries(counts.filter(([, count]) => count > 0))
}

suite('sluice audit', { concurrency: true, timeout: 60_000 }, () => {
  test('a real worker: clean while it works and afterwards', async t => {
    const bed = await Testbed.create('audit', { partitions: 2 })
    t.after(() => bed.close())
    const { env, group: groupId, input: inputTopic, output: outputTopic, deadLetter: deadLetterTopic } = bed
    const brokers = env.KAFKA_BROKERS!.split(',')
    const following = await followTopics({ brokers, groupId, inputTopic, outputTopic, deadLetterTopic })
    const workload = irisWorkload(5_000, { partitions: 2 })
    const worker = bed.startWorker()
    await bed.produce(workload.messages)
    await bed.caughtUp()

    const working = await audit(env, '--json')
    const atWork = JSON.parse(working.stdout) as AuditVerdict
    assert.equal(working.code, 0, working.stderr)
    assert.equal(atWork.atWork, true)
    assert.equal(await worker.stop(), 0)

    const early = await following.stop()
    const late = await audit(env, '--json', '--values')
    const verdict = JSON.parse(late.stdout) as AuditVerdict
    assert.equal(late.code, 0, late.stderr)
    for (const { clean, atWork: _, ...each } of [atWork, early, verdict]) {
      assert.equal(clean, true)
      assert.deepEqual(faultsOf({ clean, atWork: _, ...each }), {})
      assert.deepEqual([each.inputs, each.deadLetters, each.pending], [5_000, workload.poisoned, 0])
      assert.equal(each.predictions, 5_000 - workload.poisoned)
    }
    assert.deepEqual(vanished(early, verdict), [])
    const { equal, different, unchecked } = verdict.values!
    assert.deepEqual([equal, different.count, unchecked.count], [verdict.predictions, 0, 0])
  })

  test('topics written by hand: each fault is named', async () => {
    const made = await HandMade.create(2)
    await made.feed(20)
    await made.predict(0, [...range(0, 5), 6, 5, ...range(7, 12), 11, ...range(13, 20)])
    await made.predict(1, [...range(0, 9), 11])
    await made.bury(1, [9])
    await made.answer(1, 'somewhere/else/3')
    await made.answer(1, `${made.input}/1/777`)
    await made.commit([20, 10])

    const [{ code, stdout, stderr }, report, within] = await Promise.all([
      audit(made.env, '--json'),
      audit(made.env, '--examples', '1'),
      audit(made.env, '--json', '--from', 'offset:0=13,1=0', '--to', 'offset:1=9'),
    ])
    assert.equal(code, 1)
    assert.match(stderr, /^sluice: Not exactly once: [^\n]*\(audit-failed\)[^\n]*\n$/)
    const verdict = JSON.parse(stdout) as AuditVerdict
    assert.equal(verdict.clean, false)
    assert.deepEqual(faultsOf(verdict), { lost: 1, doubled: 1, misordered: 1, torn: 1, foreign: 2 })
    const { lost, doubled, misordered, torn, foreign } = verdict.faults
    const place = (topic: string, partition: number, offset: number) => ({ topic, partition, offset })
    assert.deepEqual(lost.examples[0]?.input, place(made.input, 0, 12))
    assert.deepEqual(doubled.examples[0]?.input, place(made.input, 0, 11))
    assert.deepEqual(doubled.examples[0]?.seen, place(made.output, 0, 12))
    assert.deepEqual(misordered.examples[0]?.seen, place(made.output, 0, 6))
    assert.deepEqual(torn.examples[0]?.input, place(made.input, 1, 11))
    assert.deepEqual(torn.examples[0]?.seen, place(made.output, 1, 9))
    assert.match(foreign.examples[0]!.detail, /"somewhere\/else\/3"/)
    assert.deepEqual(foreign.examples[1]?.input, place(made.input, 1, 777))
    assert.equal(verdict.pending, 9)

    assert.equal(report.code, 1)
    assert.match(report.stdout, /^lost +1 /m)
    assert.match(report.stdout, new RegExp(`^lost: ${made.input}/0/12$`, 'm'))
    assert.match(report.stdout, /^foreign: and 1 more$/m)
    assert.match(report.stdout, /^Not exactly once: 1 lost, 1 doubled, 1 misordered, 1 torn, 2 foreign\.$/m)

    const ranged = JSON.parse(within.stdout) as AuditVerdict
    assert.deepEqual(faultsOf(ranged), { foreign: 1 })
    assert.equal(ranged.inputs, 16)
  })

  test('values of which none could be compared are not called right', async () => {
    const made = await HandMade.create()
    await made.feed(3)
    await made.predict(0, range(0, 3)) // names a model, but no version
    await made.commit([3])
    const env = { ...made.env, INPUT_FORMAT: 'json', OUTPUT_FORMAT: 'json' }
    const [{ code, stdout, stderr }, report] = await Promise.all([
      audit(env, '--values', '--json'),
      audit(env, '--values'),
    ])
    const { clean, values, ...verdict } = JSON.parse(stdout) as AuditVerdict
    assert.deepEqual(faultsOf({ clean, ...verdict }), {})
    assert.deepEqual([code, clean, values?.equal, values?.unchecked.count], [1, false, 0, 3])
    assert.equal(values?.unchecked.reasons.version, 3)
    assert.match(stderr, /no fault was found, but 3 of 3 values could not be compared\. \(audit-failed\)/)
    assert.match(report.stdout, /^3 values unchecked: they do not name a model and its version$/m)
  })

  test('a group that moves on while it is read is not blamed', async () => {
    const made = await HandMade.create()
    await made.feed(6)
    await made.predict(0, range(0, 4))
    await made.commit([2])
    let moved: Promise<void> | undefined
    const moveOn = async () => {
      await made.feed(2)
      await made.predict(0, range(4, 8))
      await made.commit([5])
    }
    // Asked before the first record is read, when the ends have been looked up already.
    const room = () => {
      moved ??= moveOn()
      return moved
    }
    const late = Promise.withResolvers<void>()
    const input = () => void moved!.then(() => made.commit([8])).then(late.resolve, late.reject)
    const witness = { range() {}, input, prediction() {}, deadLetter() {}, room }
    const verdict = await auditTopics({ ...made.options, witness, patienceMs: 10_000 })
    await late.promise
    assert.deepEqual(faultsOf(verdict), {})
    assert.deepEqual([verdict.clean, verdict.inputs, verdict.predictions, verdict.pending], [true, 6, 4, 2])
  })

  test('a transaction that is left open is named, with what it hides', async () => {
    const made = await HandMade.create()
    await made.feed(4)
    await made.predict(0, [0, 1])
    const abort = await made.leaveOpen(0, 2)
    await made.predict(0, [3])
    await made.commit([4])
    try {
      const { code, stdout } = await audit(made.env)
      assert.equal(code, 1)
      assert.match(stdout, new RegExp(`^open transaction: ${made.group}\\.${made.input}\\.0$`, 'm'))
      assert.match(stdout, new RegExp(`^${made.output}/0 could not be read from offset 2 to 4`, 'm'))
      assert.match(stdout, /^Not exactly once: 1 open transaction, 1 partition not read\.$/m)
    } finally {
      await abort()
    }
    const verdict = await auditTopics(made.options)
    assert.deepEqual(faultsOf(verdict), { lost: 1 })
    assert.deepEqual([verdict.openTransactions, verdict.unread], [[], []])
  })

  test('--follow says of a fault when it appears, and reports when it is stopped', async () => {
    const made = await HandMade.create()
    await made.feed(4)
    await made.predict(0, [0, 1])
    await made.commit([2])
    const child = follow({ ...made.env, REQUEST_TIMEOUT_MS: '5000' })
    const report = text(child.stdout!)
    const faults = on(createInterface(child.stderr!), 'line')
    await made.commit([3])
    const next = async () => (await faults.next()).value?.[0] as string
    assert.equal(await next(), `lost: ${made.input}/0/2`)
    await made.predict(0, [3, 3])
    assert.match(
      await next(),
      new RegExp(`^doubled: ${made.input}/0/3 in ${made.output}/0/3: first at ${made.output}/0/2$`),
    )
    child.kill('SIGINT')
    assert.equal(await next(), `torn: ${made.input}/0/3 in ${made.output}/0/2: the group’s offset is 3`)
    const [code] = await once(child, 'close')
    assert.equal(code, 1)
    assert.match(await report, /^Not exactly once: 1 lost, 1 doubled, 1 torn\.$/m)
  })

  test('offsets of a topic that was deleted, or past the end of the input, are not called right', async () => {
    const made = await HandMade.create(2)
    await made.feed(3)
    for (const partition of [0, 1]) await made.predict(partition, range(0, 3))
    const topicId = 'b2xkb2xkb2xkb2xkb2xkbw'
    const judge = async () => {
      const { clean, faults, strayOffsets, ...verdict } = await auditTopics(made.options)
      const said = conclusion({ clean, faults, strayOffsets, ...verdict }, made.options)
      return { clean, faults: Object.values(faults).filter(({ count }) => count > 0), strayOffsets, said }
    }
    await made.commit([3, 999_999])
    assert.deepEqual(await judge(), {
      clean: false,
      faults: [],
      strayOffsets: [{ partition: 1, offset: 999_999, end: 3 }],
      said: `The group’s offset of ${made.input}/1 is 999,999, but the log ends at 3: it was set by hand, or the log has lost its end.`,
    })
    await made.commit([3, 3], { topicId })
    const old = (partition: number) => ({ partition, offset: 3, end: 3, deletedTopicId: topicId })
    assert.deepEqual(await judge(), {
      clean: false,
      faults: [],
      strayOffsets: [old(0), old(1)],
      said:
        `The group’s offset of ${made.input}/0 belongs to a topic that was deleted (id ${topicId}): outputs made from it ` +
        'name the same places as records of the new one and cannot be told apart. 1 more offset went astray.',
    })
    await made.commit([3, 3])
    assert.equal((await judge()).said, 'Every input record is reflected exactly once.')
  })

  test('a group that has no offsets is asked about and blamed for nothing; a range names partitions that there are', async () => {
    const made = await HandMade.create()
    await made.feed(3)
    await made.predict(0, range(0, 3))
    const verdict = await auditTopics({ ...made.options, patienceMs: 50 })
    assert.deepEqual([verdict.clean, faultsOf(verdict)], [false, {}])
    const said = `Group ${made.group} has never committed an offset of ${made.input}, or Kafka has forgotten it: is GROUP_ID right?`
    assert.equal(conclusion(verdict, made.options), said)

    for (const option of ['from', 'to']) {
      const range = { [option]: { kind: 'offsets' as const, offsets: new Map([[7, 3]]) } }
      const message = `--${option} names partition 7, but ${made.input} has only partition 0`
      await assert.rejects(auditTopics({ ...made.options, ...range }), { code: 'invalid-config', exitCode: 2, message })
    }
  })

  test('input that retention took is not judged, outputs that it took are pointed at', async () => {
    const made = await HandMade.create()
    await made.feed(10)
    await made.predict(0, range(0, 8))
    await made.commit([10])
    await withAdmin(async admin => {
      // kafkajs looks for leaders in what it knows of topics, and deleting does not make it ask.
      await Promise.all([made.input, made.output].map(topic => admin.fetchTopicOffsets(topic)))
      await admin.deleteTopicRecords({ topic: made.input, partitions: [{ partition: 0, offset: '4' }] })
      await admin.deleteTopicRecords({ topic: made.output, partitions: [{ partition: 0, offset: '5' }] })
    })
    const verdict = await auditTopics(made.options)
    assert.deepEqual(faultsOf(verdict), { lost: 3 })
    assert.deepEqual(verdict.trimmed, [{ topic: made.output, partition: 0, start: 5 }])
    assert.equal(verdict.inputs, 6)
  })

  test('an audit that is stopped before it has read everything has no verdict', async () => {
    const made = await HandMade.create()
    await made.feed(2)
    const abort = await made.leaveOpen(0, 0)
    const signal = AbortSignal.timeout(300)
    const message = /stopped before it had read everything/
    await assert.rejects(auditTopics({ ...made.options, patienceMs: 60_000, signal }), {
      code: 'audit-failed',
      message,
    })
    await abort()
  })

  test('wrong usage ends with exit code 2 and one line that says why', async () => {
    const { code, stdout, stderr } = await audit({ INPUT_TOPIC: 'a', OUTPUT_TOPIC: 'b' }, '--from', 'yesterday')
    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, /^sluice: --from is "yesterday"[^\n]*earliest, latest, an ISO time[^\n]*\n$/)
  })
})
