import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CostModel } from '../../src/pipeline/cost-model.ts'
import { RecentQuantile } from '../../src/pipeline/recent-quantile.ts'
import { randomFrom } from '../sim/random.ts'
import { propertyOptions } from './property-options.ts'

interface Line {
  readonly rowMs: number
  readonly fixedMs: number
}

const GPU: Line = { rowMs: 0.02, fixedMs: 8 }
const CPU: Line = { rowMs: 0.5, fixedMs: 0.05 }

const random = randomFrom(5)
const tenPercent = () => 0.9 + 0.2 * random()
const upTo = (most: number) => () => 1 + Math.floor(random() * most)

/** Feeds runs of `rows()` rows each, which take what the line says, times `noise()`. */
function feed(model: CostModel, { rowMs, fixedMs }: Line, runs: number, rows: () => number, noise = tenPercent): void {
  for (let i = 0; i < runs; i++) {
    const n = rows()
    model.observe(n, (rowMs * n + fixedMs) * noise())
  }
}

function assertNear(actual: number, expected: number, share: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= share * expected, `${what}: ${actual} is not within ${share} of ${expected}`)
}

test('runs of many sizes show what a row and what a run costs, within a few per cent', () => {
  const gpu = new CostModel()
  feed(gpu, GPU, 1000, upTo(1024))
  assertNear(gpu.cost.rowMs, GPU.rowMs, 0.05, 'row')
  assertNear(gpu.cost.fixedMs, GPU.fixedMs, 0.05, 'run')
  const cpu = new CostModel()
  feed(cpu, CPU, 1000, upTo(64))
  assertNear(cpu.cost.rowMs, CPU.rowMs, 0.05, 'row')
  assert.ok(cpu.cost.fixedMs < 1, 'almost nothing beside runs of 16 ms')
})

test('pauses, and a first run that takes long, hardly count', () => {
  const model = new CostModel()
  model.observe(100, 2_000)
  feed(model, GPU, 1000, upTo(1024), () => (random() < 0.01 ? 20 : tenPercent()))
  assertNear(model.cost.rowMs, GPU.rowMs, 0.1, 'row')
  assertNear(model.cost.fixedMs, GPU.fixedMs, 0.1, 'run')
})

test('a model that becomes slower for good is followed, and one that becomes faster at once', () => {
  const model = new CostModel()
  feed(model, GPU, 300, upTo(1024))
  feed(model, { rowMs: 0.06, fixedMs: 24 }, 600, upTo(1024))
  assertNear(model.expect(500), 54, 0.05, 'slower')
  feed(model, GPU, 400, upTo(1024))
  assertNear(model.expect(500), 18, 0.1, 'faster')
})

test('before sizes differ, no batch is taken for cheaper by the row than those that were run', () => {
  const model = new CostModel()
  feed(model, GPU, 50, () => 10)
  assert.equal(model.slopeKnown, false)
  assertNear(model.expect(10), 8.2, 0.05, 'what was run')
  assertNear(model.expect(100), 82, 0.05, 'through the origin')
  assert.ok(model.cost.fixedMs < 0.01)
})

test('when all batches have one size again, the slope of before stays, and the level follows', () => {
  const model = new CostModel()
  feed(model, GPU, 500, upTo(1024))
  feed(model, GPU, 2000, () => 700)
  assertNear(model.cost.rowMs, GPU.rowMs, 0.1, 'row')
  assertNear(model.cost.fixedMs, GPU.fixedMs, 0.2, 'run')
  feed(model, GPU, 2000, () => (random() < 0.5 ? 700 : 701)) // so small a spread shows noise, not a slope
  assertNear(model.cost.rowMs, GPU.rowMs, 0.15, 'row, of a faint spread')
  feed(model, { ...GPU, fixedMs: 16 }, 1000, () => 700)
  assertNear(model.expect(700), 30, 0.03, 'level')
})

test('the tail is what one run of a hundred exceeds the line by', () => {
  const model = new CostModel()
  feed(model, { rowMs: 0, fixedMs: 10 }, 5000, upTo(100), () => 1 + random())
  // Uniform from 10 to 20 ms: the mean is 15, the p99 is 19.9.
  assertNear(model.cost.fixedMs + model.cost.rowMs * 50 + model.cost.tailMs, 19.9, 0.03, 'p99')
})

test('no part of the cost is ever negative, and none is lost to strange numbers', () => {
  const run = fc.record({
    rows: fc.integer({ min: 1, max: 65_536 }),
    ms: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e6, noNaN: true })),
  })
  fc.assert(
    fc.property(fc.array(run, { minLength: 1, maxLength: 60 }), runs => {
      const model = new CostModel()
      for (const { rows, ms } of runs) model.observe(rows, ms)
      const { rowMs, fixedMs, tailMs } = model.cost
      for (const part of [rowMs, fixedMs, tailMs]) assert.ok(part >= 0 && Number.isFinite(part), `${part}`)
      assert.equal(model.runs, runs.length)
      assert.equal(model.largest, Math.max(...runs.map(({ rows }) => rows)))
    }),
    propertyOptions,
  )
})

test('the quantile of a window is the nearest rank, and forgets what left the window', () => {
  const quantile = new RecentQuantile(0.99, 256)
  assert.equal(quantile.value, 0)
  quantile.observe(3)
  assert.equal(quantile.value, 3)
  for (let i = 0; i < 255; i++) quantile.observe(i < 2 ? 1_000 : i)
  assert.equal(quantile.value, 254) // two pauses do not move it
  for (let i = 0; i < 256; i++) quantile.observe(1)
  assert.equal(quantile.value, 1)
})
