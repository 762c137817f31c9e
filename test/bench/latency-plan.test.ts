import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Arrivals, firstDue, planArrivals, recordAt } from '../../bench/latency/arrivals.ts'

const SEED = Number(process.env.FC_SEED ?? Date.now() & 0x7fffffff)
/** Standard deviations by which a sound generator may miss: once in two million tests. */
const SIGMAS = 5

function gapsOf({ times, partitions, count }: Arrivals): number[] {
  return Array.from({ length: count - partitions - 1 }, (_, i) => times[partitions + i + 1]! - times[partitions + i]!)
}

function near(actual: number, expected: number, deviation: number, what: string): void {
  const off = Math.abs(actual - expected) / deviation
  assert.ok(off < SIGMAS, `${what}: ${actual}, expected ${expected} ± ${deviation} (seed ${SEED})`)
}

describe('a plan of arrivals', () => {
  it('has as many records as its rates and times ask for', () => {
    const plan = planArrivals(
      [
        { rate: 2_000, seconds: 10 },
        { rate: 200, seconds: 50 },
      ],
      3,
      SEED,
    )
    const border = firstDue(plan, 10_000)
    near(border - plan.partitions, 20_000, Math.sqrt(20_000), 'records of the first step')
    near(plan.count - border, 10_000, Math.sqrt(10_000), 'records of the second step')
    assert.ok(plan.times.at(-1)! < 60_000)
  })

  it('is a Poisson process: gaps are exponential and independent, counts vary as much as they are', () => {
    const plan = planArrivals([{ rate: 1_000, seconds: 40 }], 1, SEED)
    const gaps = gapsOf(plan)
    const n = gaps.length
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / n
    near(mean, 1, 1 / Math.sqrt(n), 'mean gap in ms')
    const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / n
    near(variance, 1, Math.sqrt(8 / n), 'variance of the gaps')
    const long = gaps.filter(gap => gap > 3).length / n
    near(long, Math.exp(-3), Math.sqrt((Math.exp(-3) * (1 - Math.exp(-3))) / n), 'share of gaps above three means')
    const product = gaps.slice(1).reduce((sum, gap, i) => sum + (gap - mean) * (gaps[i]! - mean), 0) / n
    near(product, 0, 1 / Math.sqrt(n), 'covariance of neighbours')
    const counts = new Array<number>(4_000).fill(0)
    for (const time of plan.times.subarray(1)) counts[Math.floor(time / 10)]!++
    const dispersion = counts.reduce((sum, count) => sum + (count - 10) ** 2, 0) / counts.length / 10
    near(dispersion, 1, Math.sqrt(2 / counts.length), 'variance over mean of counts in 10 ms')
  })

  it('spreads records evenly over partitions, and by chance', () => {
    const plan = planArrivals([{ rate: 10_000, seconds: 4 }], 8, SEED)
    const share = plan.count / 8
    for (let partition = 0; partition < 8; partition++) {
      near(plan.starts[partition + 1]! - plan.starts[partition]!, share, Math.sqrt(share), `partition ${partition}`)
    }
    let same = 0
    for (let i = 1; i < plan.count; i++) if (plan.partitionOf[i] === plan.partitionOf[i - 1]) same++
    near(same, share, Math.sqrt(share), 'records that follow one of the same partition')
  })

  it('begins with a knock at each partition, due since ever', () => {
    const plan = planArrivals([{ rate: 1, seconds: 5 }], 4, SEED)
    assert.deepEqual([...plan.partitionOf.subarray(0, 4)], [0, 1, 2, 3])
    assert.deepEqual([...plan.times.subarray(0, 4)], Array(4).fill(Number.NEGATIVE_INFINITY))
    assert.equal(firstDue(plan, 0), 4)
  })

  it('is drawn again from its seed, and another one from another', () => {
    const draw = (seed: number) => planArrivals([{ rate: 100, seconds: 1 }], 2, seed)
    assert.deepEqual(draw(SEED), draw(SEED))
    assert.notDeepEqual(draw(SEED).times, draw(SEED + 1).times)
  })

  it('says which record lies where in each partition', () => {
    const plan = planArrivals([{ rate: 1_000, seconds: 1 }], 5, SEED)
    const ranks = new Array<number>(5).fill(0)
    for (let record = 0; record < plan.count; record++) {
      const partition = plan.partitionOf[record]!
      assert.equal(recordAt(plan, partition, ranks[partition]!++), record)
    }
    for (const [partition, end] of ranks.entries()) assert.equal(recordAt(plan, partition, end), -1)
    assert.equal(recordAt(plan, 0, -1), -1)
    assert.equal(recordAt(plan, 5, 0), -1)
    assert.equal(recordAt(plan, -1, 0), -1)
  })

  it('finds the first record that is due at a time', () => {
    const times = Float64Array.of(Number.NEGATIVE_INFINITY, 1, 2, 2, 5)
    const plan = { count: 5, times } as Arrivals
    const found = [0, 1, 1.5, 2, 5, 5.1].map(ms => firstDue(plan, ms))
    assert.deepEqual(found, [1, 1, 2, 2, 4, 5])
  })
})
