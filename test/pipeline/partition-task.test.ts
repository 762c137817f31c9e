import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import { FencedError } from '../../src/core/transaction.ts'
import { InFlightBudget } from '../../src/pipeline/in-flight.ts'
import { settle } from './fake-clock.ts'
import { batchOf, fetched, range } from './fake-codec.ts'
import { prediction } from './fake-committer.ts'
import { Bench, inFlightLimits, TaskHarness } from './task-harness.ts'

/** The batcher may keep an empty micro-batch open for whoever comes next. */
const ONE_OPEN = 1

const unknown = () => new SluiceError('transaction-unknown', 'the connection was lost')
const predictions = (from: number, to: number) => range(from, to).map(prediction)
const running = (options: ConstructorParameters<typeof TaskHarness>[0] = {}) => new TaskHarness(options).serve()

test('records become predictions, committed with the offset behind them', async () => {
  const task = await running({ start: 7 })
  assert.equal(task.task.state, 'RUNNING')
  assert.equal(task.task.position, 7)
  await task.fetch(10)
  assert.equal(task.task.position, 10)
  await task.finish()
  assert.deepEqual(task.committer.committed, [{ nextOffset: 10, records: predictions(7, 10) }])
  assert.deepEqual(task.task.progress, {
    answers: { version: '3', from: 7 },
    position: 10,
    committedOffset: 10,
    inFlight: 0,
    endOffset: 10,
    paused: false,
  })
})

test('output keeps the order of the input, whatever order the sessions finish in', async () => {
  const task = await running({ bench: new Bench({ sessions: 3, capacity: 2 }) })
  await task.fetch(6)
  assert.equal(task.pool.runs.length, 3)
  await task.endRunWith(4)
  await task.endRunWith(2)
  assert.equal(task.committer.underWay, undefined, 'nothing may leave before the head is done')
  await task.endRunWith(0)
  assert.deepEqual(task.committer.underWay!.records, predictions(0, 6))
  assert.equal(task.committer.underWay!.nextOffset, 6)
})

test('what settles while a transaction runs goes into the next one, all at once', async () => {
  const task = await running({ bench: new Bench({ sessions: 4, capacity: 2 }) })
  await task.fetch(8)
  await task.endRunWith(0)
  assert.deepEqual(task.committer.underWay!.records, predictions(0, 2))
  await task.endRunWith(2)
  await task.endRunWith(6)
  await task.endRunWith(4)
  assert.equal(task.committer.underWay!.nextOffset, 2)
  await task.endCommit()
  assert.deepEqual(task.committer.underWay!.records, predictions(2, 8))
  await task.endCommit()
  assert.deepEqual(
    task.committer.committed.map(({ nextOffset }) => nextOffset),
    [2, 8],
  )
})

test('a part of a batch is committed up to its last record, the rest with what follows the batch', async () => {
  const task = await running({ bench: new Bench({ sessions: 2, capacity: 2 }) })
  await task.fetchOffsets([10, 12, 13], 20)
  await task.endRunWith(10)
  assert.equal(task.committer.underWay!.nextOffset, 13)
  await task.endCommit()
  await task.endRunWith(13)
  assert.equal(task.committer.underWay!.nextOffset, 20)
})

test('a gap behind the records in the pipeline is committed with them', async () => {
  const task = await running()
  await task.fetch(3)
  await task.fetchOffsets([], 5)
  assert.equal(task.committer.underWay, undefined)
  await task.endRunWith(0)
  assert.deepEqual(task.committer.underWay!.records, predictions(0, 3))
  assert.equal(task.committer.underWay!.nextOffset, 5)
})

test('a gap behind records that are not decoded yet waits for them', async () => {
  const task = await running({ bench: new Bench({ sessions: 1, slots: 1, capacity: 2 }) })
  await task.fetch(4)
  await task.fetchOffsets([], 9)
  await task.endRunWith(0)
  assert.equal(task.committer.underWay!.nextOffset, 2)
  await task.endCommit()
  await task.endRunWith(2)
  assert.equal(task.committer.underWay!.nextOffset, 9)
})

test('a fetch with nothing but control records moves the offset by itself', async () => {
  const task = await running()
  await task.fetchOffsets([], 4)
  assert.equal(task.task.position, 4)
  assert.deepEqual(task.committer.underWay!.records, [])
  assert.equal(task.committer.underWay!.nextOffset, 4)
  await task.endCommit()
  assert.equal(task.committer.underWay, undefined)
})

