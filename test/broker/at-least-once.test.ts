import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { assertAtLeastOnce, assertExactlyOnce, firstOccurrences, misordered } from '../support/audit.ts'
import { Testbed } from '../support/testbed.ts'
import { readTopic } from '../support/topic-reader.ts'
import { assertDeadLetters, irisWorkload } from '../support/workload.ts'

const PARTITIONS = 2
const ENV = { PROCESSING_GUARANTEE: 'at-least-once', SESSION_TIMEOUT_MS: '6000' }

suite('at least once', { concurrency: true, timeout: 90_000 }, () => {
  test('without a failure each record is there once, written without a transaction', async t => {
    const bed = await Testbed.create('at-least-once', { partitions: PARTITIONS, env: ENV })
    t.after(() => bed.close())
    const workload = irisWorkload(3_000, { partitions: PARTITIONS })
    await bed.produce(workload.messages)
    const worker = bed.startWorker()
    await bed.caughtUp()
    assert.equal(await worker.stop(), 0)
    const outcome = await bed.outcome()
    assertExactlyOnce(await bed.audit(outcome))
    assertDeadLetters(workload, outcome.deadLetters)
    await bed.assertPredictions(outcome, workload.expected)
    assert.ok([...outcome.predictions, ...outcome.deadLetters].every(({ transactional }) => !transactional))
  })

  test('after SIGKILL and a restart nothing is lost, and what is seen first is in order', async t => {
    const bed = await Testbed.create('at-least-once-killed', { partitions: PARTITIONS, env: ENV })
    t.after(() => bed.close())
    const workload = irisWorkload(20_000, { partitions: PARTITIONS })
    const victim = await bed.startWorker().ready()
    let replaced: Promise<void> | undefined
    await bed.produce(workload.messages, sent => {
      // Nobody waits for it: the victim dies with its hands full.
      if (sent === 5_000) replaced = bed.replace(victim)
    })
    await replaced
    await bed.caughtUp()
    const outcome = await bed.outcome()
    assert.equal(outcome.inputs.length, 20_000)
    assertAtLeastOnce(await bed.audit(outcome))
    await bed.assertPredictions(outcome, workload.expected)
    assert.deepEqual(misordered(firstOccurrences(outcome.predictions)), [])
    assert.deepEqual(misordered(firstOccurrences(outcome.deadLetters)), [])
    const uncommitted = await readTopic(bed.output, { uncommitted: true })
    assert.equal(uncommitted.length, outcome.predictions.length, 'a reader without read_committed sees the same')
  })
})
