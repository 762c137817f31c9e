import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LoadMeter } from '../../src/pipeline/load-meter.ts'

const on = (session: number, provider: string) => ({ session, provider, computeMs: 0, waitMs: 0 })

test('of several providers the slowest counts, in each part of what a run costs', () => {
  const meter = new LoadMeter(2)
  assert.equal(meter.load(0).cost, undefined)
  for (let i = 0; i < 200; i++) {
    const rows = 1 + (i % 100)
    if (i % 2 === 0) meter.ran(Math.min(rows, 50), 0, 1 + 2 * Math.min(rows, 50), on(1, 'cpu'))
    meter.ran(rows, 0, 10 + 0.1 * rows, on(0, 'cuda:0'))
  }
  const { cost, largest, slopeKnown } = meter.load(0)
  assert.ok(Math.abs(cost!.rowMs - 2) < 0.02, `row ${cost!.rowMs}`)
  assert.ok(Math.abs(cost!.fixedMs - 10) < 0.1, `run ${cost!.fixedMs}`)
  assert.deepEqual([largest, slopeKnown], [50, true])
})

test('the first run of a session is no measure; that of another session is neither', () => {
  const meter = new LoadMeter(2)
  meter.ran(8, 0, 9_000, on(0, 'cpu'))
  meter.ran(8, 0, 9_000, on(1, 'cpu'))
  assert.equal(meter.load(0).cost, undefined)
  meter.ran(8, 0, 4, on(1, 'cpu'))
  assert.deepEqual(meter.load(0).cost, { rowMs: 0.5, fixedMs: 0, tailMs: 0 })
})

test('the rate of arrivals is believed after some, and follows them; a pause is one gap', () => {
  const meter = new LoadMeter(1)
  let now = 0
  const arrive = (times: number, gap: number, rows: number) => {
    for (let i = 0; i < times; i++) {
      now += gap
      meter.arrived(rows, now)
    }
  }
  arrive(8, 2, 10)
  assert.deepEqual([meter.load(0).rowsPerMs, meter.load(0).nextRowsBy], [0, 0])
  arrive(1, 2, 10)
  assert.deepEqual([meter.load(0).rowsPerMs, meter.load(0).nextRowsBy], [5, now + 8])
  arrive(200, 1, 40)
  assert.ok(Math.abs(meter.load(0).rowsPerMs - 40) < 1)
  arrive(1, 3_600_000, 40)
  assert.ok(meter.load(0).rowsPerMs < 2, 'after an hour nobody waits for the next row')
  arrive(300, 1, 40)
  assert.ok(Math.abs(meter.load(0).rowsPerMs - 40) < 1)
})

test('what it takes to decode a row, and how late results are committed', () => {
  const meter = new LoadMeter(1)
  for (let i = 0; i < 200; i++) {
    meter.ran(10, 2, 5, on(0, 'cpu'))
    meter.served(i < 100 ? 50 : 7)
    meter.delivered(i === 0 ? 90 : 20)
  }
  const { inputRowMs, servedMs, deliveryMs } = meter.load(3)
  assert.ok(Math.abs(inputRowMs - 0.2) < 1e-9)
  assert.deepEqual([servedMs, deliveryMs], [50, 20])
})
