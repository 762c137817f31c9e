import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { assertExactlyOnce } from '../support/audit.ts'
import { Testbed } from '../support/testbed.ts'
import { irisWorkload } from '../support/workload.ts'

const PARTITIONS = 2
const ENV = { TARGET_LATENCY_MS: '500', SESSION_TIMEOUT_MS: '6000' }

suite('TARGET_LATENCY_MS', { timeout: 60_000 }, () => {
  test('each record is predicted once, and the metrics say why batches are as they are', async t => {
    const bed = await Testbed.create('target-latency', { partitions: PARTITIONS, env: ENV })
    t.after(() => bed.close())
    const workload = irisWorkload(5_000, { partitions: PARTITIONS })
    const worker = await bed.startWorker().ready()
    await bed.produce(workload.messages)
    await bed.caughtUp()
    const samples = await worker.metrics()
    const value = (metric: string, labels: Record<string, string> = {}) =>
      samples.find(
        ({ name, labels: has }) =>
          name === metric && Object.entries(labels).every(([label, text]) => has[label] === text),
      )?.value
    // The first batch has at most 8 rows, as nobody knows yet what more would take.
    assert.ok(value('sluice_batch_trigger_total', { trigger: 'target-size' })! >= 1)
    assert.ok(value('sluice_batch_limit_rows')! >= 8)
    assert.ok(value('sluice_batch_budget_seconds')! <= 0.5, 'the target, less what commits take once there were some')
    for (const part of ['row', 'fixed', 'tail']) {
      const seconds = value(`sluice_run_cost_${part}_seconds`, { provider: 'cpu' })
      assert.ok(seconds !== undefined && seconds >= 0 && seconds < 10, `${part}: ${seconds}`)
    }
    assert.equal(await worker.stop(), 0)
    const outcome = await bed.outcome()
    assertExactlyOnce(await bed.audit(outcome))
    await bed.assertPredictions(outcome, workload.expected)
  })
})
