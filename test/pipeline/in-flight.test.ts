import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { memoryOf, type RecordBatch } from '../../src/core/record-batch.ts'
import { type Holding, InFlightBudget } from '../../src/pipeline/in-flight.ts'
import { batchOf, range } from './fake-codec.ts'
import { propertyOptions } from './property-options.ts'

const BYTES_ENOUGH = 1e9

const batchOfCount = (count: number): RecordBatch => batchOf(range(0, count))

/** Fetches batches of `count` records for as long as there is room. */
function fill(holding: Holding, count: number): number {
  while (holding.room !== undefined) holding.take(batchOfCount(count))
  return holding.records
}

test('a partition alone may hold half of the budget, and never more than its own limit', () => {
  const budget = new InFlightBudget({ records: 1000, bytes: BYTES_ENOUGH }, { records: 800, bytes: BYTES_ENOUGH })
  assert.equal(fill(budget.open(), 10), 470) // and waits while it could fetch less than an eighth
  const limited = new InFlightBudget({ records: 1000, bytes: BYTES_ENOUGH }, { records: 80, bytes: BYTES_ENOUGH })
  assert.equal(fill(limited.open(), 10), 70)
})

test('a hot partition leaves room for those that were quiet, and all hot ones get about the same', () => {
  const budget = new InFlightBudget({ records: 10_000, bytes: BYTES_ENOUGH }, { records: 10_000, bytes: BYTES_ENOUGH })
  const hot = budget.open()
  fill(hot, 10)
  const quiet = budget.open()
  assert.ok(quiet.room!.records > 4_000)
  for (let round = 0; round < 50; round++) {
    for (const holding of [hot, quiet]) {
      fill(holding, 10)
      holding.giveBack(Math.min(holding.records, 200), Math.min(holding.bytes, memoryOf(batchOfCount(10)) * 20))
    }
  }
  assert.ok(Math.abs(hot.records - quiet.records) < 0.2 * hot.records, `${hot.records} and ${quiet.records}`)
})

test('memory counts as records do: of records and of where their parts are', () => {
  const batch = batchOfCount(10)
  const bytes = 4 * memoryOf(batch)
  const budget = new InFlightBudget({ records: 1000, bytes: 2 * bytes }, { records: 1000, bytes })
  const holding = budget.open()
  holding.take(batch)
  assert.deepEqual(holding.room, { records: 980, bytes: 3 * memoryOf(batch) })
  assert.ok(memoryOf(batch) > 10 * 40)
  for (let i = 0; i < 3; i++) holding.take(batch)
  assert.equal(holding.room, undefined)
})

test('whatever is taken and given back, the budget is exceeded by one batch at most, and all of it comes back', () => {
  const step = fc.record({ who: fc.nat(4), records: fc.integer({ min: 1, max: 60 }), end: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), steps => {
      const budget = new InFlightBudget({ records: 300, bytes: 30_000 }, { records: 150, bytes: 20_000 })
      const held = Array.from({ length: 5 }, () => ({ holding: budget.open(), batches: [] as RecordBatch[] }))
      for (const { who, records, end } of steps) {
        const one = held[who]!
        const batch = batchOfCount(records)
        if (end) {
          const done = one.batches.shift()
          if (done !== undefined) one.holding.giveBack(done.count, memoryOf(done))
        } else if (one.holding.room !== undefined) {
          one.holding.take(batch)
          one.batches.push(batch)
        }
        assert.ok(budget.records <= 300 + 60)
        assert.ok(budget.bytes <= 30_000 + memoryOf(batchOfCount(60)))
        assert.ok(one.holding.records <= 150 + 60)
      }
      for (const { holding } of held) holding.close()
      assert.deepEqual([budget.records, budget.bytes], [0, 0])
      assert.ok(held.every(({ holding }) => holding.room !== undefined))
    }),
    propertyOptions,
  )
})
