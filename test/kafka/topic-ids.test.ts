import assert from 'node:assert/strict'
import { test } from 'node:test'
import { topicIdOf } from '../../src/kafka/topic-ids.ts'
import { flexibleBody, ID } from './java-messages.ts'
import { stubBroker } from './stub-broker.ts'

test('the id of a topic is asked for as the Java client does, without creating the topic', async () => {
  const { broker, requests, throttled } = stubBroker(flexibleBody('metadataResponse'))
  assert.equal(await topicIdOf(broker, 'iris-features'), ID)
  assert.equal(requests[0]!.api, 'Metadata 3/12')
  assert.deepEqual(requests[0]!.body, flexibleBody('metadataRequest'))
  assert.deepEqual(throttled, [321])
})

test('a topic that does not exist is named, as is one that the answer leaves out', async () => {
  const unknown = { type: 'UNKNOWN_TOPIC_OR_PARTITION', topic: 'iris-features' }
  await assert.rejects(topicIdOf(stubBroker(flexibleBody('metadataUnknown')).broker, 'iris-features'), unknown)
  const other = { type: 'UNKNOWN_TOPIC_OR_PARTITION', topic: 'rose-features' }
  await assert.rejects(topicIdOf(stubBroker(flexibleBody('metadataResponse')).broker, 'rose-features'), other)
})

test('a cluster whose topics have no ids is refused, not believed', async () => {
  const raw = flexibleBody('metadataResponse')
  raw.fill(0, raw.indexOf('0123456789abcdef', 0, 'hex'), raw.indexOf('0123456789abcdef', 0, 'hex') + 16)
  await assert.rejects(topicIdOf(stubBroker(raw).broker, 'iris-features'), { type: 'UNSUPPORTED_VERSION' })
})

test('an answer cut anywhere is refused', async () => {
  const raw = flexibleBody('metadataResponse')
  for (let length = 0; length < raw.length; length++) {
    await assert.rejects(topicIdOf(stubBroker(raw.subarray(0, length)).broker, 'iris-features'), RangeError)
  }
})
