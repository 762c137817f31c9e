import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type BatchPlan, decide, type Load, planBatches } from '../../src/pipeline/batch-policy.ts'
import { propertyOptions } from './property-options.ts'

const batch = (rows: number, openedAt = 0) => ({ rows, capacity: 8, openedAt, arrivedAt: openedAt })

test('an empty batch is never closed', () => {
  assert.equal(decide(batch(0), 3, 99, 0), 'gather')
  assert.equal(decide(batch(0), 3, 99, 10), 'gather')
})

test('a full batch closes at once, also when every session is busy', () => {
  assert.deepEqual(decide(batch(8), 0, 0, 10), { close: 'full' })
})

test('while all sessions are busy rows gather, however old the batch is', () => {
  assert.equal(decide(batch(7), 0, 1_000, 10), 'gather')
})

test('a free session takes what waits at once when no delay is allowed', () => {
  assert.deepEqual(decide(batch(1), 1, 0, 0), { close: 'session-free' })
})

test('with a delay the batch closes when its first row has waited that long', () => {
  assert.deepEqual(decide(batch(1, 100), 1, 104, 10), { waitMs: 6 })
  assert.deepEqual(decide(batch(1, 100), 1, 110, 10), { close: 'delay' })
  assert.deepEqual(decide(batch(1, 100), 1, 111, 10), { close: 'delay' })
})

test('looked at again after waitMs, a batch closes; and none ever waits longer than the delay', () => {
  const args = fc.record({
    rows: fc.integer({ min: 0, max: 8 }),
    free: fc.nat(3),
    openedAt: fc.nat(1_000),
    age: fc.nat(100),
    delay: fc.nat(50),
  })
  fc.assert(
    fc.property(args, ({ rows, free, openedAt, age, delay }) => {
      const now = openedAt + age
      const decision = decide(batch(rows, openedAt), free, now, delay)
      const mayClose = rows === 8 || (rows > 0 && free > 0 && age >= delay)
      assert.equal(typeof decision === 'object' && 'close' in decision, mayClose)
      if (typeof decision === 'object' && 'waitMs' in decision) {
        assert.ok(decision.waitMs > 0 && age + decision.waitMs <= delay)
        assert.deepEqual(decide(batch(rows, openedAt), free, now + decision.waitMs, delay), { close: 'delay' })
      }
    }),
    propertyOptions,
  )
})

const GPU = { rowMs: 0.02, fixedMs: 8, tailMs: 1 }
const CPU = { rowMs: 0.5, fixedMs: 0.05, tailMs: 0.2 }

const load = (changes: Partial<Load> = {}): Load => ({
  cost: GPU,
  largest: 65_536,
  slopeKnown: true,
  sessions: 1,
  backlog: 0,
  rowsPerMs: 0.1,
  nextRowsBy: 0,
  inputRowMs: 0,
  servedMs: 0,
  deliveryMs: 10,
  ...changes,
})

test('two runs fit into what the target leaves after the commit', () => {
  assert.equal(planBatches(load(), 60, 1024).limit, 800) // (50 / 2 - 8 - 1) / 0.02
  assert.equal(planBatches(load({ deliveryMs: 30 }), 60, 1024).limit, 300)
  assert.equal(planBatches(load(), 600, 1024).limit, 1024)
  assert.equal(planBatches(load({ cost: CPU }), 60, 1024).limit, 49)
})

test('batches grow at most fourfold beyond what was run, and begin small', () => {
  assert.equal(planBatches(load({ cost: undefined, largest: 0 }), 60, 1024).limit, 8)
  assert.equal(planBatches(load({ largest: 30 }), 60, 1024).limit, 120)
  assert.equal(planBatches(load({ largest: 30, backlog: 1e6 }), 60, 1024).limit, 120)
})

test('behind is who cannot run what waits within the budget; then batches are as large as adds to the throughput', () => {
  // 800 rows take 24 ms (25 with the tail): within the other 25 ms of the budget, 833 rows can be run.
  assert.equal(planBatches(load({ backlog: 830 }), 60, 1024).behind, false)
  const gpu = planBatches(load({ backlog: 840 }), 60, 1024)
  assert.deepEqual([gpu.behind, gpu.limit], [true, 1024])
  // Here larger batches add nothing: 49 rows are as fast.
  const cpu = planBatches(load({ cost: CPU, backlog: 100 }), 60, 1024)
  assert.deepEqual([cpu.behind, cpu.limit], [true, 49])
  // As long as nobody knows what size adds, it is tried.
  assert.equal(planBatches(load({ cost: CPU, backlog: 100, slopeKnown: false }), 60, 1024).limit, 1024)
  // More sessions run more of it; a main thread that decodes too slowly is behind as well.
  assert.equal(planBatches(load({ backlog: 840, sessions: 2 }), 60, 1024).behind, false)
  assert.equal(planBatches(load({ backlog: 500, inputRowMs: 0.1 }), 60, 1024).behind, true)
})

test('a target that cannot be held limits batches to what adds to the throughput, and lets nothing wait', () => {
  for (const [cost, limit] of [
    [GPU, 1024],
    [CPU, 10],
  ] as const) {
    const plan = planBatches(load({ cost, deliveryMs: 60, rowsPerMs: 20 }), 60, 1024)
    assert.deepEqual([plan.limit, plan.behind, plan.enough], [limit, false, 1])
  }
})

test('the limit is never so low that sessions could not keep up', () => {
  // Two runs of 9 ms and 0.02 ms a row in 19 ms: 25 rows. 10 rows a millisecond need batches of 8·10 / (0.8 - 0.2).
  assert.equal(planBatches(load({ rowsPerMs: 1 }), 29, 1024).limit, 25)
  assert.equal(planBatches(load({ rowsPerMs: 10 }), 29, 1024).limit, 134)
})