test('records that cannot be decoded become dead letters between their neighbours', async () => {
  const task = await running()
  await task.fetch(3, offset => (offset === 1 ? 'garbage' : 'good'))
  await task.finish()
  assert.deepEqual(task.committer.records, [
    prediction(0),
    { offset: 1, said: 'invalid-avro', stage: 'decode', model: undefined },
    prediction(2),
  ])
  assert.ok(task.telemetry.events.includes('dead letter invalid-avro'))
})

test('a fetch of bad records alone needs no session', async () => {
  const task = await running()
  await task.fetch(3, () => 'garbage')
  assert.equal(task.pool.runs.length, 0)
  await task.endCommit()
  assert.equal(task.committer.records.length, 3)
  assert.equal(task.task.progress.inFlight, 0)
})

test('the batches of one fetch follow one another in a micro-batch', async () => {
  const task = await running()
  task.task.accept(fetched([batchOf([0, 1]), batchOf([5]), batchOf([8])], 9))
  await settle()
  assert.deepEqual(task.pool.runs[0]!.features, [0, 1, 5, 8])
  await task.finish()
  assert.deepEqual(task.committer.committed, [{ nextOffset: 9, records: [0, 1, 5, 8].map(prediction) }])
})

test('after a transaction with an unknown outcome nothing of before is ever written', async () => {
  const task = await running({ bench: new Bench({ sessions: 4, capacity: 1 }) })
  await task.fetch(3)
  const stale = [...task.pool.runs]
  stale[0]!.succeed()
  await settle()
  await task.endCommit(unknown())
  assert.equal(task.conditions.at(-1)?.code, 'transaction-unknown')
  stale[1]!.succeed()
  await task.waitForBackoff()
  assert.equal(task.committer.initialisations, 2)
  assert.equal(task.task.position, 0)
  stale[2]!.succeed()
  await settle()
  assert.equal(task.committer.output.records, 0)
  assert.equal(task.committer.underWay, undefined)
  await task.fetch(3)
  await task.finish()
  assert.deepEqual(task.committer.records, predictions(0, 3))
  assert.ok(task.pool.freeSlots >= task.pool.slots.length - ONE_OPEN)
})

test('after an unknown outcome the committed offset tells where to go on', async () => {
  const task = await running()
  await task.fetch(3)
  await task.endRunWith(0)
  task.committer.start = 3 // it was carried out after all
  await task.endCommit(unknown())
  await task.waitForBackoff()
  assert.equal(task.task.position, 3)
})

test('between a failure and the new start nothing is wanted, and what arrives late is not kept', async () => {
  const task = await running()
  await task.fetch(3)
  await task.endRunWith(0)
  await task.endCommit(unknown())
  assert.equal(task.task.position, undefined)
})

test('failures one after another back off, further each time; a transaction ends that', async () => {
  const task = await running()
  const failAndMeasure = async () => {
    await task.fetch(task.task.position! + 1)
    task.pool.runs[0]!.succeed()
    await settle()
    const failedAt = task.clock.now()
    const before = task.committer.initialisations
    await task.endCommit(unknown())
    while (task.committer.initialisations === before) await task.clock.advance(5)
    return task.clock.now() - failedAt
  }
  const delays = [await failAndMeasure(), await failAndMeasure(), await failAndMeasure()]
  assert.ok(delays[0]! < delays[1]! && delays[1]! < delays[2]!, `delays ${delays}`)
  await task.fetch(1)
  await task.finish()
  assert.ok((await failAndMeasure()) <= 70)
})

test('a task whose every transaction is refused does not look well between two of them', async () => {
  const task = await running()
  for (let attempt = 0; attempt < 3; attempt++) {
    await task.fetch(1)
    task.pool.runs[0]!.succeed()
    await settle()
    await task.endCommit(new SluiceError('output-refused', 'the disk is full'))
    await task.waitForBackoff()
    assert.equal(task.task.state, 'RUNNING')
    assert.equal(task.conditions.at(-1)?.code, 'output-refused')
  }
  await task.fetch(1)
  await task.finish()
  assert.equal(task.conditions.at(-1), undefined)
})

test('an error of the fetcher is a failure like any other: start over, do not halt', async () => {
  const task = await running()
  task.task.fail(new SluiceError('offset-out-of-range', 'offset 0 is outside the log'))
  await settle()
  assert.deepEqual(task.conditions, [], 'a suspicion is no condition: the next start says what is lost')
  assert.equal(task.end, undefined)
  await task.waitForBackoff()
  assert.equal(task.task.state, 'RUNNING')
  assert.equal(task.conditions.at(-1), undefined)
})

