import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lastTransactionOf } from '../../src/kafka/transactional-ids.ts'
import { flexibleBody } from './java-messages.ts'
import { stubBroker } from './stub-broker.ts'

test('an id is asked for as the Java client does', async () => {
  const { broker, requests, throttled } = stubBroker(flexibleBody('describeKnown'))
  assert.deepEqual(await lastTransactionOf(broker, 'g.in.2'), { state: 'CompleteCommit', producerEpoch: 3 })
  assert.equal(requests[0]!.api, 'DescribeTransactions 65/0')
  assert.deepEqual(requests[0]!.body, flexibleBody('describeRequest'))
  assert.deepEqual(throttled, [321])
})

test('an id that was never used is not known', async () => {
  assert.equal(await lastTransactionOf(stubBroker(flexibleBody('describeUnknown')).broker, 'g.in.2'), undefined)
})

test('a coordinator that is still loading says nothing about the id', async () => {
  const { broker } = stubBroker(flexibleBody('describeLoading'))
  await assert.rejects(lastTransactionOf(broker, 'g.in.2'), { type: 'GROUP_LOAD_IN_PROGRESS' })
})

test('an answer without the id is refused', async () => {
  await assert.rejects(lastTransactionOf(stubBroker(Buffer.from('000000014101', 'hex')).broker, 'g'), RangeError)
  await assert.rejects(lastTransactionOf(stubBroker(Buffer.from('00000141', 'hex')).broker, 'g'), RangeError)
})
