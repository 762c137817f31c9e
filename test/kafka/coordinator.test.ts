import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'
import { brokerError, closed, ScriptedCluster, timedOut } from './scripted-cluster.ts'

function harness() {
  const script = new ScriptedCluster()
  const clock = new FakeClock()
  const coordinator = new Coordinator(script.cluster, 'transaction', 'id', clock)
  let outcome: { value?: unknown; error?: unknown } | undefined
  const send = async (budgetMs = 1_000) => {
    outcome = undefined
    coordinator
      .send(budgetMs, broker => broker.initProducerId({ transactionTimeout: 1 }))
      .then(
        value => (outcome = { value }),
        error => (outcome = { error }),
      )
    await settle()
  }
  return { script, clock, send, outcome: () => outcome }
}

test('the coordinator is looked up once', async () => {
  const { script, send } = harness()
  await send()
  await send()
  assert.deepEqual(script.apis, ['findCoordinator', 'initProducerId', 'initProducerId'])
  assert.deepEqual(script.asked[0]!.request, { groupId: 'id', coordinatorType: 1 })
})

test('a clear refusal is sent again, to the same broker while it loads', async () => {
  const { script, clock, send, outcome } = harness()
  script.next('initProducerId', brokerError('GROUP_LOAD_IN_PROGRESS'), brokerError('CONCURRENT_TRANSACTIONS'))
  await send()
  assert.equal(outcome(), undefined)
  await clock.advance(100)
  assert.deepEqual(outcome(), { value: { producerId: '4000', producerEpoch: 3 } })
  assert.equal(script.of('initProducerId').length, 3)
  assert.equal(script.of('findCoordinator').length, 1)
})

test('a coordinator that moved is looked up and asked again', async () => {
  const { script, clock, send, outcome } = harness()
  script.next('initProducerId', () => {
    script.coordinator = 2
    return brokerError('NOT_COORDINATOR_FOR_GROUP')
  })
  await send()
  await clock.advance(100)
  assert.ok(outcome()!.value)
  assert.deepEqual(
    script.of('initProducerId').map(({ node }) => node),
    [1, 2],
  )
  assert.deepEqual(script.forgotten, [], 'its connection is sound')
})

test('refusals are sent again for as long as the budget allows, and further and further apart', async () => {
  const { script, clock, send, outcome } = harness()
  script.otherwise('initProducerId', brokerError('CONCURRENT_TRANSACTIONS'))
  await send(1_000)
  await clock.advance(999)
  assert.equal(outcome(), undefined)
  await clock.advance(300)
  assert.match(String(outcome()!.error), /CONCURRENT_TRANSACTIONS/)
  const sent = script.of('initProducerId').length
  assert.ok(sent > 5 && sent < 20, `${sent} attempts`)
})

for (const [what, trouble] of [
  ['a time-out', timedOut],
  ['a lost connection', closed],
] as const) {
  test(`after ${what} nothing is sent again, the connection is dropped and the coordinator looked up anew`, async () => {
    const { script, clock, send, outcome } = harness()
    const error = trouble()
    script.next('initProducerId', error)
    await send()
    await clock.advance(2_000)
    assert.equal(outcome()!.error, error)
    assert.equal(script.of('initProducerId').length, 1)
    assert.deepEqual(script.forgotten, [1])
    await send()
    assert.equal(script.of('findCoordinator').length, 2)
  })
}

test('a refusal for good is thrown as it came, at once', async () => {
  const { script, send, outcome } = harness()
  const error = brokerError('TRANSACTIONAL_ID_AUTHORIZATION_FAILED')
  script.next('initProducerId', error)
  await send()
  assert.equal(outcome()!.error, error)
  assert.deepEqual(script.forgotten, [])
})

test('a coordinator that is not there yet is looked up again', async () => {
  const { script, clock, send, outcome } = harness()
  script.next('findCoordinator', brokerError('GROUP_COORDINATOR_NOT_AVAILABLE'))
  await send()
  await clock.advance(100)
  assert.ok(outcome()!.value)
  assert.equal(script.of('findCoordinator').length, 2)
})