test('a suspicion that no start confirms, and each fetch repeats, is trouble in the end', async () => {
  const task = await running()
  for (let attempt = 1; attempt <= 4; attempt++) {
    task.task.fail(new SluiceError('log-truncated', 'the log diverges'))
    await task.waitForBackoff()
    assert.equal(task.conditions.at(-1)?.code, attempt <= 3 ? undefined : 'log-truncated', `attempt ${attempt}`)
  }
  await task.fetch(1)
  assert.equal(task.conditions.at(-1), undefined, 'until a fetch succeeds')
})

test('after a fetch failed nothing more is wanted, and COMMIT_INTERVAL_MS is not waited for', async () => {
  const task = await running({ commitIntervalMs: 60_000 })
  await task.fetch(1)
  await task.finish()
  await task.fetch(2)
  task.pool.runs[0]!.succeed()
  await settle()
  assert.equal(task.committer.underWay, undefined, 'it waits for the interval')
  task.task.fail(new SluiceError('broker-unreachable', 'gone'))
  assert.equal(task.task.position, undefined)
  await settle()
  assert.equal(task.task.state, 'INITIALISING')
})

test('what an initialisation finds can halt the task', async () => {
  const task = new TaskHarness()
  const missing = new SluiceError('offset-missing', 'the offset is gone')
  task.committer.beforeStart.push(() => Promise.reject(missing))
  await task.serve()
  assert.deepEqual(task.end, { how: 'halted', error: missing })
  assert.equal(task.task.state, 'HALTED')
  assert.equal(task.conditions.at(-1), missing)
  assert.equal(task.committer.closed, true)
})

test('an initialisation that fails is tried again, and says why meanwhile', async () => {
  const task = new TaskHarness()
  const away = new SluiceError('broker-unreachable', 'no broker answers')
  task.committer.beforeStart.push(
    () => Promise.reject(away),
    () => Promise.reject(away),
  )
  await task.serve()
  assert.equal(task.task.state, 'INITIALISING')
  assert.equal(task.task.position, undefined)
  assert.equal(task.conditions.at(-1), away)
  await task.waitForBackoff()
  assert.equal(task.task.state, 'RUNNING')
  assert.equal(task.conditions.at(-1), undefined)
})

test('a fenced task ends quietly: no condition, nothing written', async () => {
  const task = await running()
  await task.fetch(2)
  await task.endRunWith(0)
  await task.endCommit(new FencedError('another owner'))
  assert.deepEqual(task.end, { how: 'fenced' })
  assert.equal(task.task.state, 'FENCED')
  assert.ok(!task.conditions.some(condition => condition !== undefined))
  assert.equal(task.telemetry.events.at(-1), 'removed')
})

test('fenced at initialisation, it ends as well', async () => {
  const task = new TaskHarness()
  task.committer.beforeStart.push(() => Promise.reject(new FencedError('another owner')))
  await task.serve()
  assert.deepEqual(task.end, { how: 'fenced' })
})

test('an error that nothing can mend ends the task for the whole worker', async () => {
  const task = new TaskHarness()
  task.committer.beforeStart.push(() => Promise.reject(new TypeError('a defect')))
  await task.serve()
  assert.equal(task.end?.how, 'failed')
  assert.equal(task.end?.how === 'failed' && task.end.error.code, 'internal')
})

test('draining commits what is in the pipeline and leaves what is not decoded', async () => {
  const task = await running({ bench: new Bench({ sessions: 1, slots: 2, capacity: 2 }) })
  await task.fetch(7) // 0-1 run, 2-3 are packed, 4-6 wait
  task.task.drain()
  assert.equal(task.task.state, 'DRAINING')
  assert.equal(task.task.position, undefined)
  await task.finish()
  assert.deepEqual(task.committer.records, predictions(0, 4))
  assert.equal(task.committer.start, 4)
  assert.deepEqual(task.end, { how: 'closed' })
  assert.equal(task.task.state, 'CLOSED')
  assert.ok(task.pool.freeSlots >= 2 - ONE_OPEN)
})

test('draining an idle task ends it at once, amid a transaction once that is over', async () => {
  const idle = await running()
  idle.task.drain()
  await settle()
  assert.deepEqual(idle.end, { how: 'closed' })

  const busy = await running()
  await busy.fetch(2)
  await busy.endRunWith(0)
  busy.task.drain()
  await settle()
  assert.equal(busy.end, undefined)
  await busy.endCommit()
  assert.deepEqual(busy.end, { how: 'closed' })
  assert.equal(busy.committer.committed.length, 1)
})

test('draining a task that is still initialising ends it without a fetch', async () => {
  const task = new TaskHarness()
  const { promise, resolve } = Promise.withResolvers<void>()
  task.committer.beforeStart.push(() => promise)
  await task.serve()
  task.task.drain()
  resolve()
  await settle()
  assert.deepEqual(task.end, { how: 'closed' })
  assert.equal(task.wanted, 0)
})

