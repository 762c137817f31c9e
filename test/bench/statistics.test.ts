import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ratiosOf, showSpread, spreadOf } from '../../bench/report/statistics.ts'

test('the median of an odd number of values is the middle one, of an even number the mean of two', () => {
  assert.deepEqual(spreadOf([30, 10, 20]), { median: 20, least: 10, most: 30 })
  assert.deepEqual(spreadOf([4, 1, 3, 2]), { median: 2.5, least: 1, most: 4 })
})

test('values that are not known do not count', () => {
  assert.deepEqual(spreadOf([undefined, 5, undefined]), { median: 5, least: 5, most: 5 })
  assert.equal(spreadOf([undefined]), undefined)
  assert.equal(showSpread([]), '–')
})

test('a spread is shown with its ends, a single run without', () => {
  assert.equal(showSpread([1000, 3000, 2000]), '2,000 (1,000–3,000)')
  assert.equal(showSpread([0.456], 2), '0.46')
})

test('ratios are taken run by run, so that a slow round is slow for both', () => {
  assert.deepEqual(ratiosOf([80, 8], [100, 10]), [0.8, 0.8])
})
