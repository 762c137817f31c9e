import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { assertExactlyOnce } from '../support/audit.ts'
import { Testbed } from '../support/testbed.ts'
import { assertDeadLetters, irisWorkload } from '../support/workload.ts'

const PARTITIONS = 4
/** Two sessions and small batches, so that results come back in another order than they left. */
const ENV = { SESSIONS: 'cpu*2', MAX_BATCH_SIZE: '128' }

suite('each record is reflected exactly once', { timeout: 150_000 }, () => {
  test('100,000 records, two replicas, one joining and one leaving on the way', async t => {
    const bed = await Testbed.create('exactly-once', { partitions: PARTITIONS, env: ENV })
    t.after(() => bed.close())
    const workload = irisWorkload(100_000, { partitions: PARTITIONS })
    const [leaving, staying] = [bed.startWorker(), bed.startWorker()]
    await Promise.all([leaving.ready(), staying.ready()])

    let joining: ReturnType<Testbed['startWorker']> | undefined
    let left: Promise<unknown> | undefined
    await bed.produce(workload.messages, async sent => {
      if (sent === 30_000) joining = bed.startWorker()
      if (sent === 60_000) await joining!.ready()
      if (sent === 70_000) {
        await leaving.predicts()
        left = leaving.stop()
      }
    })
    assert.equal(await left, 0)
    await bed.caughtUp()
    await Promise.all([staying.predicts(), joining!.predicts()])

    const outcome = await bed.outcome()
    assert.equal(outcome.inputs.length, 100_000)
    assertExactlyOnce(await bed.audit(outcome))
    assertDeadLetters(workload, outcome.deadLetters)
    await bed.assertPredictions(outcome, workload.expected)
    for (const { partition, headers } of [...outcome.predictions, ...outcome.deadLetters]) {
      const source = headers.find(([name]) => name === 'source')![1]!.toString()
      assert.equal(source.split('/')[1], String(partition), 'a prediction keeps its partition number')
    }
  })

  test('20,000 records, two replicas, one killed on the way and one started in its place', async t => {
    const env = { ...ENV, SESSION_TIMEOUT_MS: '6000' }
    const bed = await Testbed.create('killed', { partitions: PARTITIONS, env })
    t.after(() => bed.close())
    const workload = irisWorkload(20_000, { partitions: PARTITIONS })
    const [victim, survivor] = [bed.startWorker(), bed.startWorker()]
    await Promise.all([victim.ready(), survivor.ready()])

    let replaced: Promise<void> | undefined
    await bed.produce(workload.messages, sent => {
      // Nobody waits for it: the victim dies with its hands full.
      if (sent === 10_000) replaced = bed.replace(victim)
    })
    await replaced
    await bed.caughtUp()

    const outcome = await bed.outcome()
    assert.equal(outcome.inputs.length, 20_000)
    assertExactlyOnce(await bed.audit(outcome))
    assertDeadLetters(workload, outcome.deadLetters)
    await bed.assertPredictions(outcome, workload.expected)
  })
})
