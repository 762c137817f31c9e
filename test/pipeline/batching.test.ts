import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Outcome, type Phase, simulate } from './batching-sim.ts'

const seed = Number(process.env.SIM_SEED ?? 7)
console.log(`SIM_SEED=${seed}`)

/** Runs that cost much whatever their rows, and rows that cost next to nothing. */
const GPU = { rowMs: 0.02, fixedMs: 8, sessions: 1, capacity: 1024 }
/** Rows that cost much, and runs that cost nothing by themselves. */
const CPU = { rowMs: 0.5, fixedMs: 0.05, sessions: 2, capacity: 1024 }

/** Rows that a session is sure to have seen before the first phase is over, so that it is known what they cost. */
const steady = (rowsPerMs: number, atOnce = 1, ms = 2_000): Phase[] => [
  { ms: ms / 2, rowsPerMs, atOnce },
  { ms, rowsPerMs, atOnce },
]

const meanRows = ({ rows, batches }: Outcome) => rows / batches.length
const counted = ({ batches }: Outcome, trigger: string) => batches.filter(batch => batch.trigger === trigger).length

async function onAndOff(workload: Parameters<typeof simulate>[0], targetLatencyMs: number) {
  const on = await simulate(workload, { targetLatencyMs, seed })
  const off = await simulate(workload, { targetLatencyMs: 0, seed })
  for (const { rows, committed } of [on, off]) assert.equal(committed, rows)
  return { on, off }
}

test('steady: the p99 is within the target, and sessions with costly runs have time to spare', async () => {
  for (const [rowsPerMs, atOnce] of [
    [0.05, 1],
    [2, 1],
    [10, 50],
  ] as const) {
    const { on, off } = await onAndOff({ ...GPU, arrivals: steady(rowsPerMs, atOnce) }, 60)
    assert.ok(on.phases[1]!.p99 <= 60, `${rowsPerMs} rows/ms: p99 ${on.phases[1]!.p99} ms`)
    if (rowsPerMs === 2) assert.ok(on.busy < 0.92 * off.busy, `busy ${on.busy}, without a target ${off.busy}`)
  }
})

test('quiet: with time to spare nothing waits, so that the latency is what it is without a target', async () => {
  const { on, off } = await onAndOff({ ...GPU, arrivals: [{ ms: 10_000, rowsPerMs: 0.05 }] }, 60)
  assert.equal(on.phases[0]!.p50, off.phases[0]!.p50)
  assert.ok(on.phases[0]!.p99 <= 1.05 * off.phases[0]!.p99)
  assert.ok(counted(on, 'session-free') >= 0.99 * on.batches.length)
})

test('nothing waits where the measured latency is close to the target already', async () => {
  const { on, off } = await onAndOff({ ...GPU, arrivals: steady(20, 50, 4_000) }, 50)
  assert.ok(on.phases[1]!.p99 <= 50)
  const later = ({ batches }: Outcome) => batches.filter(({ at }) => at > 3_000)
  const waited = later(on).length / later(off).length
  assert.ok(waited > 0.95, `${waited} of the batches that there are without a target`)
})

test('where runs cost nothing by themselves, batches are no larger than without a target, and nothing waits', async () => {
  const { on, off } = await onAndOff({ ...CPU, arrivals: steady(3) }, 60)
  assert.ok(on.phases[1]!.p99 <= 60)
  assert.ok(meanRows(on) < 1.2 * meanRows(off), `${meanRows(on)} rows, without a target ${meanRows(off)}`)
  assert.equal(counted(on, 'target-time') + counted(on, 'delay'), 0)
})

test('under the same load, costly runs ask for larger batches than cheap ones', async () => {
  const arrivals = steady(2)
  const gpu = await simulate({ ...GPU, arrivals }, { targetLatencyMs: 60, seed })
  const cpu = await simulate({ ...CPU, arrivals }, { targetLatencyMs: 60, seed })
  assert.ok(meanRows(gpu) > 5 * meanRows(cpu), `${meanRows(gpu)} and ${meanRows(cpu)} rows`)
})

