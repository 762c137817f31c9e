import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { suite, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { arm, hit, PRELOAD, withOrders } from '../../faults/preload/arm.ts'
import { type FaultPointName, faultPoints, type Order, type PointAction } from '../../faults/preload/points.ts'
import { API_KEYS, type ApiName } from '../../faults/proxy/apis.ts'
import { assertExactlyOnce } from '../support/audit.ts'
import { until } from '../support/broker.ts'
import { WorkerProcess } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { irisWorkload } from '../support/workload.ts'
import { EchoBroker } from './frame-peers.ts'
import type { Ask, Outcome } from './striking-child.ts'

const TETHER = new URL('../../dev/tether.ts', import.meta.url).href
const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))
const CHILD = fileURLToPath(new URL('striking-child.ts', import.meta.url))

/** Why a session died, in the log of its worker. */
const CRASH = 'fault point: the session thread crashes'

/** A Node process with fault points, which cannot outlive this one. */
function strikable(script: string, args: readonly string[], options: object = {}): ChildProcess {
  return spawn(process.execPath, ['--import', TETHER, '--import', PRELOAD, script, ...args], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    ...options,
  })
}

interface Stage {
  readonly child: ChildProcess
  readonly broker: EchoBroker
  /** Asks for a request, and tells what became of it. */
  ask(api: ApiName): Promise<Outcome>
}

