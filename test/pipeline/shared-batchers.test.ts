import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '../../src/core/clock.ts'
import { Batcher } from '../../src/pipeline/batcher.ts'
import type { MicroBatch } from '../../src/pipeline/micro-batch.ts'
import type { RowSource } from '../../src/pipeline/row-sources.ts'
import { quiet, share, when } from '../inference/shared-pool.ts'
import { FakePool, LAYOUT, predictionFor } from './fake-pool.ts'
import { FakeBatcherTelemetry } from './fake-telemetry.ts'
import { propertyOptions } from './property-options.ts'
import { MODEL } from './task-harness.ts'

/** One of several batchers of a pool, each of which could be on a thread of its own, and the only source that it has. */
class Lane implements RowSource {
  readonly waiting: number[] = []
  readonly results: { readonly row: number; readonly output: number }[] = []
  readonly telemetry = new FakeBatcherTelemetry()
  readonly conditions: (string | undefined)[] = []
  readonly #batcher: Batcher

  constructor(pool: ReturnType<typeof share>['clients'][number]) {
    this.#batcher = new Batcher({
      pool,
      model: MODEL,
      maxQueueDelayMs: 0,
      targetLatencyMs: 0,
      telemetry: this.telemetry,
      clock: systemClock,
      probe: async () => {},
      onCondition: error => this.conditions.push(error?.code),
    })
  }

  get backlog(): number {
    return this.waiting.length
  }

  offer(...rows: number[]): void {
    this.waiting.push(...rows)
    this.#batcher.offer(this)
  }

  pack(batch: MicroBatch): boolean {
    const first = batch.rows
    const rows = this.waiting.splice(0, batch.slot.capacity - first)
    ;(batch.slot.inputs[0]!.data as Float64Array).set(rows, first)
    batch.rows += rows.length
    const settled = () => {
      const outputs = batch.slot.outputs[0]!.data as Float64Array
      for (const [i, row] of rows.entries()) this.results.push({ row, output: outputs[first + i]! })
      batch.letGo()
    }
    if (rows.length > 0) batch.hold({ settled })
    return this.waiting.length > 0
  }
}

function rig(options: { lanes?: number; sessions?: number; slotsEach?: number; capacity?: number; mostHung?: number }) {
  const { lanes: clients = 2, slotsEach = 2, mostHung, ...rest } = options
  const pool = new FakePool({ slots: clients * slotsEach, ...rest })
  if (mostHung !== undefined) pool.hung.most = mostHung
  const shared = share(undefined, pool, LAYOUT, { clients, slotsEach })
  return { pool, lanes: shared.clients.map(client => new Lane(client)), close: () => shared.server.close() }
}

test('while others have all sessions, rows gather: no batch of a single row', async t => {
  const { pool, lanes, close } = rig({ capacity: 8 })
  t.after(close)
  const [a, b] = lanes as [Lane, Lane]
  a.offer(1)
  await when(() => pool.runs.length === 1)
  for (let row = 10; row < 15; row++) {
    b.offer(row)
    await quiet()
  }
  assert.equal(pool.runs.length, 1)
  pool.runs[0]!.succeed()
  await when(() => pool.runs.length === 1)
  assert.deepEqual(pool.runs[0]!.features, [10, 11, 12, 13, 14])
  pool.runs[0]!.succeed()
  await when(() => b.results.length === 5)
  assert.deepEqual(b.telemetry.batches, [
    { rows: 5, trigger: 'session-free', queueMs: b.telemetry.batches[0]!.queueMs },
  ])
})

test('when too many threads hang, a batcher says so though it runs nothing, and another once its batch is settled', async t => {
  const { pool, lanes, close } = rig({ sessions: 2, mostHung: 16 })
  t.after(close)
  const [idle, busy] = lanes as [Lane, Lane]
  busy.offer(1)
  await when(() => pool.runs.length === 1)
  busy.offer(2)
  await when(() => pool.runs.length === 2)
  pool.hung.count = 16
  pool.runs[1]!.succeed()
  await when(() => idle.conditions.length > 0)
  assert.deepEqual(idle.conditions, ['sessions-hung'])
  await quiet()
  assert.deepEqual(busy.conditions, [], 'a batch of it is under way')
  pool.runs[0]!.succeed()
  await when(() => busy.conditions.length > 0)
  assert.deepEqual(busy.conditions, ['sessions-hung'])
  assert.equal(busy.results.length, 2)
})

test('no row is lost, run twice or left waiting, whatever the order of events', { timeout: 60_000 }, async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('offer' as const), lane: fc.nat(2), rows: fc.nat(7) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('succeed' as const), pick: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('fail' as const), pick: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const) }) },
  )
  const options = fc.record({
    lanes: fc.integer({ min: 2, max: 3 }),
    sessions: fc.integer({ min: 1, max: 3 }),
    slotsEach: fc.integer({ min: 1, max: 3 }),
    capacity: fc.integer({ min: 1, max: 4 }),
  })
  await fc.assert(
    fc.asyncProperty(options, fc.array(step, { maxLength: 30 }), async (options, steps) => {
      const { pool, lanes, close } = rig(options)
      let next = 0
      let failures = 0
      for (const step of steps) {
        if (step.kind === 'offer') {
          lanes[step.lane % lanes.length]!.offer(...Array.from({ length: step.rows }, () => next++))
        } else if (step.kind === 'wait') await quiet()
        else if (pool.runs.length > 0) {
          const run = pool.runs[step.pick % pool.runs.length]!
          // One failure at a time: a row that meets two alone is rightly called bad.
          if (step.kind === 'fail' && failures++ === 0) run.fail()
          else run.succeed()
        }
      }
      // Whoever is not woken when a session is idle would wait for ever.
      for (await quiet(); pool.runs.length > 0; await quiet()) pool.runs[0]!.succeed()
      close()
      const results = lanes.flatMap(lane => lane.results)
      assert.deepEqual(
        results.map(({ row }) => row).sort((a, b) => a - b),
        Array.from({ length: next }, (_, row) => row),
      )
      for (const { row, output } of results) assert.equal(output, predictionFor(row))
    }),
    { ...propertyOptions, numRuns: 100 },
  )
})
