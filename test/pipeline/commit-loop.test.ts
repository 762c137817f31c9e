import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Committer } from '../../src/core/transaction.ts'
import { CommitLoop, type CommittingTask, type Settled } from '../../src/pipeline/commit-loop.ts'
import { CommitTurns } from '../../src/pipeline/commit-turns.ts'
import { FakeClock, settle as turnOfLoop } from './fake-clock.ts'
import { batchOf, range } from './fake-codec.ts'
import { FakeOutput } from './fake-committer.ts'
import { inFlightLimits } from './task-harness.ts'

/** A task with its loop; transactions end when the test says. */
class Bench implements CommittingTask {
  readonly clock = new FakeClock()
  readonly turns = new CommitTurns(1, this.clock)
  readonly holding = inFlightLimits({}).open()
  readonly offsets: number[] = []
  readonly begun: Settled[] = []
  readonly done: Settled[] = []
  behind = false
  draining = false
  hurried = false
  idle = true
  stopped = false
  failure: Error | undefined
  readonly loop: CommitLoop
  #end: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(commitIntervalMs = 0) {
    const committer: Committer = {
      output: new FakeOutput(),
      initialise: () => assert.fail(),
      commit: offset => {
        this.offsets.push(offset)
        this.#end = Promise.withResolvers()
        return this.#end.promise
      },
      close: async () => {},
    }
    const { clock, turns, holding } = this
    this.loop = new CommitLoop({ committer, turns, clock, commitIntervalMs }, 0, holding)
  }

  begins(settled: Settled): void {
    this.begun.push(settled)
  }

  committed(settled: Settled): void {
    this.done.push(settled)
  }

  /** Records [from, to) were fetched, and their output is there. */
  settle(from: number, to: number): void {
    this.holding.take(batchOf(range(from, to)))
    this.loop.settle(to, { records: to - from, bytes: this.holding.bytes, timestamp: from * 10 })
    this.loop.wake()
  }

  async end(error?: Error): Promise<void> {
    if (error === undefined) this.#end.resolve()
    else this.#end.reject(error)
    await turnOfLoop()
  }
}

test('what settles while a transaction runs goes into the next one, all together', async () => {
  const bench = new Bench()
  const run = bench.loop.run(bench)
  bench.settle(0, 2)
  await turnOfLoop()
  assert.deepEqual(bench.offsets, [2])
  bench.loop.settle(4, { records: 2, bytes: 0, timestamp: 20 })
  bench.loop.settle(7, { records: 3, bytes: 0, timestamp: 40 })
  bench.loop.wake()
  await turnOfLoop()
  assert.deepEqual([bench.offsets, bench.loop.committedOffset], [[2], 0], 'one at a time')
  await bench.end()
  assert.deepEqual([bench.offsets, bench.loop.committedOffset], [[2, 7], 2])
  bench.draining = true
  await bench.end()
  await run
  assert.deepEqual(
    bench.done.map(({ offset, records, timestamps }) => [offset, records, timestamps]),
    [
      [2, 2, [0]],
      [7, 5, [20, 40]],
    ],
  )
  assert.deepEqual(bench.begun, bench.done)
})

test('room is given back when the transaction is done, not before', async () => {
  const bench = new Bench()
  void bench.loop.run(bench)
  bench.settle(0, 2)
  await turnOfLoop()
  assert.equal(bench.holding.records, 2)
  await bench.end()
  assert.deepEqual([bench.holding.records, bench.holding.bytes], [0, 0])
})

test('offsets without records are committed, too', async () => {
  const bench = new Bench()
  void bench.loop.run(bench)
  bench.loop.skip(9)
  assert.ok(bench.loop.dirty)
  bench.loop.wake()
  await turnOfLoop()
  assert.deepEqual(bench.offsets, [9])
  assert.equal(bench.begun[0]!.since, undefined)
})

test('a transaction that is not due yet begins by itself when it is', async () => {
  const bench = new Bench(100)
  void bench.loop.run(bench)
  bench.settle(0, 1)
  await turnOfLoop()
  await bench.end()
  bench.settle(1, 2)
  await bench.clock.advance(99)
  assert.deepEqual(bench.offsets, [1])
  await bench.clock.advance(1)
  assert.deepEqual(bench.offsets, [1, 2])
})

test('a task that drains does not wait, and ends when nothing is on its way', async () => {
  const bench = new Bench(100)
  let ended = false
  const run = bench.loop.run(bench).then(() => {
    ended = true
  })
  bench.settle(0, 1)
  await turnOfLoop()
  await bench.end()
  bench.draining = true
  bench.idle = false
  bench.settle(1, 2)
  await turnOfLoop()
  await bench.end()
  assert.deepEqual([bench.offsets, ended], [[1, 2], false])
  bench.idle = true
  bench.loop.wake()
  await run
})

test('what happened while it waited for its turn counts: a task that was stopped commits nothing', async () => {
  for (const happened of [{ stopped: true }, { failure: new Error('fetch') }]) {
    const bench = new Bench()
    const other = Promise.withResolvers<void>()
    void bench.turns.run(() => other.promise)
    const run = bench.loop.run(bench)
    bench.settle(0, 1)
    await turnOfLoop()
    Object.assign(bench, happened)
    other.resolve()
    await turnOfLoop()
    bench.loop.wake()
    if (bench.failure === undefined) await run
    else await assert.rejects(run, bench.failure)
    assert.deepEqual([bench.offsets, bench.begun], [[], []])
  }
})

test('a failure ends the loop: of the transaction, or of the task', async () => {
  const refused = new Bench()
  const run = refused.loop.run(refused)
  refused.settle(0, 1)
  await turnOfLoop()
  const fenced = new Error('fenced')
  void refused.end(fenced)
  await assert.rejects(run, fenced)
  assert.equal(refused.loop.committedOffset, 0)

  const failed = new Bench()
  failed.failure = new Error('fetch')
  failed.loop.wake()
  await assert.rejects(failed.loop.run(failed), failed.failure)
})

test('a run that is over wakes whoever serves it, gives back all room, and leaves no alarm', async () => {
  const bench = new Bench(100)
  const run = bench.loop.run(bench)
  bench.settle(0, 1)
  await turnOfLoop()
  await bench.end()
  bench.settle(1, 2)
  await turnOfLoop()
  bench.stopped = true
  bench.loop.close()
  await run
  assert.equal(bench.holding.records, 0)
  assert.equal(bench.clock.waiting, 0)
})
