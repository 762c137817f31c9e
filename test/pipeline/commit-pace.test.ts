import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CommitMoment, commitDueIn } from '../../src/pipeline/commit-pace.ts'

/** A task that keeps up, with a hundred records in flight; its last transaction took 8 ms. */
const moment = (changes: Partial<CommitMoment> = {}): CommitMoment => ({
  now: 1_000,
  lastCommitAt: 980,
  lastCommitMs: 8,
  settledSince: 997,
  settled: 100,
  inFlight: 100,
  behind: false,
  full: false,
  ...changes,
})

const due = (changes: Partial<CommitMoment>, floorMs = 0) => Math.max(0, commitDueIn(moment(changes), floorMs))

test('a task that keeps up commits at once what has all settled, or half of it', () => {
  assert.equal(due({}), 0)
  assert.equal(due({ settled: 50 }), 0)
})

test('before half has settled it waits as long as its last transaction took, counted from the first result', () => {
  assert.equal(due({ settled: 49 }), 5)
  assert.equal(due({ settled: 49, settledSince: 992 }), 0)
  assert.equal(due({ settled: 49, lastCommitMs: 0 }), 0, 'the first transaction of a task does not wait')
  assert.equal(
    due({ settled: 49, lastCommitMs: 5_000 }),
    97,
    'a broker that was away does not make it wait for seconds',
  )
})

test('a task that is behind gathers until half of what it may hold has settled, or for a tenth of a second', () => {
  assert.equal(due({ behind: true }), 97, 'more can be fetched')
  assert.equal(due({ behind: true, full: true }), 0)
  assert.equal(due({ behind: true, full: true, settled: 49 }), 97)
  assert.equal(due({ behind: true, settledSince: 900 }), 0)
})

test('control records alone count from the last transaction', () => {
  assert.equal(due({ settled: 0, inFlight: 0, settledSince: undefined }), 0)
  assert.equal(due({ settled: 0, inFlight: 0, settledSince: undefined, behind: true }), 80)
  assert.equal(
    due({ settled: 0, inFlight: 0, settledSince: undefined, lastCommitAt: Number.NEGATIVE_INFINITY, behind: true }),
    0,
  )
})

test('COMMIT_INTERVAL_MS is a floor, from the beginning of the last transaction', () => {
  assert.equal(due({}, 50), 30)
  assert.equal(due({ behind: true }, 50), 97)
  assert.equal(due({ lastCommitAt: Number.NEGATIVE_INFINITY }, 50), 0)
})
