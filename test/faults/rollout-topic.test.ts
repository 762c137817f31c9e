import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { type ProxiedBroker, startBrokerBehindProxy } from '../../faults/proxy/behind-proxy.ts'
import { systemClock } from '../../src/core/clock.ts'
import { stateRecord } from '../../src/core/rollout-records.ts'
import { RolloutDesk } from '../../src/rollout/rollout-desk.ts'
import { createTopics, uniqueName } from '../support/broker.ts'
import { append, Followed, reportOf, stateOf } from '../support/rollout.ts'
import { readTopic } from '../support/topic-reader.ts'

const REQUEST_TIMEOUT_MS = 1_500

suite('the rollout topic while brokers are away', { timeout: 90_000 }, () => {
  let stage: ProxiedBroker
  let direct: readonly string[]
  before(async () => {
    stage = await startBrokerBehindProxy({ quickStart: true })
    process.env.KAFKA_BROKERS = stage.broker.bootstrap
    direct = [stage.broker.bootstrap]
  })
  after(() => stage?.close())

  /** A follower behind the proxy, of a topic that has revision 1. */
  const follow = async () => {
    const topic = uniqueName('rollout')
    await createTopics({ [topic]: 1 })
    await append(direct, topic, stateRecord(stateOf(1)))
    const brokers = [stage.proxy.bootstrap]
    return { topic, followed: new Followed({ brokers, topic, requestTimeoutMs: REQUEST_TIMEOUT_MS }) }
  }
  const { key } = stateRecord(stateOf(1))
  const lastReport = async (topic: string, at: number) => {
    await readTopic(topic, {
      until: records => {
        const last = records.findLast(record => record.key?.toString() !== key)?.value
        return last?.toString().includes(`"at":${at}`) === true
      },
    })
  }

  test('a start waits for them, and says why', async () => {
    const { followed } = await follow()
    const refusal = stage.proxy.refuse()
    stage.proxy.cut()
    const started = followed.follower.start()
    await followed.hears(({ troubles }) => troubles.length >= 2)
    refusal.lift()
    assert.deepEqual(await started, stateOf(1))
    const codes = followed.troubles.map(error => error?.code)
    assert.ok(
      codes.slice(0, -1).every(code => code === 'broker-unreachable'),
      String(codes),
    )
    assert.equal(codes.at(-1), undefined)
    await followed.follower.close()
  })

  test('a broker that restarts is followed again, and hears the report that came meanwhile', async () => {
    const { topic, followed } = await follow()
    const { follower, states } = followed
    await follower.start()
    follower.report(reportOf({ at: 1 }))
    await lastReport(topic, 1)
    await stage.broker.stop({ keepData: true })
    stage.proxy.cut()
    await followed.hears(({ troubles }) => troubles.length > 0)
    follower.report(reportOf({ at: 2 }))
    await stage.broker.start()
    await append(direct, topic, stateRecord(stateOf(2)))
    await followed.hearsRevision(2)
    assert.deepEqual(states, [stateOf(2)])
    assert.equal(followed.troubles.at(-1), undefined)
    await lastReport(topic, 2)
    await follower.close()
  })

  for (const kind of ['drop-answer', 'cut-after-request', 'cut-before-answer', 'hold', 'double'] as const) {
    test(`a write whose end is struck (${kind}) is settled, and comes about once`, async () => {
      const topic = uniqueName('rollout')
      await createTopics({ [topic]: 1 })
      const connection = {
        brokers: [stage.proxy.bootstrap],
        clientId: 'desk',
        requestTimeoutMs: REQUEST_TIMEOUT_MS,
        metadataMaxAgeMs: 60_000,
      }
      const options = { connection, topic, model: 'iris', groupId: 'g', clock: systemClock, note: () => {} }
      const desk = await RolloutDesk.open(options)
      await desk.take()
      await desk.write(stateOf(1))
      stage.proxy.strikeNext(kind, { api: 'EndTxn' }, kind === 'hold' ? 3_000 : undefined)
      await desk.write(stateOf(2))
      assert.deepEqual(desk.state, stateOf(2))
      await desk.write(stateOf(3))
      await desk.close()
      const seen = (await readTopic(topic)).map(({ value }) => JSON.parse(value!.toString()).revision)
      assert.equal(seen.at(-1), 3)
      assert.deepEqual([...new Set(seen)], [1, 2, 3])
    })
  }

  test('connections that fall silent are replaced; closing takes no longer than promised', async () => {
    const { topic, followed } = await follow()
    await followed.follower.start()
    const silence = stage.proxy.block()
    await followed.hears(({ troubles }) => troubles.length > 0)
    silence.lift()
    await append(direct, topic, stateRecord(stateOf(2)))
    await followed.hearsRevision(2)
    followed.follower.report(reportOf({ at: 3 }))
    await lastReport(topic, 3)
    const again = stage.proxy.block()
    const began = performance.now()
    await followed.follower.close()
    assert.ok(performance.now() - began < 6_000)
    again.lift()
  })
})
