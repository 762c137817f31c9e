import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { SessionPool } from '../../src/core/inference.ts'
import type { TensorSlot } from '../../src/core/tensor.ts'
import { PoolClient } from '../../src/inference/pool-client.ts'
import { PoolServer } from '../../src/inference/pool-server.ts'
import { afterGuestRun, afterTaskRun, guestGoesFirst } from '../../src/inference/session-share.ts'
import { SessionShares } from '../../src/inference/session-shares.ts'
import { Batcher } from '../../src/pipeline/batcher.ts'
import type { MicroBatch } from '../../src/pipeline/micro-batch.ts'
import type { RowSource } from '../../src/pipeline/row-sources.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'
import { FakePool, type FakeRun, LAYOUT } from '../pipeline/fake-pool.ts'
import { FakeBatcherTelemetry } from '../pipeline/fake-telemetry.ts'
import { MODEL } from '../pipeline/task-harness.ts'
import { quiet } from './shared-pool.ts'

test('credit: earned by what tasks use while guests wait, spent by guests, never saved up', () => {
  assert.equal(guestGoesFirst(0, 0.1), true)
  assert.equal(guestGoesFirst(-0.001, 0.1), false)
  assert.equal(guestGoesFirst(1_000, 0), false, 'without a share, only what is left over')
  assert.ok(Math.abs(afterTaskRun(0, 90, 0.1, true) - 10) < 1e-9)
  assert.equal(afterTaskRun(0, 90, 0.1, false), 0)
  assert.equal(afterTaskRun(5, 90, 0.1, false), 0)
  assert.ok(Math.abs(afterTaskRun(-20, 90, 0.1, false) + 10) < 1e-9, 'a debt is paid off in any case')
  assert.equal(afterGuestRun(3, 5), -2)
  assert.equal(afterGuestRun(0, 1e9), -10_000, 'one run that hung does not shut guests out for minutes')
})

/** Rows without end, or those that were put in. */
class Source implements RowSource {
  rows: number
  readonly waits: number[] = []
  #since = 0
  readonly #feature: number
  readonly #clock: FakeClock

  constructor(feature: number, rows: number, clock: FakeClock) {
    this.#feature = feature
    this.rows = rows
    this.#clock = clock
  }

  get backlog(): number {
    return this.rows
  }

  put(rows: number): void {
    this.rows += rows
    this.#since = this.#clock.now()
  }

