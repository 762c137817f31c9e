import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { type Floor, type Round, verdict } from '../../bench/guard.ts'
import { run } from './results.ts'

const FLOOR: Floor = { speed: 0.8, cpu: 3, slack: 0.2 }

const round = (speed: number, cpu: number): Round => ({ echo: run(1_000, 1), worker: run(1_000 * speed, cpu) })

test('a worker as fast as it was passes, and so does one within the slack', () => {
  assert.deepEqual(verdict([round(0.8, 3)], FLOOR), [])
  assert.deepEqual(verdict([round(0.65, 3.5)], FLOOR), [])
})

test('a hot path that lost a third fails by its speed, and by its CPU', () => {
  const [speed, cpu] = verdict([round(0.8 * (2 / 3), 3 * 1.5)], FLOOR)
  assert.match(speed!, /0\.53 of the echo's speed; the least is 0\.64/)
  assert.match(cpu!, /4\.50 times the echo's CPU/)
})

test('the median decides: one bad round of three does not fail', () => {
  assert.deepEqual(verdict([round(0.8, 3), round(0.2, 9), round(0.8, 3)], FLOOR), [])
  assert.equal(verdict([round(0.2, 9), round(0.2, 9), round(0.8, 3)], FLOOR).length, 2)
})

test('rounds are compared one by one, so a machine that was slow for one of them does no harm', () => {
  const slow: Round = { echo: run(100, 1), worker: run(80, 3) }
  assert.deepEqual(verdict([slow, round(0.8, 3)], FLOOR), [])
})

test('without processor times only the speed is judged', () => {
  const { cpuPerMillion: _, ...unknown } = run(800, 1)
  const worker = { ...unknown, cpuPerMillion: undefined }
  assert.deepEqual(verdict([{ echo: run(1_000, 1), worker }], FLOOR), [])
})

test('the slack of bench/guard.json is less than the third that must not go unnoticed', () => {
  const floor = JSON.parse(readFileSync(new URL('../../bench/guard.json', import.meta.url), 'utf8')) as Floor
  assert.ok(floor.slack < 1 / 3)
})
