import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import type { RowRequest } from '../../src/core/row-request.ts'
import type { TensorColumn } from '../../src/core/tensor.ts'
import { SessionShares } from '../../src/inference/session-shares.ts'
import { Batcher } from '../../src/pipeline/batcher.ts'
import { RequestLane } from '../../src/pipeline/request-lane.ts'
import { FakeClock, settle } from './fake-clock.ts'
import { FakePool, predictionFor } from './fake-pool.ts'
import { FakeBatcherTelemetry } from './fake-telemetry.ts'
import { MODEL } from './task-harness.ts'

/** A request for so many features in a row, which keeps what it is told. */
class Request implements RowRequest {
  readonly features: readonly number[]
  readonly deadline: number
  readonly outputs: number[] = []
  readonly end = Promise.withResolvers<'done' | SluiceError>()
  ends = 0
  abandoned = false

  constructor(features: readonly number[], deadline = Number.POSITIVE_INFINITY) {
    this.features = features
    this.deadline = deadline
  }

  get rows(): number {
    return this.features.length
  }

  pack(inputs: readonly TensorColumn[], from: number, count: number, at: number): void {
    ;(inputs[0]!.data as Float64Array).set(this.features.slice(from, from + count), at)
  }

  ran(outputs: readonly TensorColumn[], from: number, count: number, at: number): void {
    for (let i = 0; i < count; i++) this.outputs[from + i] = outputs[0]!.data[at + i] as number
  }

  done(): void {
    this.ends++
    this.end.resolve('done')
  }

  refuse(error: SluiceError): void {
    this.ends++
    this.end.resolve(error)
  }

  async succeeded(): Promise<void> {
    assert.equal(await this.end.promise, 'done')
    assert.deepEqual(this.outputs, this.features.map(predictionFor))
    assert.equal(this.ends, 1)
  }

  async refused(code: string, message: RegExp): Promise<void> {
    const error = (await this.end.promise) as SluiceError
    assert.equal(error.code, code)
    assert.match(error.message, message)
    assert.equal(this.ends, 1)
  }
}

function rig({ sessions = 1, capacity = 4 } = {}) {
  const clock = new FakeClock()
  const pool = new FakePool({ sessions, slots: sessions + 1, capacity })
  const lane = new RequestLane({ clock, onWaiting: () => batcher.offer(lane) })
  const guestsWait = () => lane.waiting
  const shares = new SessionShares({ pool, clock, share: 0.1, guestSlots: sessions + 1, guestsWait })
  const telemetry = new FakeBatcherTelemetry()
  const batcher: Batcher = new Batcher({
    pool: shares.guests,
    model: MODEL,
    maxQueueDelayMs: 0,
    targetLatencyMs: 0,
    telemetry,
    clock,
    probe: async () => {},
    onCondition: () => {},
  })
  const add = (features: readonly number[], deadline?: number) => {
    const request = new Request(features, deadline)
    lane.add(request)
    return request
  }
  return { clock, pool, lane, add, batcher, shares, telemetry }
}

test('requests that wait for a session run together, and a lone one at once', async () => {
  const { pool, add } = rig()
  const first = add([1])
  await settle()
  assert.deepEqual(pool.runs[0]!.features, [1])
  const others = [add([2]), add([3, 4]), add([5])]
  await settle()
  assert.equal(pool.runs.length, 1, 'the session is busy')
  pool.runs[0]!.succeed()
  await first.succeeded()
  await settle()
  assert.deepEqual(pool.runs[0]!.features, [2, 3, 4, 5])
  pool.runs[0]!.succeed()
  for (const request of others) await request.succeeded()
})

test('a request larger than a slot takes several runs, and lets small ones between', async () => {
  const { pool, add, telemetry } = rig()
  const blocker = add([0])
  await settle()
  const large = add([1, 2, 3, 4, 5, 6, 7, 8, 9])
  const small = add([10])
  const seen: (readonly number[])[] = []
  while (seen.length < 5) {
    await settle()
    const run = pool.runs[0]
    if (run === undefined) break
    seen.push(run.features)
    run.succeed()
  }
  assert.deepEqual(seen, [[0], [1, 2, 3, 4], [10, 5, 6, 7], [8, 9]])
  for (const request of [blocker, large, small]) await request.succeeded()
  assert.equal(telemetry.batches.length, 4)
})

test('a request that has waited until its deadline is refused then, and not run', async () => {
  const { clock, pool, add, lane } = rig()
  const running = add([1], 5)
  await settle()
  const late = add([2], 20)
  const patient = add([3], 500)
  const later = add([4], 40)
  await clock.advance(20)
  await late.refused('deadline-exceeded', /^the request has waited 20 ms for a session/)
  await clock.advance(20)
  await later.refused('deadline-exceeded', /waited 40 ms/)
  pool.runs[0]!.succeed()
  await running.succeeded()
  await settle()
  assert.deepEqual(pool.runs[0]!.features, [3], 'the others were never packed')
  pool.runs[0]!.succeed()
  await patient.succeeded()
  assert.equal(lane.waiting, false)
})

