import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ValueJoin } from '../../src/audit/value-join.ts'
import { offsetOf } from '../../src/core/record-batch.ts'
import { batchOf, DEAD_LETTERS, INPUT, inputs, OUTPUT, outputs, range, source } from './batches.ts'

const MIB = 2 ** 20
const joinOf = (budgetBytes = MIB, to?: number[]) => new ValueJoin({ inputTopic: INPUT, from: [0, 0], to, budgetBytes })
const sources = (partition: number, offsets: readonly number[]) => offsets.map(offset => source(partition, offset))

/** Pairs as `input partition/input offset = output offset`. */
function pairs(join: ValueJoin): string[] {
  return join.take().map(({ input, inputIndex, prediction, predictionIndex }) => {
    return `${input.partition}/${offsetOf(input, inputIndex)} = ${offsetOf(prediction, predictionIndex)}`
  })
}

suite('predictions and their inputs are brought together', () => {
  test('whoever comes first', () => {
    const join = joinOf()
    join.input(inputs(0, [0, 1, 4]))
    join.prediction(outputs(OUTPUT, 1, 7, sources(0, [0, 4])))
    assert.deepEqual(pairs(join), ['0/0 = 7', '0/4 = 8'])
    join.prediction(outputs(OUTPUT, 1, 9, [source(1, 3), source(0, 1)]))
    assert.deepEqual(pairs(join), ['0/1 = 10'])
    join.input(inputs(1, [2, 3]))
    assert.deepEqual(pairs(join), ['1/3 = 9'])
    join.finish()
    assert.deepEqual([join.dropped, join.alone], [0, 0])
  })

  test('nothing is kept of inputs that all have an answer', () => {
    const join = joinOf()
    join.input(inputs(0, range(0, 3)))
    assert.ok(join.bytes > 0)
    join.prediction(outputs(OUTPUT, 0, 0, sources(0, [0, 1])))
    join.deadLetter(outputs(DEAD_LETTERS, 0, 0, sources(0, [2])))
    assert.equal(join.bytes, 0)
    join.prediction(outputs(OUTPUT, 0, 2, sources(0, range(3, 5))))
    assert.ok(join.bytes > 0)
    join.input(inputs(0, range(3, 5)))
    assert.equal(join.bytes, 0)
    assert.equal(join.take().length, 4)
  })

  test('the oldest inputs go when the budget is spent, and their predictions are counted as dropped', () => {
    const join = joinOf(30_000)
    const value = Buffer.alloc(1_000)
    for (let at = 0; at < 50; at += 5) {
      join.input(
        batchOf(
          INPUT,
          0,
          range(at, at + 5).map(offset => ({ offset, value })),
        ),
      )
      assert.ok(join.bytes <= 30_000)
    }
    assert.equal(join.isCrowded('input'), true)
    assert.equal(join.isCrowded('output'), false)
    join.prediction(outputs(OUTPUT, 0, 0, sources(0, range(0, 50))))
    const found = pairs(join)
    assert.equal(found.at(-1), '0/49 = 49')
    assert.deepEqual([found.length, join.dropped, join.alone], [25, 25, 0])
  })

  test('the oldest predictions go when the budget is spent, and are counted as dropped', () => {
    const join = joinOf(30_000)
    const value = Buffer.alloc(1_000)
    for (let at = 0; at < 50; at += 5) {
      const records = range(at, at + 5).map(offset => ({
        offset,
        value,
        headers: [['source', source(0, offset)]] as const,
      }))
      join.prediction(batchOf(OUTPUT, 0, records))
      assert.ok(join.bytes <= 30_000)
    }
    assert.equal(join.isCrowded('output'), true)
    join.input(inputs(0, range(0, 50)))
    assert.deepEqual([join.take().length, join.dropped, join.alone], [25, 25, 0])
  })

  test('a prediction whose input has no record, or is never read, stays alone', () => {
    const join = joinOf()
    join.input(inputs(0, [0, 3]))
    join.prediction(outputs(OUTPUT, 0, 0, sources(0, [1, 7])))
    join.finish()
    assert.deepEqual([join.take().length, join.dropped, join.alone], [0, 0, 2])
  })

  test('predictions for records outside the range, or for none, are left alone', () => {
    const join = joinOf(MIB, [2, 2])
    join.input(inputs(0, range(0, 2)))
    join.prediction(outputs(OUTPUT, 0, 0, [source(0, 2), undefined, 'else/0/0', source(4, 0), source(0, 1)]))
    join.finish()
    assert.deepEqual([join.take().length, join.dropped, join.alone], [1, 0, 0])
  })
})