async function stage(t: TestContext, orders: readonly Order[] = []): Promise<Stage> {
  const broker = await EchoBroker.start()
  const env = { ...process.env, ...withOrders(orders) }
  const child = strikable(CHILD, [String(broker.address.port)], { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  t.after(async () => {
    child.kill('SIGKILL')
    await broker.close()
  })
  const ask = (api: ApiName) => {
    child.send({ ask: api, apiKey: API_KEYS[api] } satisfies Ask)
    return new Promise<Outcome>(resolve => {
      child.on('message', message => {
        if ((message as Partial<Outcome>).outcome !== undefined) resolve(message as Outcome)
      })
    })
  }
  return { child, broker, ask }
}

suite('a fault point', { timeout: 30_000 }, () => {
  const kills: [FaultPointName, number][] = [
    ['before-end', 0],
    ['after-end', 1],
  ]
  for (const [point, reached] of kills) {
    test(`kills its process ${point}: the broker has ${reached} requests, and nobody has heard the answer`, async t => {
      const { child, broker, ask } = await stage(t)
      const exited = once(child, 'exit')
      const armed = await arm(child, { point, action: 'SIGKILL' })
      let heard = false
      void ask('EndTxn').then(() => {
        heard = true
      })
      await armed.hit
      assert.deepEqual(await exited, [null, 'SIGKILL'])
      assert.equal(broker.received.length, reached)
      assert.equal(heard, false)
    })
  }

  test('stops its process until somebody sends SIGCONT; then the request goes out', async t => {
    const { child, broker, ask } = await stage(t)
    const armed = await arm(child, { point: 'before-initialise', action: 'SIGSTOP' })
    const outcome = ask('InitProducerId')
    await armed.hit
    await until(
      async () => (await processState(child)).startsWith('T'),
      () => 'the process is not stopped',
    )
    assert.equal(broker.received.length, 0)
    child.kill('SIGCONT')
    assert.deepEqual(await outcome, { outcome: 'answered' })
  })

  const failures: [FaultPointName, number][] = [
    ['before-produce', 0],
    ['after-produce', 1],
  ]
  for (const [point, reached] of failures) {
    test(`fails its connection ${point}, once`, async t => {
      const { child, broker, ask } = await stage(t)
      const armed = await arm(child, { point, action: 'connection-error' })
      const { when, api } = faultPoints[point]
      assert.deepEqual(await ask('Produce'), {
        outcome: 'failed',
        message: `Connection error: fault point ${when} ${api}`,
      })
      await armed.hit
      assert.equal(broker.received.length, reached)
      assert.deepEqual(await ask('Produce'), { outcome: 'answered' })
    })
  }

  test('counts its own occurrences from the moment it is armed, and minds no other request', async t => {
    const { child, broker, ask } = await stage(t)
    await ask('EndTxn')
    const armed = await arm(child, { point: 'before-end', action: 'connection-error', occurrence: 3 })
    const outcomes: string[] = []
    for (const api of ['EndTxn', 'Produce', 'EndTxn', 'Metadata', 'EndTxn', 'EndTxn'] as const) {
      outcomes.push((await ask(api)).outcome)
    }
    assert.deepEqual(outcomes, ['answered', 'answered', 'answered', 'answered', 'failed', 'answered'])
    await armed.hit
    assert.equal(broker.received.length, 6)
  })

  test('can be armed from the first moment, several at once', async t => {
    const action: PointAction = 'connection-error'
    const { child, ask } = await stage(t, [
      { point: 'after-offset-read', action },
      { point: 'before-initialise', action },
    ])
    const hits = [hit(child, 0), hit(child, 1)]
    assert.equal((await ask('InitProducerId')).outcome, 'failed')
    await hits[1]
    assert.equal((await ask('OffsetFetch')).outcome, 'failed')
    await hits[0]
  })

  test('says so when its process ends before it is hit, or before it is armed', async t => {
    const { child, ask } = await stage(t)
    await ask('Metadata')
    const { hit } = await arm(child, { point: 'before-end', action: 'SIGKILL' })
    child.kill('SIGKILL')
    await assert.rejects(hit, /^Error: Process \d+ ended before its fault point was hit\.$/)
    await assert.rejects(
      arm(child, { point: 'before-end', action: 'SIGKILL' }),
      /ended before its fault point was armed/,
    )
  })
})

suite('in a real worker', { timeout: 60_000 }, () => {
  test('a session thread fails, hangs for a while and crashes, and the process is killed between commit and answer: exactly once', async t => {
    const bed = await Testbed.create('fault-points', {
      partitions: 2,
      env: { MAX_BATCH_SIZE: '32', SESSION_TIMEOUT_MS: '2000' },
    })
    t.after(() => bed.close())
    const { worker, child } = startStrikable(bed)
    await worker.ready()
    const { messages } = irisWorkload(6_000, { partitions: 2 })
    let next = 0
    /** Publishes a thousand records, in which the order is carried out. */
    const strike = async (order: Order) => {
      const { hit } = await arm(child, order)
      await bed.produce(messages.slice(next, next + 1_000))
      next += 1_000
      await hit
    }
    await strike({ session: 'throw' })
    await bed.caughtUp()
    const begun = performance.now()
    await strike({ session: 'hang', ms: 500 })
    await bed.caughtUp()
    assert.ok(performance.now() - begun >= 500)
    assert.deepEqual(
      worker.log.filter(({ reason }) => String(reason).startsWith(CRASH)),
      [],
    )

    await strike({ session: 'crash' })
    await worker.waitForLog(({ level, reason }) => level === 'error' && String(reason).startsWith(CRASH))
    await bed.caughtUp()

    await strike({ point: 'after-end', action: 'SIGKILL' })
    assert.equal(await worker.exited, 'SIGKILL')
    bed.startWorker()
    await bed.produce(messages.slice(next))
    await bed.caughtUp()
    assertExactlyOnce(await bed.audit())
  })
})

/** A worker of the testbed, killed with it, that takes orders. */
function startStrikable(bed: Testbed): { worker: WorkerProcess; child: ChildProcess } {
  const env = { ...process.env, LOG_FORMAT: 'json', HTTP_PORT: '0', ...bed.env }
  const child = strikable(CLI, ['worker'], { env })
  const worker = new WorkerProcess(child)
  bed.workers.push(worker)
  return { worker, child }
}

async function processState({ pid }: ChildProcess): Promise<string> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'state=', '-p', String(pid)])
  return stdout.trim()
}