test('a drained task whose last transaction fails ends: it does not start over on a partition that may have moved', async () => {
  const task = await running()
  await task.fetch(2)
  await task.endRunWith(0)
  task.task.drain()
  await task.endCommit(unknown())
  await task.waitForBackoff()
  assert.deepEqual(task.end, { how: 'closed' })
  assert.equal(task.committer.initialisations, 1)
})

test('draining a task that waits to start over ends it', async () => {
  const task = await running()
  await task.fetch(2)
  await task.endRunWith(0)
  await task.endCommit(unknown())
  task.task.drain()
  await task.waitForBackoff()
  assert.deepEqual(task.end, { how: 'closed' })
  assert.equal(task.committer.initialisations, 1)
})

test('draining does not wait for COMMIT_INTERVAL_MS', async () => {
  const task = await running({ commitIntervalMs: 60_000 })
  await task.fetch(1)
  await task.finish()
  await task.fetch(2)
  await task.endRunWith(1)
  task.task.drain()
  await settle()
  await task.endCommit()
  assert.deepEqual(task.end, { how: 'closed' })
  assert.deepEqual(task.committer.records, predictions(0, 2))
})

test('aborting ends the task without a transaction for what has settled', async () => {
  const task = await running({ commitIntervalMs: 1_000 })
  await task.fetch(1)
  await task.finish()
  await task.fetch(2)
  await task.endRunWith(1)
  task.task.abort()
  await settle()
  assert.deepEqual(task.end, { how: 'closed' })
  assert.equal(task.committer.underWay, undefined)
  assert.equal(task.committer.start, 1)
  assert.equal(task.committer.closed, true)
})

test('aborted while rows run, their slots come back when the runs end', async () => {
  const task = await running({ bench: new Bench({ sessions: 1, slots: 2, capacity: 2 }) })
  await task.fetch(4)
  task.task.abort()
  await settle()
  assert.deepEqual(task.end, { how: 'closed' })
  assert.equal(task.pool.freeSlots, 0)
  await task.finish()
  assert.ok(task.pool.freeSlots >= 2 - ONE_OPEN)
  assert.deepEqual(task.committer.records, [])
})

test('fetching pauses at MAX_IN_FLIGHT and goes on once a transaction made room', async () => {
  const task = await running({ inFlight: inFlightLimits({ records: 3 }) })
  await task.fetch(2)
  assert.equal(task.task.position, 2)
  await task.fetch(5) // one fetch may go beyond
  assert.equal(task.task.position, undefined)
  assert.equal(task.task.progress.paused, true)
  const wanted = task.wanted
  await task.finish()
  assert.ok(task.wanted > wanted, 'the fetcher is told')
  assert.equal(task.task.position, 5)
  assert.deepEqual(
    task.telemetry.events.filter(event => event === 'paused' || event === 'resumed'),
    ['paused', 'resumed'],
  )
})

test('fetching pauses at MAX_IN_FLIGHT_BYTES too, and all of them come back', async () => {
  const task = await running({ inFlight: inFlightLimits({ bytes: 1 }) })
  for (const end of [2, 5]) {
    await task.fetch(end)
    assert.equal(task.task.position, undefined)
    await task.finish()
    assert.equal(task.task.position, end)
  }
})

test('a task that is told to end while it waits for its turn to initialise fences nobody', async () => {
  const turn = Promise.withResolvers<void>()
  const limit = async <T>(initialise: () => Promise<T>) => {
    await turn.promise
    return initialise()
  }
  const task = new TaskHarness({ limit })
  const initialised: string[] = []
  const { initialise } = task.committer
  task.committer.initialise = () => {
    initialised.push('initialised')
    return initialise.call(task.committer)
  }
  const end = task.task.serve()
  task.task.drain()
  turn.resolve()
  assert.deepEqual(await end, { how: 'closed' })
  assert.deepEqual(initialised, [])
})

test('COMMIT_INTERVAL_MS is the shortest time from one transaction to the next', async () => {
  const task = await running({ commitIntervalMs: 100 })
  await task.fetch(1)
  await task.endRunWith(0)
  assert.equal(task.committer.underWay!.nextOffset, 1, 'the first one does not wait')
  await task.endCommit()
  await task.fetch(2)
  await task.endRunWith(1)
  await task.clock.advance(99)
  assert.equal(task.committer.underWay, undefined)
  await task.fetch(3)
  await task.endRunWith(2)
  await task.clock.advance(1)
  assert.deepEqual(task.committer.underWay!.records, predictions(1, 3))
})