test('a deadline that passes while nobody rings is seen when a session is free', async () => {
  const { clock, pool, add } = rig()
  add([1])
  await settle()
  const late = add([2], 10)
  // The timer has not been served: the thread was busy.
  clock.after = () => ({ cancel: () => {} })
  const good = add([3], 1_000)
  Object.defineProperty(clock, 'now', { value: () => 11 })
  pool.runs[0]!.succeed()
  await late.refused('deadline-exceeded', /11 ms/)
  await settle()
  assert.deepEqual(pool.runs[0]!.features, [3])
  pool.runs[0]!.succeed()
  await good.succeeded()
})

test('a row that the model refuses fails its request alone', async () => {
  const { pool, add } = rig({ capacity: 8 })
  add([0])
  await settle()
  const requests = [add([1, 2]), add([3, 666, 4]), add([5])] as const
  for (let runs = 0; runs < 40; runs++) {
    await settle()
    const run = pool.runs[0]
    if (run === undefined) break
    if (run.features.includes(666)) run.fail('inference-failed')
    else run.succeed()
  }
  await requests[0].succeeded()
  await requests[1].refused('request-failed', /^row 1 of the request: The model fails on this row/)
  await requests[2].succeeded()
})

test('of a large request that has failed nothing more is run', async () => {
  const { pool, add } = rig({ capacity: 2 })
  const bad = add([666, ...Array.from({ length: 99 }, (_, row) => row + 1)])
  let rows = 0
  for (let runs = 0; runs < 200; runs++) {
    await settle()
    const run = pool.runs[0]
    if (run === undefined) break
    rows = Math.max(rows, ...run.features.filter(feature => feature !== 666))
    if (run.features.includes(666)) run.fail('inference-failed')
    else run.succeed()
  }
  await bad.refused('request-failed', /^row 0/)
  assert.ok(rows < 20, `row ${rows} was run, after the first had failed`)
})

test('whoever has gone is not run', async () => {
  const { pool, add } = rig()
  add([1])
  await settle()
  const gone = add([2])
  const there = add([3])
  gone.abandoned = true
  pool.runs[0]!.succeed()
  await settle()
  assert.deepEqual(pool.runs[0]!.features, [3])
  pool.runs[0]!.succeed()
  await there.succeeded()
})

test('of a large request whose client goes nothing more is run', async () => {
  const { pool, add, lane } = rig({ capacity: 2 })
  const large = add([1, 2, 3, 4, 5, 6])
  await settle()
  assert.deepEqual(pool.runs[0]!.features, [1, 2])
  large.abandoned = true
  pool.runs[0]!.succeed()
  await large.refused('not-ready', /client has gone/)
  await settle()
  assert.deepEqual([pool.runs.length, lane.backlog], [0, 0])
})

test('a request that throws while it is packed or answered is refused alone, and its slot is free again', async () => {
  const { pool, add } = rig()
  // More often than guests have slots: one that is not free again is missing soon.
  for (const step of ['pack', 'ran', 'done', 'pack', 'ran', 'done'] as const) {
    const blocker = add([0])
    await settle()
    const bad = add([1])
    const good = add([2])
    bad[step] = () => {
      throw new RangeError('Invalid string length')
    }
    for (let runs = 0; runs < 4; runs++) {
      pool.runs[0]?.succeed()
      await settle()
    }
    assert.equal(good.ends, 1, `${step}: no slot is free`)
    await bad.refused('internal', /Invalid string length/)
    for (const request of [blocker, good]) await request.succeeded()
    assert.equal(pool.idle, 1)
  }
})

test('a session that was granted to a request whose deadline passes right then is free for the stream', async () => {
  const { clock, add, shares } = rig()
  let now = 0
  Object.defineProperty(clock, 'now', { value: () => now++ })
  for (let patience = 1; patience < 20; patience++) {
    const late = add([1], now + patience)
    await settle()
    if (late.ends === 0) break
    assert.equal(shares.tasks.idle, 1, `a deadline in ${patience} looks at the clock`)
  }
})

test('a lane that closes refuses those that wait and those that run, and none that is answered', async () => {
  for (const answered of [[0, 1], [2, 0], [1, 3], [2], []]) {
    const { pool, add, lane } = rig({ sessions: 3, capacity: 1 })
    const requests: Request[] = []
    for (const feature of [1, 2, 3, 4]) {
      requests.push(add([feature]))
      await settle()
    }
    for (const i of answered) {
      pool.runs.find(({ features }) => features[0] === i + 1)!.succeed()
      await requests[i]!.succeeded()
      await settle()
    }
    lane.close(new SluiceError('not-ready', 'it closes'))
    for (const [i, request] of requests.entries()) {
      if (answered.includes(i)) await request.succeeded()
      else await request.refused('not-ready', /closes/)
    }
  }
})
