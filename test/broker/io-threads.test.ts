import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { StatusBody } from '../../src/ops/status.ts'
import { assertExactlyOnce } from '../support/audit.ts'
import { until } from '../support/broker.ts'
import type { WorkerProcess } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { assertDeadLetters, irisWorkload } from '../support/workload.ts'

const PARTITIONS = 8
const THREADS = 3
/** Fewer sessions than threads, and small batches, so that threads wait for one another. */
const ENV = {
  IO_THREADS: String(THREADS),
  SESSIONS: 'cpu*2',
  MAX_BATCH_SIZE: '128',
  SESSION_TIMEOUT_MS: '2000',
  DRAIN_TIMEOUT_MS: '10000',
}

const FAILING_THREAD = new URL('./failing-thread.ts', import.meta.url).href

async function status(worker: WorkerProcess): Promise<StatusBody> {
  return (await (await fetch(await worker.url('/status'))).json()) as StatusBody
}

/** Which thread of the worker has which partitions, by its last word of the group. */
function ownership(worker: WorkerProcess): Map<number, readonly number[]> {
  const joined = worker.log.filter(({ msg }) => msg === 'joined the group')
  return new Map(joined.map(({ thread, partitions }) => [thread as number, partitions as number[]]))
}

suite('several I/O threads in one process', { timeout: 120_000 }, () => {
  test('share the partitions and the sessions, and show up as one worker', async t => {
    const bed = await Testbed.create('io-threads', { partitions: PARTITIONS, env: ENV })
    t.after(() => bed.close())
    const worker = await bed.startWorker().ready()
    const workload = irisWorkload(4_000, { partitions: PARTITIONS })
    await bed.produce(workload.messages)
    await bed.caughtUp()

    const owned = ownership(worker)
    assert.deepEqual([...owned.keys()].sort(), [1, 2, 3])
    assert.deepEqual([...owned.values()].map(({ length }) => length).sort(), [2, 3, 3])
    assert.deepEqual([...owned.values()].flat().sort(), [0, 1, 2, 3, 4, 5, 6, 7])

    const started = worker.log.filter(({ msg }) => msg === 'partition task is running')
    assert.equal(started.length, PARTITIONS, 'threads begin together: no partition moved from one to another')

    const { totals, partitions, sessions, health } = await status(worker)
    const good = workload.messages.length - workload.poisoned
    assert.deepEqual(totals, { recordsIn: 4_000, predictions: good, deadLetters: workload.poisoned })
    assert.deepEqual(
      partitions.map(({ partition, state, committed }) => [partition, state, committed! > 0]),
      Array.from({ length: PARTITIONS }, (_, partition) => [partition, 'RUNNING', true]),
    )
    assert.deepEqual(sessions, { size: 2, busy: 0, spec: 'cpu*2' })
    assert.deepEqual(health.reasons, [])

    const one = { model: bed.model }
    assert.equal(await worker.metric('sluice_records_in_total'), 4_000)
    assert.equal(await worker.metric('sluice_predictions_total', one), good)
    assert.equal(await worker.metric('sluice_sessions', one), 2)
    assert.equal(await worker.metric('sluice_build_info'), 1)
    assert.equal(await worker.metric('sluice_ready'), 1)
    const batches = await worker.metric('sluice_batch_size_count', one)
    assert.equal(await worker.metric('sluice_batch_trigger_total', one), batches)
    assert.equal(await worker.metric('sluice_batch_size_sum', one), good)
    assert.ok((await worker.metric('process_resident_memory_bytes')) > 0, 'metrics of the process are there as well')
    // Each thread met at least the rebalance that its own joining was.
    const rebalances = await worker.metric('sluice_rebalances_total')
    assert.ok(rebalances >= 1 && rebalances <= worker.log.filter(({ msg }) => msg === 'joined the group').length)

    assert.equal(await worker.stop(), 0)
    assert.equal(worker.stderr, '')
    assertExactlyOnce(await bed.audit())
  })

  test('10,000 records, two workers of three threads, one killed on the way', async t => {
    const bed = await Testbed.create('io-threads-killed', { partitions: PARTITIONS, env: ENV })
    t.after(() => bed.close())
    const workload = irisWorkload(10_000, { partitions: PARTITIONS })
    const [victim, survivor] = [bed.startWorker(), bed.startWorker()]
    await Promise.all([victim.ready(), survivor.ready()])
    const bothServe = () => ownership(victim).size === THREADS && ownership(survivor).size === THREADS
    await until(bothServe, () => `not all threads have joined\n${victim.describe()}\n${survivor.describe()}`)

    let killed: Promise<void> | undefined
    await bed.produce(workload.messages, sent => {
      // Nobody waits for it: the victim dies with its hands full.
      if (sent === 5_000) killed = victim.predicts().then(() => victim.kill())
    })
    await killed
    await bed.caughtUp()
    assert.equal(await survivor.stop(), 0)

    const outcome = await bed.outcome()
    assert.equal(outcome.inputs.length, 10_000)
    assertExactlyOnce(await bed.audit(outcome))
    assertDeadLetters(workload, outcome.deadLetters)
    await bed.assertPredictions(outcome, workload.expected)
  })

  test('SIGTERM commits what all threads have in the pipeline before the process ends', async t => {
    const env = { ...ENV, IO_THREADS: '2', COMMIT_INTERVAL_MS: '15000' }
    const bed = await Testbed.create('io-threads-drain', { partitions: PARTITIONS, env })
    t.after(() => bed.close())
    const { messages } = irisWorkload(808, { partitions: PARTITIONS, poisonEvery: 0 })
    const worker = await bed.startWorker().ready()
    await bed.produce(messages.slice(0, 8))
    await bed.caughtUp()
    await bed.produce(messages.slice(8))
    const predicted = async () => (await worker.metric('sluice_predictions_total')) === 808
    await until(predicted, () => 'not all is predicted')
    assert.equal((await bed.outcome()).predictions.length, 8, 'the rest waits for the commit interval')

    assert.equal(await worker.stop(), 0)
    await bed.caughtUp(1)
    assertExactlyOnce(await bed.audit())
  })

  test('a thread that dies of a defect ends the worker in one line; the others commit', async t => {
    const bed = await Testbed.create('io-threads-defect', { partitions: PARTITIONS, env: { ...ENV, IO_THREADS: '2' } })
    t.after(() => bed.close())
    const worker = await bed.startWorker({}, [FAILING_THREAD]).ready()
    const { messages } = irisWorkload(2_000, { partitions: PARTITIONS })
    await bed.produce(messages.slice(0, 1_000))
    await worker.predicts()
    worker.child.send('fail')
    assert.equal(await worker.exited, 1)
    assert.equal(worker.stderr, '')
    const errors = worker.log.filter(({ level }) => level === 'error')
    assert.deepEqual(
      errors.map(({ msg, code }) => ({ msg, code })),
      [{ msg: 'I/O thread 2 died of a defect: nothing is as it was', code: 'internal' }],
    )
    assert.match((errors[0]!.error as { stack: string }).stack, /failing-thread\.ts/)

    bed.startWorker()
    await bed.produce(messages.slice(1_000))
    await bed.caughtUp()
    assertExactlyOnce(await bed.audit())
  })
})
