import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { assertExactlyOnce } from '../support/audit.ts'
import { until } from '../support/broker.ts'
import type { LogLine, WorkerProcess } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { readTopic } from '../support/topic-reader.ts'
import { ROW_SUMS, writeFixtureBundle } from './bundles.ts'
import { fence, health, temporaryFolder } from './support.ts'

const SESSION_TIMEOUT_MS = 6_000 // the least that a broker allows unless told
const TRANSACTION_TIMEOUT_MS = 120_000
const PARTITIONS = 4

async function testbed(t: TestContext): Promise<Testbed> {
  const store = temporaryFolder(t, 'store')
  writeFixtureBundle(store, ROW_SUMS)
  const bed = await Testbed.create('fencing', {
    partitions: PARTITIONS,
    env: {
      INPUT_FORMAT: 'json',
      OUTPUT_FORMAT: 'json',
      MODEL_STORE: store,
      MODEL_NAME: 'row-sums',
      SESSION_TIMEOUT_MS: String(SESSION_TIMEOUT_MS),
      TRANSACTION_TIMEOUT_MS: String(TRANSACTION_TIMEOUT_MS),
      // Many transactions: there is one open most of the time.
      MAX_BATCH_SIZE: '16',
      MAX_IN_FLIGHT_RECORDS: '16',
    },
  })
  t.after(() => bed.close())
  return bed
}

/** Produces until it is told to stop, or the test is over. */
function load(t: TestContext, bed: Testbed): { stop(): Promise<number> } {
  let running = true
  let sent = 0
  const done = (async () => {
    while (running) {
      const batch = Array.from({ length: 80 }, () => {
        const n = sent++
        return { partition: n % PARTITIONS, key: String(n), value: JSON.stringify({ a: n, b: 0, c: 0, d: 0 }) }
      })
      await bed.produce(batch)
      await delay(20) // not more than small transactions can keep up with
    }
  })()
  const stop = async () => {
    running = false
    await done
    return sent
  }
  t.after(stop)
  return { stop }
}

/** Stops the process in its tracks while a transaction of it is open: what it wrote is there, and not committed. */
async function freezeInTransaction(bed: Testbed, worker: WorkerProcess): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    worker.signal('SIGSTOP')
    const seen = await openRecords(bed)
    await delay(20)
    // Still open after a while: it is not just a marker that was on its way.
    if (seen > 0 && (await openRecords(bed)) > 0) return
    worker.signal('SIGCONT')
    await delay(attempt % 7)
  }
  assert.fail('the worker never had an open transaction when it was looked at')
}

async function openRecords(bed: Testbed): Promise<number> {
  const all = await readTopic(bed.output, { uncommitted: true })
  return all.length - (await readTopic(bed.output, { stable: true })).length
}

const partitionsOf = (line: LogLine | undefined) => (line?.partitions ?? []) as number[]
const assignments = (worker: WorkerProcess) => worker.log.filter(({ msg }) => msg === 'joined the group')

/** Waits until the replicas share all partitions, each with some, and are ready. */
async function sharing(workers: readonly WorkerProcess[]): Promise<void> {
  const shares = () => workers.map(worker => partitionsOf(assignments(worker).at(-1)))
  const shared = () => {
    const all = shares()
    return (
      all.every(share => share.length > 0) &&
      new Set(all.flat()).size === PARTITIONS &&
      all.flat().length === PARTITIONS
    )
  }
  const complaint = () => `they have ${JSON.stringify(shares())}. ${workers.map(worker => worker.describe())}`
  await until(shared, complaint, 30_000)
  for (const worker of workers) await worker.ready()
}

describe('an owner that is gone', { concurrency: true, timeout: 120_000 }, () => {
  it('and comes back as a zombie is fenced, and then serves again', async t => {
    const bed = await testbed(t)
    const zombie = bed.startWorker()
    const heir = bed.startWorker()
    await sharing([zombie, heir])
    const producing = load(t, bed)
    await freezeInTransaction(bed, zombie)
    const before = assignments(heir).length
    const tookOver = () =>
      assignments(heir).length > before && partitionsOf(assignments(heir).at(-1)).length === PARTITIONS
    await until(tookOver, () => heir.describe(), 30_000)
    await heir.ready()
    await producing.stop()
    await bed.caughtUp()

    zombie.signal('SIGCONT')
    const fenced = await zombie.waitForLog(({ msg }) => msg.includes('another owner took over'))
    assert.equal(fenced.level, 'info', 'it is no failure')
    assert.match(String(fenced.reason), /PRODUCER_FENCED|INVALID_PRODUCER_EPOCH/)
    await sharing([zombie, heir])
    const more = load(t, bed)
    await delay(500)
    await more.stop()
    await bed.caughtUp()
    assertExactlyOnce(await bed.audit())
    for (const worker of [zombie, heir]) {
      assert.equal((await health(worker, 'ready')).status, 200)
      assert.deepEqual(
        worker.log.filter(({ level }) => level === 'error'),
        [],
      )
      assert.equal(await worker.stop(), 0)
    }
  })

  it('and left a transaction open does not block readers for longer than the takeover', async t => {
    const bed = await testbed(t)
    const victim = await bed.startWorker().ready()
    const producing = load(t, bed)
    await freezeInTransaction(bed, victim)
    await producing.stop()
    await victim.kill()
    const diedAt = performance.now()
    const heir = bed.startWorker()
    await heir.ready()
    await bed.caughtUp()
    const blockedMs = performance.now() - diedAt
    assertExactlyOnce(await bed.audit())
    assert.ok(
      blockedMs < SESSION_TIMEOUT_MS + 10_000,
      `readers waited ${Math.round(blockedMs)} ms; the transaction would have timed out after ${TRANSACTION_TIMEOUT_MS}`,
    )
    t.diagnostic(
      `all readable ${Math.round(blockedMs)} ms after the SIGKILL; session time-out ${SESSION_TIMEOUT_MS} ms`,
    )
  })

  it('only because its transactional id was initialised elsewhere takes its partition back', async t => {
    const bed = await testbed(t)
    const worker = await bed.startWorker().ready()
    const producing = load(t, bed)
    const started = () =>
      worker.log.filter(({ msg, partition }) => msg === 'partition task is running' && partition === 2)
    for (const times of [2, 3]) {
      await fence(`${bed.group}.${bed.input}.2`)
      await until(
        () => started().length >= times,
        () => `partition 2 is not served again. ${worker.describe()}`,
      )
    }
    await producing.stop()
    await bed.caughtUp()
    assertExactlyOnce(await bed.audit())
    assert.equal(assignments(worker).length, 1, 'the group never moved')
    assert.equal((await health(worker, 'ready')).status, 200)
    assert.equal(await worker.stop(), 0)
  })
})
