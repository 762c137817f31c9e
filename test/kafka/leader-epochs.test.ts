import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endOfEpoch } from '../../src/kafka/leader-epochs.ts'
import { plainBody } from './java-messages.ts'
import { stubBroker } from './stub-broker.ts'

test('the end of an epoch is asked for as the Java client does', async () => {
  const { broker, requests, throttled } = stubBroker(plainBody('epochEnds'))
  const { epoch, endOffset } = (await endOfEpoch(broker, 'iris-features', 2, 7))!
  assert.deepEqual({ epoch, endOffset }, { epoch: 6, endOffset: 1500 })
  assert.equal(requests[0]!.api, 'OffsetForLeaderEpoch 23/3')
  assert.deepEqual(requests[0]!.body, plainBody('epochRequest'))
  assert.deepEqual(throttled, [321])
})

test('a log that knows no such epoch gives nothing', async () => {
  const { broker } = stubBroker(plainBody('epochUnknown'))
  assert.equal(await endOfEpoch(broker, 'iris-features', 2, 7), undefined)
})

test('a refusal is thrown with the name that the broker gives it', async () => {
  const { broker } = stubBroker(plainBody('epochNotLeader'))
  await assert.rejects(endOfEpoch(broker, 'iris-features', 2, 7), { type: 'NOT_LEADER_FOR_PARTITION' })
})

test('an answer cut anywhere is refused', async () => {
  const raw = plainBody('epochEnds')
  for (let length = 0; length < raw.length; length++) {
    await assert.rejects(endOfEpoch(stubBroker(raw.subarray(0, length)).broker, 'iris-features', 2, 7), RangeError)
  }
})
