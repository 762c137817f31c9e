import assert from 'node:assert/strict'
import { test } from 'node:test'
import { requireRelease } from '../../src/kafka/cluster.ts'

const FETCH = 1
const END_TXN = 26

/** A broker that speaks these APIs up to these versions. */
function speaking(newest: Readonly<Record<number, number>>): KafkajsCluster {
  const versions = Object.fromEntries(
    Object.entries(newest).map(([api, maxVersion]) => [api, { minVersion: 0, maxVersion }]),
  )
  return { brokerPool: { seedBroker: { versions } } } as unknown as KafkajsCluster
}

test('exactly-once needs Kafka 4.0, at-least-once 3.1', () => {
  requireRelease(speaking({ [FETCH]: 17, [END_TXN]: 5 }), true)
  requireRelease(speaking({ [FETCH]: 13, [END_TXN]: 3 }), false)
})

test('an older broker is refused, in words that say what for', () => {
  for (const [newest, exactlyOnce, message] of [
    [{ [FETCH]: 17, [END_TXN]: 4 }, true, /EndTxn up to version 4, so it is older than Kafka 4\.0, which exactly-once/],
    [
      { [FETCH]: 12, [END_TXN]: 3 },
      false,
      /Fetch up to version 12, so it is older than Kafka 3\.1, which Sluice needs/,
    ],
    [{}, true, /older than Kafka 4\.0/],
    [{}, false, /older than Kafka 3\.1/],
  ] as const) {
    assert.throws(() => requireRelease(speaking(newest), exactlyOnce), { code: 'broker-too-old', message })
  }
})