test('bursts: the sessions share what one would otherwise run alone, and the target is held', async () => {
  // 160 rows take one session 80 ms; so seldom that few of them meet.
  const { on, off } = await onAndOff({ ...CPU, arrivals: steady(0.01, 160, 800_000) }, 80)
  assert.ok(on.phases[1]!.p99 <= 80, `p99 ${on.phases[1]!.p99} ms`)
  assert.ok(off.phases[1]!.p50 > 80, `p50 without a target ${off.phases[1]!.p50} ms`)
  assert.ok(counted(on, 'target-size') > 0)
})

test('overload: as many rows a second as with full batches, and the target again when the lag is gone', async () => {
  // 1024 rows take 28.5 ms: 36 a millisecond.
  const arrivals = [
    { ms: 1_000, rowsPerMs: 10, atOnce: 50 },
    { ms: 2_000, rowsPerMs: 50, atOnce: 100 },
    { ms: 2_000, rowsPerMs: 5, atOnce: 20 },
    { ms: 4_000, rowsPerMs: 5, atOnce: 20 },
  ]
  const { on, off } = await onAndOff({ ...GPU, arrivals }, 60)
  const run = ({ runBy }: Outcome) => runBy(3_000) - runBy(1_000)
  assert.ok(run(on) >= 0.97 * run(off), `${run(on)} rows in the overload, without a target ${run(off)}`)
  const during = on.batches.filter(({ at }) => at > 1_200 && at < 3_000)
  assert.ok(during.filter(({ trigger, rows }) => trigger === 'behind' && rows === 1024).length > 0.9 * during.length)
  assert.ok(on.phases[3]!.p99 <= 60, `p99 after the overload ${on.phases[3]!.p99} ms`)
})

test('overload: rows that cost as much in any batch leave earlier, and as many of them', async () => {
  const arrivals = [
    { ms: 1_000, rowsPerMs: 2 },
    { ms: 2_000, rowsPerMs: 6 },
    { ms: 3_000, rowsPerMs: 1 },
  ]
  const { on, off } = await onAndOff({ ...CPU, arrivals }, 60)
  const run = ({ runBy }: Outcome) => runBy(3_000) - runBy(1_000)
  assert.ok(run(on) >= 0.97 * run(off), `${run(on)} rows in the overload, without a target ${run(off)}`)
  assert.ok(on.phases[1]!.p50 < 0.85 * off.phases[1]!.p50, `p50 ${on.phases[1]!.p50}, without ${off.phases[1]!.p50}`)
})

test('a target below what commits take changes nothing much: neither tiny batches nor waits', async () => {
  const { on, off } = await onAndOff({ ...GPU, arrivals: steady(10, 50) }, 5)
  assert.ok(on.phases[1]!.p99 <= 1.1 * off.phases[1]!.p99, `p99 ${on.phases[1]!.p99}, without ${off.phases[1]!.p99}`)
})

test('MAX_QUEUE_DELAY_MS bounds what the target lets wait', async () => {
  const workload = { ...GPU, sessions: 2, arrivals: steady(0.5) }
  const free = await simulate(workload, { targetLatencyMs: 80, seed })
  const bounded = await simulate(workload, { targetLatencyMs: 80, maxQueueDelayMs: 1, seed })
  assert.ok(counted(bounded, 'delay') > 0)
  assert.ok(meanRows(bounded) < meanRows(free))
})

test('what the sessions cost is measured within a few per cent while they serve', async () => {
  const { telemetry } = await simulate({ ...GPU, arrivals: steady(10, 50) }, { targetLatencyMs: 60, seed })
  const { cost, provider } = telemetry.costs.at(-1)!
  assert.equal(provider, 'cpu')
  // Runs take 0.9 to 1.1 of it, and 2 once in 500: 1.002 of it in the mean.
  const at165 = cost.rowMs * 165 + cost.fixedMs
  assert.ok(Math.abs(at165 - 11.3) < 0.03 * 11.3, `165 rows take ${at165} ms`)
  assert.ok(Math.abs(cost.fixedMs - 8) < 0.08 * 8, `a run takes ${cost.fixedMs} ms`)
})
