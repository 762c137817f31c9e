import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type IsolatedRun, runIsolated } from '../../src/pipeline/isolation.ts'
import { propertyOptions } from './property-options.ts'

interface Trial extends IsolatedRun {
  readonly runs: number
  /** Rows whose output was computed and not overwritten by a run that failed. */
  readonly outputs: ReadonlySet<number>
}

/** Runs a batch whose `guilty` rows fail every time; the runs numbered in `shaky` fail without a reason of their own. */
async function trial(rows: number, guilty: ReadonlySet<number>, shaky: ReadonlySet<number> = new Set()) {
  let runs = 0
  const outputs = new Set<number>()
  const run = async (first: number, count: number) => {
    assert.ok(first >= 0 && count >= 1 && first + count <= rows, `rows ${first} to ${first + count} of ${rows}`)
    const here = Array.from({ length: count }, (_, i) => first + i)
    if (shaky.has(runs++)) throw new Error('the session crashed')
    for (const row of here) if (guilty.has(row)) throw new Error(`row ${row}`)
    for (const row of here) outputs.add(row)
    return { computeMs: 1, waitMs: 0, provider: 'cpu' }
  }
  return { ...(await runIsolated(run, rows)), runs, outputs } satisfies Trial
}

const batches = fc
  .integer({ min: 1, max: 200 })
  .chain(rows => fc.record({ rows: fc.constant(rows), guilty: fc.uniqueArray(fc.nat(rows - 1), { maxLength: 6 }) }))

test('a good batch takes one run', async () => {
  const { runs, faults, timings } = await trial(64, new Set())
  assert.equal(runs, 1)
  assert.equal(faults, undefined)
  assert.deepEqual(timings, { computeMs: 1, waitMs: 0, provider: 'cpu' })
})

test('exactly the guilty rows fault, with their own reason; the outputs of all others are there', async () => {
  await fc.assert(
    fc.asyncProperty(batches, async ({ rows, guilty }) => {
      const { faults, outputs, timings } = await trial(rows, new Set(guilty))
      assert.deepEqual(
        [...(faults?.keys() ?? [])].sort((a, b) => a - b),
        guilty.toSorted((a, b) => a - b),
      )
      for (const [row, fault] of faults ?? []) {
        assert.equal(fault.code, 'inference-failed')
        assert.match(fault.message, new RegExp(`row ${row}$`))
      }
      assert.equal(outputs.size, rows - guilty.length)
      assert.equal(timings === undefined, guilty.length === rows)
    }),
    propertyOptions,
  )
})

test('the number of runs is bounded by the bad rows, not by the size of the batch', async () => {
  await fc.assert(
    fc.asyncProperty(batches, async ({ rows, guilty }) => {
      const { runs } = await trial(rows, new Set(guilty))
      const bad = guilty.length
      assert.ok(runs <= 2 + bad + 2 * bad * Math.ceil(Math.log2(rows)), `${runs} runs for ${bad} of ${rows}`)
    }),
    propertyOptions,
  )
})

test('failures that pass harm nobody: no row is blamed that would not fail twice in a row', async () => {
  const shakyRuns = fc.uniqueArray(fc.nat(40), { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(batches, shakyRuns, async ({ rows, guilty }, drawn) => {
      const shaky = new Set(drawn.filter(run => !drawn.includes(run - 1)))
      const { faults, outputs } = await trial(rows, new Set(guilty), shaky)
      assert.deepEqual(
        [...(faults?.keys() ?? [])].sort((a, b) => a - b),
        guilty.toSorted((a, b) => a - b),
      )
      assert.equal(outputs.size, rows - guilty.length)
    }),
    propertyOptions,
  )
})

test('a batch that fails once is run once more, whole', async () => {
  const { runs, faults } = await trial(64, new Set(), new Set([0]))
  assert.equal(runs, 2)
  assert.equal(faults, undefined)
})

test('computing time is that of all runs that succeeded', async () => {
  const { runs, timings } = await trial(4, new Set([0]))
  assert.deepEqual(timings, { computeMs: 2, waitMs: 0, provider: 'cpu' }) // row 1, then rows 2 and 3
  assert.equal(runs, 7) // 0-3 twice, 0-1, 0 twice, 1, 2-3
})

test('whatever is thrown becomes a fault, an undefined too', async () => {
  const { faults } = await runIsolated(() => Promise.reject(undefined), 1)
  assert.match(faults!.get(0)!.message, /failed without a reason/)
})
