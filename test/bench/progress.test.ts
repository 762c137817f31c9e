import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Point, throughputOf, watch } from '../../bench/progress.ts'

const ALIVE = new Promise<never>(() => {})

const point = (at: number, done: number, cpu?: number, brokerCpu?: number): Point => ({ at, done, cpu, brokerCpu })

test('the speed counts from the first commit that was seen, over the whole and over the second half of the time', () => {
  const found = throughputOf([point(1000, 100, 1, 10), point(2000, 1100, 1.5, 11), point(3000, 4100, 2, 12)])
  assert.equal(found.records, 4000)
  assert.equal(found.seconds, 2)
  assert.equal(found.recordsPerSecond, 2000)
  assert.equal(found.secondHalfPerSecond, 3000)
  assert.equal(found.cpuPerMillion, 250)
  assert.equal(found.brokerCpuPerMillion, 500)
})

test('what was done by the middle lies between two looks', () => {
  const found = throughputOf([point(0, 10), point(900, 910), point(1900, 2910), point(2000, 3010)])
  // 910 at 900 ms and 2,000 a second from there: 1,110 at 1,000 ms.
  assert.equal(found.secondHalfPerSecond, 1900)
  assert.equal(found.cpuPerMillion, undefined)
})

test('time after the last commit that was seen does not count', () => {
  const found = throughputOf([point(0, 1), point(1000, 1001), point(1100, 1001), point(1200, 1001)])
  assert.equal(found.recordsPerSecond, 1000)
})

test('a run that is over at the first look cannot be measured, and says so', () => {
  assert.throws(() => throughputOf([point(0, 50), point(100, 50)]), /All 50 records were committed at once/)
})

test('watching ends with the records, and leaves out what was before the first commit', async () => {
  const counts = [0, 0, 5, 7, 9]
  const look = async () => ({ done: counts.shift()!, cpu: 1, brokerCpu: undefined })
  const points = await watch({ look, seconds: 60, records: 9, died: ALIVE })
  assert.deepEqual(
    points.map(({ done }) => done),
    [5, 7, 9],
  )
})

test('watching ends with the time', async () => {
  let looks = 0
  const look = async () => ({ done: ++looks, cpu: undefined, brokerCpu: undefined })
  const points = await watch({ look, seconds: 0.25, records: 1e9, died: ALIVE })
  assert.ok(points.at(-1)!.at - points[0]!.at >= 250)
})

test('watching ends with what is watched', async () => {
  const look = async () => ({ done: 0, cpu: undefined, brokerCpu: undefined })
  const died = Promise.reject(new Error('gone'))
  await assert.rejects(watch({ look, seconds: 60, records: 1, died }), /gone/)
})