test('COMMIT_INTERVAL_MS counts from the last transaction, not from what settles out of order', async () => {
  const task = await running({ commitIntervalMs: 100, bench: new Bench({ sessions: 2, capacity: 1 }) })
  await task.fetch(1)
  await task.finish()
  await task.clock.advance(90)
  await task.fetch(3)
  await task.endRunWith(2)
  await task.clock.advance(10)
  await task.endRunWith(1)
  assert.deepEqual(task.committer.underWay!.records, predictions(1, 3))
})

test('a partition that waits for a schema does not hold up the others', async () => {
  const bench = new Bench()
  const blocked = await running({ bench, partition: 1 })
  const other = await running({ bench, partition: 0 })
  blocked.decoder.find = () => Promise.reject(new Error('connection refused'))
  await blocked.fetch(4, offset => (offset === 2 ? { needs: 9 } : 'good'))
  await other.fetch(2)
  await blocked.finish()
  await other.finish()
  assert.deepEqual(blocked.committer.records, predictions(0, 2))
  assert.deepEqual(other.committer.records, predictions(0, 2))
  assert.ok(blocked.conditions.some(condition => condition?.code === 'registry-unreachable'))

  blocked.decoder.find = async () => {}
  await blocked.waitForBackoff()
  await blocked.finish()
  assert.deepEqual(blocked.committer.records, predictions(0, 4))
  assert.equal(blocked.conditions.at(-1), undefined)
})

test('a schema that arrives after the task started over does not disturb the new run', async () => {
  const task = await running()
  const { promise, resolve } = Promise.withResolvers<void>()
  task.decoder.find = () => promise
  await task.fetch(2, offset => (offset === 1 ? { needs: 9 } : 'good'))
  await task.endRunWith(0)
  await task.endCommit(unknown())
  await task.waitForBackoff()
  const offered = task.conditions.length
  resolve()
  await settle()
  assert.equal(task.conditions.length, offered)
  await task.fetch(2, offset => (offset === 1 ? { needs: 9 } : 'good'))
  await task.finish()
  assert.deepEqual(task.committer.records, predictions(0, 2))
})

test('aborted amid a transaction, a task stops asking for its schema', async () => {
  const task = await running()
  let asked = 0
  task.decoder.find = async () => {
    asked++
    if (asked < 100) throw new Error('connection refused')
  }
  await task.fetch(2, offset => (offset === 1 ? { needs: 9 } : 'good'))
  await task.endRunWith(0)
  task.task.abort()
  await settle()
  assert.ok(asked <= 2, `asked ${asked} times`)
  await task.endCommit()
  assert.deepEqual(task.end, { how: 'closed' })
})

test('lag and end-to-end latency are reported with the transaction', async () => {
  const task = await running()
  task.task.accept({ ...fetched([batchOf([0, 1])], 2), endOffset: 10 })
  await settle()
  assert.equal(task.telemetry.events.at(-1), 'lag 10')
  task.pool.runs[0]!.succeed()
  await task.clock.advance(100) // a task that is behind lets results gather
  await task.finish()
  assert.deepEqual(task.telemetry.events.slice(-4), ['predictions 2', 'committed', 'end to end 1000100', 'lag 8'])
  assert.deepEqual(task.telemetry.commitWaits, [100])
})

test('initialisations run through the limit', async () => {
  let held: (() => void) | undefined
  const task = new TaskHarness({
    limit: initialise => new Promise(resolve => (held = () => resolve(initialise()))),
  })
  await task.serve()
  assert.equal(task.committer.initialisations, 0)
  held!()
  await settle()
  assert.equal(task.task.state, 'RUNNING')
})

test('what a failed run gives back is room for the partitions that wait for it', async () => {
  const bench = new Bench()
  const limits = { records: 10, bytes: 1 << 20 }
  const inFlight = new InFlightBudget(limits, limits)
  let woken = 0
  const shared = { bench, inFlight, onWanted: () => woken++ }
  const hungry = await new TaskHarness({ ...shared, partition: 0 }).serve()
  const waiting = await new TaskHarness({ ...shared, partition: 1 }).serve()
  await hungry.fetch(10)
  assert.equal(waiting.task.position, undefined)
  hungry.committer.beforeStart.push(() => new Promise(() => {})) // its coordinator stays away
  woken = 0
  hungry.task.fail(new Error('the leader moved'))
  await settle()
  assert.equal(waiting.task.position, 0)
  assert.equal(woken, 1, 'the fetcher is told')
  assert.equal(inFlight.records, 0)
})
