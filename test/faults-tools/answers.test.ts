import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Answers } from '../../faults/answers.ts'
import { batchOf } from '../audit/batches.ts'

const SOURCE = ['source', 'features/0/7'] as const

function prediction(value: string, ...headers: (readonly [string, string])[]) {
  return batchOf('predictions', 0, [{ offset: 0, value, headers: [SOURCE, ...headers] }])
}

test('a row has one value, and a bad record none', () => {
  const answers = new Answers()
  answers.prediction(prediction('setosa', ['row', 'a']))
  answers.prediction(prediction('virginica', ['row', 'b']))
  answers.prediction(prediction('setosa', ['row', 'a']))
  assert.equal(answers.wrong, 0)
  answers.prediction(prediction('virginica', ['row', 'a']))
  answers.prediction(prediction('setosa', ['poison', 'null-value']))
  assert.equal(answers.wrong, 2)
  assert.match(answers.examples[0]!, /features\/0\/7 \(row a\) was given another value/)
  assert.match(answers.examples[1]!, /which is bad \(null-value\), was predicted/)
})

test('a dead letter has the code of what is wrong with it, and a good record is none', () => {
  const answers = new Answers()
  const dead = (...headers: (readonly [string, string])[]) =>
    answers.deadLetter(batchOf('features.dlq', 0, [{ offset: 0, headers: [SOURCE, ...headers] }]))
  dead(['poison', 'null-value'], ['error-code', 'null-value'])
  assert.equal(answers.wrong, 0)
  dead(['poison', 'null-value'], ['error-code', 'invalid-avro'])
  dead(['row', 'a'], ['error-code', 'inference-failed'])
  assert.equal(answers.wrong, 2)
  assert.match(answers.examples[1]!, /which is good, is a dead letter with the code inference-failed/)
})
