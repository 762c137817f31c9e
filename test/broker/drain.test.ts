import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { assertExactlyOnce } from '../support/audit.ts'
import { until } from '../support/broker.ts'
import type { LogLine, WorkerProcess } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { irisWorkload } from '../support/workload.ts'

suite('SIGTERM drains', { timeout: 90_000 }, () => {
  test('under load: exit code 0, and the next replica has the partition at once', async t => {
    const bed = await Testbed.create('drain', { partitions: 1, env: { DRAIN_TIMEOUT_MS: '10000' } })
    t.after(() => bed.close())
    const workers = [await bed.startWorker().ready(), await bed.startWorker().ready()]
    const { messages } = irisWorkload(30_000, { partitions: 1 })
    let drainMs = 0
    let handOverMs = 0
    let handedOver: Promise<void> | undefined
    await bed.produce(messages, sent => {
      if (sent !== 10_000) return
      const owner = workers.find(ownsPartition)!
      const heir = workers.find(worker => worker !== owner)!
      handedOver = handOver(owner, heir).then(([drain, takeOver]) => {
        drainMs = drain
        handOverMs = takeOver
      })
    })
    await handedOver
    assert.ok(drainMs < 10_000, `draining took ${drainMs} ms`)
    assert.ok(handOverMs < 3_000, `the other replica had the partition ${handOverMs} ms after SIGTERM`)
    await bed.caughtUp()
    assertExactlyOnce(await bed.audit())
  })

  test('what is predicted but not committed is committed before the process ends', async t => {
    const bed = await Testbed.create('drain-commit', { partitions: 1, env: { COMMIT_INTERVAL_MS: '15000' } })
    t.after(() => bed.close())
    const { messages } = irisWorkload(101, { partitions: 1, poisonEvery: 0 })
    const worker = await bed.startWorker().ready()
    await bed.produce(messages.slice(0, 1))
    await bed.caughtUp()
    await bed.produce(messages.slice(1))
    const predicted = async () => (await worker.metric('sluice_predictions_total')) === 101
    await until(predicted, () => 'not all is predicted')
    assert.equal((await bed.outcome()).predictions.length, 1, 'the rest waits for the commit interval')

    const began = performance.now()
    assert.equal(await worker.stop(), 0)
    const drainMs = performance.now() - began
    await bed.caughtUp(1)
    assertExactlyOnce(await bed.audit())
    assert.ok(drainMs < 5_000, `draining took ${drainMs} ms: it waited for the commit interval`)
  })
})

/** Whether the group's last word to this replica was that the partition is its own. */
function ownsPartition(worker: WorkerProcess): boolean {
  const joined = worker.log.findLast(({ msg }) => msg === 'joined the group')
  return joined !== undefined && (joined.partitions as number[]).length > 0
}

/** Stops the owner; resolves to how long it took to end, and until the heir served the partition, in ms from SIGTERM. */
async function handOver(owner: WorkerProcess, heir: WorkerProcess): Promise<[number, number]> {
  const linesBefore = heir.log.length
  const serves = (line: LogLine) => line.msg === 'partition task is running' && heir.log.indexOf(line) >= linesBefore
  const began = performance.now()
  const since = () => performance.now() - began
  const [[code, drainMs], takeOverMs] = await Promise.all([
    owner.stop().then(code => [code, since()] as const),
    heir.waitForLog(serves).then(since),
  ])
  assert.equal(code, 0)
  return [drainMs, takeOverMs]
}