test('waiting pays only where runs cost much by themselves, and sessions are short of time', () => {
  const enough = (changes: Partial<Load>) => planBatches(load(changes), 60, 1024).enough
  assert.ok(enough({ rowsPerMs: 0.05 }) <= 1)
  assert.equal(enough({ rowsPerMs: 5 }), 58) // 5·8 / (0.8 - 0.1)
  assert.equal(enough({ rowsPerMs: 5, sessions: 2 }), 27)
  assert.ok(enough({ cost: CPU, rowsPerMs: 1.9 }) <= 1)
  assert.equal(enough({ rowsPerMs: 5, servedMs: 41 }), 1) // more than 0.8 of 50 ms
  // With 20 rows a millisecond, (50 - 18) / (1/20 + 0.04) can be gathered and run twice in time.
  assert.equal(Math.floor(enough({ rowsPerMs: 20 })), 355)
})

const plan = (changes: Partial<BatchPlan> = {}): BatchPlan => ({
  limit: 6,
  behind: false,
  enough: 4,
  budgetMs: 20,
  cost: { rowMs: 1, fixedMs: 2, tailMs: 1 },
  nextRowsBy: 1_000,
  ...changes,
})

test('with a plan a batch closes at its limit, and the trigger says why there is one', () => {
  assert.deepEqual(decide(batch(6), 0, 0, 0, plan()), { close: 'target-size' })
  assert.deepEqual(decide(batch(7), 0, 0, 0, plan()), { close: 'target-size' })
  assert.deepEqual(decide(batch(6), 0, 0, 0, plan({ behind: true })), { close: 'behind' })
  assert.deepEqual(decide(batch(8), 0, 0, 0, plan({ limit: 8 })), { close: 'full' })
  assert.equal(decide(batch(5), 0, 0, 0, plan()), 'gather')
  assert.equal(decide(batch(0), 1, 0, 0, plan()), 'gather')
})

test('rows gather until waiting no longer pays, more are not expected, or the run would be late', () => {
  assert.deepEqual(decide(batch(4), 1, 0, 0, plan()), { close: 'session-free' })
  assert.deepEqual(decide(batch(2), 1, 0, 0, plan()), { waitMs: 15 }) // 20 - 2 - 2 - 1
  assert.deepEqual(decide(batch(3), 1, 0, 0, plan()), { waitMs: 14 })
  assert.deepEqual(decide(batch(2), 1, 15, 0, plan()), { close: 'target-time' })
  assert.deepEqual(decide({ ...batch(2, 10), arrivedAt: 0 }, 1, 15, 0, plan()), { close: 'target-time' })
  assert.deepEqual(decide(batch(2), 1, 3, 0, plan({ nextRowsBy: 9 })), { waitMs: 6 })
  assert.deepEqual(decide(batch(2), 1, 9, 0, plan({ nextRowsBy: 9 })), { close: 'session-free' })
  assert.deepEqual(decide(batch(2), 1, 14.5, 0, plan()), { close: 'target-time' }, 'no timer for half a millisecond')
})

test('MAX_QUEUE_DELAY_MS bounds the wait for the target, too, and is what counts when behind', () => {
  assert.deepEqual(decide(batch(2), 1, 0, 5, plan()), { waitMs: 5 })
  assert.deepEqual(decide(batch(2), 1, 5, 5, plan()), { close: 'delay' })
  assert.deepEqual(decide(batch(2), 1, 5, 50, plan()), { waitMs: 10 })
  assert.deepEqual(decide(batch(2), 1, 0, 0, plan({ behind: true })), { close: 'session-free' })
  assert.deepEqual(decide(batch(2), 1, 0, 5, plan({ behind: true })), { waitMs: 5 })
})

test('whatever the load, plans stay within bounds, and waits end in time', () => {
  const positive = (max: number) => fc.double({ min: 0, max, noNaN: true })
  const loads = fc.record({
    cost: fc.option(fc.record({ rowMs: positive(10), fixedMs: positive(100), tailMs: positive(50) }), {
      nil: undefined,
    }),
    largest: fc.nat(2_000),
    slopeKnown: fc.boolean(),
    sessions: fc.integer({ min: 1, max: 8 }),
    backlog: fc.nat(100_000),
    rowsPerMs: positive(100),
    nextRowsBy: positive(200),
    inputRowMs: positive(1),
    servedMs: positive(200),
    deliveryMs: positive(200),
  })
  const now = fc.record({ rows: fc.integer({ min: 1, max: 1024 }), at: positive(300), delay: fc.nat(30) })
  fc.assert(
    fc.property(loads, fc.integer({ min: 1, max: 500 }), now, (load, target, { rows, at, delay }) => {
      const plan = planBatches(load, target, 1024)
      assert.ok(Number.isInteger(plan.limit) && plan.limit >= 1 && plan.limit <= 1024, `limit ${plan.limit}`)
      assert.ok(!Number.isNaN(plan.enough))
      const open = { rows, capacity: 1024, openedAt: 0, arrivedAt: 0 }
      const decision = decide(open, 1, at, delay, plan)
      assert.notEqual(decision, 'gather')
      if (typeof decision === 'string' || 'close' in decision) return
      const { waitMs } = decision
      assert.ok(waitMs > 0)
      if (delay > 0) assert.ok(at + waitMs <= delay + 1e-9)
      if (!plan.behind) {
        const { rowMs, fixedMs, tailMs } = plan.cost
        assert.ok(at + waitMs + rowMs * rows + fixedMs + tailMs <= plan.budgetMs + 1e-9, 'the run would be late')
        assert.ok(at + waitMs <= load.nextRowsBy)
      }
    }),
    propertyOptions,
  )
})