  pack(batch: MicroBatch): boolean {
    const count = Math.min(this.rows, batch.limit - batch.rows)
    ;(batch.slot.inputs[0]!.data as Float64Array).fill(this.#feature, batch.rows, batch.rows + count)
    batch.rows += count
    this.rows -= count
    const since = this.#since
    const settled = () => {
      this.waits.push(this.#clock.now() - since)
      batch.letGo()
    }
    if (count > 0) batch.hold({ settled })
    return this.rows > 0
  }
}

const TASK = 1
const GUEST = 2
const ENDLESS = Number.MAX_SAFE_INTEGER

interface SimOptions {
  readonly share: number
  readonly sessions?: number
  readonly taskMs: number
  readonly guestMs: number
  readonly taskRows?: number
  readonly guestRows?: number
}

/** Real batchers of both sides on sessions whose runs take their time by a fake clock. */
class Sim {
  readonly clock = new FakeClock()
  readonly used = { task: 0, guest: 0 }
  readonly tasks: Source
  readonly guests: Source
  readonly taskBatcher: Batcher
  readonly guestBatcher: Batcher
  readonly #options: SimOptions
  readonly #pool: FakePool
  readonly #seen = new WeakSet<FakeRun>()

  constructor(options: SimOptions) {
    const { sessions = 1, share, taskRows = 0, guestRows = 0 } = options
    this.#options = options
    this.#pool = new FakePool({ sessions, slots: 3 * sessions + 1 })
    const run = this.#pool.run.bind(this.#pool)
    this.#pool.run = (...args) => {
      const outcome = run(...args)
      this.#start()
      return outcome
    }
    this.tasks = new Source(TASK, taskRows, this.clock)
    this.guests = new Source(GUEST, guestRows, this.clock)
    const { clock } = this
    const guestsWait = () => this.guests.rows > 0
    const shares = new SessionShares({ pool: this.#pool, clock, share, guestSlots: sessions + 1, guestsWait })
    const batcher = (pool: SessionShares['guests']) =>
      new Batcher({
        pool,
        model: MODEL,
        maxQueueDelayMs: 0,
        targetLatencyMs: 0,
        telemetry: new FakeBatcherTelemetry(),
        clock,
        probe: async () => {},
        onCondition: () => {},
      })
    this.taskBatcher = batcher(shares.tasks)
    this.guestBatcher = batcher(shares.guests)
    if (taskRows > 0) this.taskBatcher.offer(this.tasks)
    if (guestRows > 0) this.guestBatcher.offer(this.guests)
  }

  #start(): void {
    for (const run of this.#pool.runs) {
      if (this.#seen.has(run)) continue
      this.#seen.add(run)
      const guest = run.features[0] === GUEST
      const ms = guest ? this.#options.guestMs : this.#options.taskMs
      this.clock.after(ms, () => {
        this.used[guest ? 'guest' : 'task'] += ms
        run.succeed(ms)
      })
    }
  }

  get guestPart(): number {
    return this.used.guest / (this.used.guest + this.used.task)
  }
}

describe('shares of the sessions, measured', () => {
  const loads = [
    { share: 0.1, taskMs: 10, guestMs: 1 },
    { share: 0.1, taskMs: 10, guestMs: 10 },
    { share: 0.1, taskMs: 2, guestMs: 40 },
    { share: 0.3, taskMs: 10, guestMs: 3 },
    { share: 0.1, taskMs: 10, guestMs: 4, sessions: 2 },
    { share: 0.5, taskMs: 7, guestMs: 5, sessions: 4 },
  ]
  for (const load of loads) {
    test(`both saturate: ${JSON.stringify(load)}`, async () => {
      const sim = new Sim({ ...load, taskRows: ENDLESS, guestRows: ENDLESS })
      await sim.clock.advance(4_000)
      assert.ok(Math.abs(sim.guestPart - load.share) < 0.015, `guests got ${sim.guestPart}`)
      const used = sim.used.guest + sim.used.task
      assert.ok(used > 0.98 * 4_000 * (load.sessions ?? 1), `sessions were idle: ${used} ms used`)
    })
  }

  test('without a share guests get nothing while tasks wait, and all that is left over', async () => {
    const sim = new Sim({ share: 0, taskMs: 5, guestMs: 5, taskRows: 400, guestRows: ENDLESS })
    await sim.clock.advance(499)
    assert.equal(sim.used.guest, 0)
    assert.equal(sim.used.task, 495)
    await sim.clock.advance(500)
    assert.ok(sim.used.guest > 480, `${sim.used.guest}`)
  })

  test('guests saturate: a task that comes waits for one run of theirs, however long they had all to themselves', async () => {
    const sim = new Sim({ share: 0.1, taskMs: 5, guestMs: 20, guestRows: ENDLESS })
    await sim.clock.advance(2_003)
    for (let i = 0; i < 20; i++) {
      sim.tasks.put(4)
      sim.taskBatcher.offer(sim.tasks)
      await sim.clock.advance(101)
    }
    assert.equal(sim.tasks.waits.length, 20)
    assert.ok(Math.max(...sim.tasks.waits) <= 25, `${sim.tasks.waits}`)
    assert.ok(sim.guestPart > 0.9, 'and what tasks leave is theirs')
  })

  test('tasks saturate: a request that comes now and then goes next', async () => {
    const sim = new Sim({ share: 0.1, taskMs: 10, guestMs: 1, taskRows: ENDLESS })
    await sim.clock.advance(5_003)
    for (let i = 0; i < 20; i++) {
      sim.guests.put(1)
      sim.guestBatcher.offer(sim.guests)
      await sim.clock.advance(100)
    }
    assert.equal(sim.guests.waits.length, 20)
    assert.ok(Math.max(...sim.guests.waits) <= 11, `${sim.guests.waits}`)
    await settle()
  })
})

/** One session, half of which is the guests', and runs that begin and end as the test says. */
class Duel {
  readonly clock = new FakeClock()
  readonly pool = new FakePool({ sessions: 1, slots: 6 })
  readonly shares: SessionShares
  readonly task: TensorSlot
  readonly guest: TensorSlot

  constructor() {
    const { clock, pool } = this
    pool.hung = { count: 0, most: 16 }
    this.shares = new SessionShares({
      pool,
      clock,
      share: 0.5,
      guestSlots: 2,
      guestsWait: () => true,
      mostHung: 4,
    })
    this.task = this.shares.tasks.acquire()!
    this.guest = this.shares.guests.acquire()!
  }

  /** Tasks look for a session, and find none. */
  tasksWait(): void {
    assert.equal(this.shares.tasks.idle, 0)
  }

  /** A thread hangs in the run that is under way. */
  async hang(run: Promise<unknown>): Promise<void> {
    this.pool.hung.count++
    this.pool.runs[0]!.fail('session-hung')
    await assert.rejects(run, { code: 'session-hung' })
  }

  /** How many milliseconds tasks have to compute until a guest goes before them. */
  async debt(step = 1): Promise<number> {
    for (let ms = 0; ; ms += step) {
      let taskGoes: boolean | undefined
      this.shares.tasks.onAvailable(() => {
        taskGoes ??= this.shares.tasks.idle > 0
      })
      this.pool.release(this.pool.acquire()!)
      if (taskGoes === false) return ms
      const run = this.shares.tasks.run(this.task, 0, 1)
      this.pool.runs[0]!.succeed(step)
      await run
    }
  }
}

describe('what guests pay for', () => {
  test('what a run has computed, on both sides, and not how long it waited for its session', async () => {
    const duel = new Duel()
    const { clock, pool, shares } = duel
    const ofTask = shares.tasks.run(duel.task, 0, 1)
    duel.tasksWait()
    const ofGuest = shares.guests.run(duel.guest, 0, 1)
    await clock.advance(100)
    pool.runs[0]!.succeed(5)
    await ofTask
    await clock.advance(7)
    pool.runs[0]!.succeed(7)
    await ofGuest
    assert.equal(await duel.debt(), 2)
  })

  test('all the time of a run that hangs', async () => {
    const duel = new Duel()
    const run = duel.shares.guests.run(duel.guest, 0, 1)
    duel.tasksWait()
    await duel.clock.advance(3_000)
    await duel.hang(run)
    assert.equal(await duel.debt(100), 3_000)
  })

  test('and earn nothing by a run of tasks that fails', async () => {
    const duel = new Duel()
    const ofGuest = duel.shares.guests.run(duel.guest, 0, 1)
    duel.tasksWait()
    duel.pool.runs[0]!.succeed(50)
    await ofGuest
    const ofTask = duel.shares.tasks.run(duel.task, 0, 1)
    await duel.clock.advance(100)
    await duel.hang(ofTask)
    assert.equal(await duel.debt(), 50)
  })

  test('a session that they keep while they look for a bad row, from the beginning to the end', async () => {
    const duel = new Duel()
    const { clock, pool, shares } = duel
    let released = 0
    const kept = {
      session: 0,
      release: () => {
        released++
        Reflect.deleteProperty(pool, 'idle')
      },
    }
    pool.reserve = async () => {
      Object.defineProperty(pool, 'idle', { value: 0, configurable: true })
      return kept
    }
    const choices: unknown[] = []
    const runOnPool = pool.run.bind(pool)
    pool.run = (slot, first, rows, choice) => {
      choices.push(choice)
      return runOnPool(slot, first, rows)
    }
    const reservation = await shares.guests.reserve()
    await clock.advance(10)
    const run = shares.guests.run(duel.guest, 0, 1, { only: 0, by: reservation })
    duel.tasksWait()
    await clock.advance(20)
    pool.runs[0]!.succeed(1)
    await run
    await clock.advance(30)
    reservation.release()
    assert.deepEqual([choices, released], [[{ only: 0, by: kept }], 1], 'the pool knows its own reservation')
    assert.equal(await duel.debt(), 60)
  })
})

describe('threads that hang', () => {
  test('count against the side whose rows they are', async () => {
    const duel = new Duel()
    const { pool, shares } = duel
    await duel.hang(shares.guests.run(duel.guest, 0, 1))
    assert.deepEqual(
      [shares.guests.hung, shares.tasks.hung],
      [
        { count: 1, most: 4 },
        { count: 0, most: 16 },
      ],
    )
    await duel.hang(shares.tasks.run(duel.task, 0, 1))
    assert.deepEqual([shares.guests.hung.count, shares.tasks.hung.count], [1, 1])
    pool.hung.count = 15
    assert.deepEqual(shares.guests.hung, { count: 1, most: 2 }, 'there is room for one more in the process')
    pool.hung.count = 0
    assert.deepEqual([shares.guests.hung.count, shares.tasks.hung.count], [0, 0], 'they have ended')
    pool.hung.count = 1
    assert.deepEqual([shares.guests.hung.count, shares.tasks.hung.count], [0, 1])
  })

  test('guests whose rows have cost too many get no session, and the stream misses none', async () => {
    const duel = new Duel()
    const { shares } = duel
    for (let threads = 0; threads < 4; threads++) await duel.hang(shares.guests.run(duel.guest, 0, 1))
    assert.equal(shares.guests.acquire(), undefined)
    let idle = -1
    shares.tasks.onAvailable(() => {
      idle = shares.tasks.idle
    })
    duel.pool.release(duel.pool.acquire()!)
    assert.equal(idle, 1, 'none is kept for guests')
  })

  test("a session that was granted to guests, who are closed then, is the stream's", () => {
    const { shares } = new Duel()
    assert.equal(shares.tasks.idle, 0)
    let told = 0
    shares.tasks.onAvailable(() => told++)
    shares.close()
    assert.deepEqual([shares.tasks.idle, told], [1, 1])
  })
})

/** Tasks on two other threads, as far as the pool can tell: the messages between them and it are real. */
async function onThreads(share: number, steps: number, tasksHave: (step: number) => boolean) {
  const clock = new FakeClock()
  const pool = new FakePool({ sessions: 1, slots: 6 })
  const guests = new Source(GUEST, ENDLESS, clock)
  const shares = new SessionShares({ pool, clock, share, guestSlots: 2, guestsWait: () => true })
  const server = new PoolServer({ pool: shares.tasks, clock, layout: LAYOUT, clients: 2, slotsEach: 2 })
  shares.tasksWaitWhen(graceMs => server.clientsWait(graceMs))
  const batcherOf = (view: SessionPool) =>
    new Batcher({
      pool: view,
      model: MODEL,
      maxQueueDelayMs: 0,
      targetLatencyMs: 0,
      telemetry: new FakeBatcherTelemetry(),
      clock,
      probe: async () => {},
      onCondition: () => {},
    })
  const tasks = [0, 1].map(() => {
    const source = new Source(TASK, 0, clock)
    return { source, batcher: batcherOf(new PoolClient(server.lend(), clock)) }
  })
  batcherOf(shares.guests).offer(guests)
  const used = { task: 0, guest: 0 }
  for (let step = 0; step < steps; step++) {
    for (const { source, batcher } of tasks) {
      if (!tasksHave(step) || source.rows > 0) continue
      source.put(8)
      batcher.offer(source)
    }
    await quiet()
    const run = pool.runs[0]
    await clock.advance(10)
    if (run === undefined) continue
    used[run.features[0] === GUEST ? 'guest' : 'task'] += 10
    run.succeed(10)
  }
  server.close()
  return used
}

describe('shares where the tasks are on other threads', () => {
  test('both saturate', async () => {
    const { task, guest } = await onThreads(0.1, 400, () => true)
    assert.ok(Math.abs(guest / (task + guest) - 0.1) < 0.02, `guests got ${guest} of ${task + guest} ms`)
    assert.ok(task + guest > 3_600, 'the session is not left idle')
  })

  test('what tasks leave is for guests', async () => {
    const { task, guest } = await onThreads(0.1, 400, step => step % 100 === 0)
    assert.ok(task >= 4 * 2 * 2 * 10, `${task}`)
    assert.ok(guest > 3_000, `${guest}`)
  })
})
