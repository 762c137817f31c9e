import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { type ProxiedBroker, startBrokerBehindProxy } from '../../faults/proxy/behind-proxy.ts'
import { auditTopics, followTopics } from '../../src/auditing/auditing.ts'
import { HandMade } from './topics.ts'

const AWAY_MS = 500
const REQUEST_TIMEOUT_MS = 1_000

suite('an audit that is stopped while its brokers are away', { timeout: 60_000 }, () => {
  let stage: ProxiedBroker
  before(async () => {
    stage = await startBrokerBehindProxy({ quickStart: true })
    process.env.KAFKA_BROKERS = stage.broker.bootstrap
  })
  after(() => stage?.close())

  /** Of a group that has lost a record; the audit comes by the proxy. */
  const plan = async (made: HandMade) => {
    await made.feed(4)
    await made.predict(0, [0, 2])
    await made.commit([3])
    return {
      ...made.options,
      brokers: [stage.proxy.bootstrap],
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      awayMs: AWAY_MS,
      patienceMs: 200,
    }
  }

  /** Takes the brokers away; returns what brings them back. */
  const WAYS = {
    'and refuse connections': () => {
      const refusal = stage.proxy.refuse()
      stage.proxy.cut()
      return () => refusal.lift()
    },
    'and say nothing': () => {
      const silence = stage.proxy.block()
      return () => silence.lift()
    },
  }
  for (const [how, takeAway] of Object.entries(WAYS)) {
    test(`says what it has not read, soon: they are gone ${how}`, async () => {
      const made = await HandMade.create()
      const found = Promise.withResolvers<void>()
      const following = await followTopics({ ...(await plan(made)), onFault: () => found.resolve() })
      await found.promise
      const bringBack = takeAway()
      const began = performance.now()
      await assert.rejects(following.stop(), ({ code, message }) => {
        assert.equal(code, 'audit-failed')
        assert.match(message, /^Brokers were away for 0\.5 s after the stop, so there is no verdict\./)
        const { input, output, deadLetter } = made
        assert.ok(message.includes(`Not read: ${input}/0 from 4, ${output}/0 from 2, ${deadLetter}/0 from 0.`), message)
        assert.ok(message.includes('Found until then: 1 lost.'), message)
        return true
      })
      bringBack()
      assert.ok(performance.now() - began < 15_000)
    })
  }

  test('waits for one that comes back', async () => {
    const made = await HandMade.create()
    const troubled = Promise.withResolvers<void>()
    const onTrouble = () => troubled.resolve()
    const following = await followTopics({ ...(await plan(made)), awayMs: 20_000, onTrouble })
    const bringBack = WAYS['and refuse connections']()
    const verdict = following.stop()
    await troubled.promise
    bringBack()
    const { faults, inputs, predictions } = await verdict
    assert.deepEqual([faults.lost.count, inputs, predictions], [1, 4, 2])
  })

  test('can be stopped when all has been read and the verdict wants the group', async () => {
    const made = await HandMade.create()
    const stop = new AbortController()
    const wait = { ...(await plan(made)), signal: stop.signal }
    let bringBack = () => {}
    const onProgress = ({ read, total }: { read: number; total: number }) => {
      if (read < total || total === 0) return
      bringBack = WAYS['and refuse connections']()
    }
    const onTrouble = () => stop.abort()
    try {
      await assert.rejects(auditTopics({ ...wait, onProgress, onTrouble }), { code: 'audit-failed' })
    } finally {
      bringBack()
    }
  })
})
