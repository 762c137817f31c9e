import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { HealthReport } from '../../src/ops/health.ts'
import { BROKEN, type Broken, goodBundle } from '../models/broken-bundles.ts'
import { temporaryStore } from '../models/bundle-folder.ts'
import { assertExactlyOnce } from '../support/audit.ts'
import { headerText } from '../support/record-log.ts'
import { runSluice, type WorkerProcess } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'

const MODEL = 'sums'
const NOBODY = 65_534
const PARTITIONS = 2
const LAST = String(BROKEN.length + 2)
const CHANGING_USER = new URL('./changing-user.ts', import.meta.url).href

/** What the operator's machine has in order, versions 1 to the last, and the replica has damaged, all but the first and the last. */
async function stores(t: TestContext): Promise<{ operator: string; replica: string }> {
  let replica = ''
  // Before the store is removed.
  t.after(async () => {
    for (let version = 1; version <= Number(LAST); version++) await chmod(join(replica, MODEL, String(version)), 0o755)
  })
  const operator = await temporaryStore(t)
  replica = await temporaryStore(t)
  await chmod(replica, 0o755)
  for (let version = 1; version <= Number(LAST); version++) {
    await goodBundle(operator, String(version))
    const bundle = await goodBundle(replica, String(version))
    await BROKEN[version - 2]?.damage(bundle)
  }
  return { operator, replica }
}

async function asUser(worker: WorkerProcess, uid: number, work: () => Promise<void>): Promise<void> {
  if (process.geteuid!() !== 0) return work()
  const change = async (to: number) => {
    worker.child.send(to)
    await once(worker.child, 'message')
  }
  await change(uid)
  await work()
  await change(0)
}

function messages(count: number, from: number) {
  return Array.from({ length: count }, (_, i) => ({
    key: `k${from + i}`,
    value: JSON.stringify({ x: [from + i, 2, 3, 4] }),
    partition: i % PARTITIONS,
  }))
}

test('whatever is broken about a version that a replica is to serve: the old one goes on, and command, health and log say why', {
  timeout: 180_000,
}, async t => {
  const { operator, replica } = await stores(t)
  const env = { MODEL_STORE: replica, INPUT_FORMAT: 'json', OUTPUT_FORMAT: 'json', MODEL_OPEN_TIMEOUT_MS: '3000' }
  const bed = await Testbed.create('rollout-broken', { partitions: PARTITIONS, model: MODEL, env })
  t.after(() => bed.close())
  const promote = (version: string) => {
    const args = ['model', 'promote', MODEL, version, '--timeout', '20']
    return runSluice(args, { env: { ...bed.env, MODEL_STORE: operator } })
  }
  const health = async (worker: WorkerProcess) => {
    const response = await fetch(await worker.url('/health/ready'))
    return { status: response.status, ...((await response.json()) as HealthReport) }
  }
  const started = await promote('1')
  assert.equal(started.code, 0, started.stderr)
  const worker = await bed.startWorker({}, [CHANGING_USER]).ready()

  const isRefused = async ({ what, code, message }: Broken, version: string) => {
    const { code: exit, stderr } = await promote(version)
    assert.equal(exit, 1, `${what}: ${stderr}`)
    assert.match(stderr, new RegExp(`:${worker.pid}\\b`), `${what}: the replica is named`)
    assert.match(stderr, message, what)
    assert.match(stderr, /[.!?] The proposal was withdrawn; what serves is unchanged\./, what)
    const warned = worker.log.filter(line => line.level === 'warn' && line.stable === version)
    assert.deepEqual(
      warned.map(line => line.code),
      [code],
      `${what}: ${worker.describe()}`,
    )
    assert.match(warned[0]!.message as string, message)
    const { status, notices } = await health(worker)
    assert.equal(status, 200, what)
    assert.deepEqual(
      notices.map(notice => notice.code),
      [code],
      what,
    )
    assert.match(notices[0]!.message, message)
  }

  for (const [index, broken] of BROKEN.entries()) {
    await bed.produce(messages(100, index * 100))
    const uid = broken.what.includes('may not be read') ? NOBODY : 0
    await asUser(worker, uid, () => isRefused(broken, String(index + 2)))
    await bed.caughtUp()
  }
  const mended = await promote(LAST)
  assert.equal(mended.code, 0, mended.stderr)
  assert.deepEqual((await health(worker)).notices, [])
  await bed.produce(messages(100, BROKEN.length * 100))
  await bed.caughtUp()

  const outcome = await bed.outcome()
  assertExactlyOnce(await bed.audit(outcome))
  const answered = Object.groupBy(outcome.predictions, record => headerText(record, 'model-version')!)
  assert.deepEqual(
    Object.entries(answered).map(([version, records]) => [version, records!.length]),
    [
      ['1', BROKEN.length * 100],
      [LAST, 100],
    ],
  )
})
