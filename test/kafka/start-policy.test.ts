import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FencedError } from '../../src/core/transaction.ts'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import type { Assignment } from '../../src/kafka/membership.ts'
import { StartPolicy, type StartPolicyOptions } from '../../src/kafka/start-policy.ts'
import { FakeClock } from '../pipeline/fake-clock.ts'
import { type Asked, brokerError, closed, ScriptedCluster } from './scripted-cluster.ts'

const MEMBER: Assignment = { memberId: 'm-1', generationId: 12, partitions: [2], continuous: true }

interface World {
  readonly committed?: { readonly offset: number; readonly metadata?: string }
  readonly start?: number
  readonly end?: number
  /** The first open transaction. */
  readonly stable?: number
}

function harness(world: World = {}, options: Partial<StartPolicyOptions> = {}) {
  const { committed, start = 40, end = 100, stable = end } = world
  const script = new ScriptedCluster()
    .otherwise('offsetFetch', offsetAnswer(committed))
    .otherwise('listOffsets', ({ request }: Asked) => {
      const { timestamp } = request.topics[0].partitions[0]
      const offset = timestamp === -2 ? start : request.isolationLevel === 1 ? stable : end
      return { responses: [{ topic: 'in', partitions: [{ partition: 2, offset: String(offset) }] }] }
    })
  const clock = new FakeClock()
  const { cluster } = script
  const policy = new StartPolicy({
    cluster,
    groupCoordinator: new Coordinator(cluster, 'group', 'g', clock),
    groupId: 'g',
    topic: 'in',
    partition: 2,
    startFrom: 'earliest',
    onOffsetLoss: 'stop',
    requestTimeoutMs: 1_000,
    generation: () => MEMBER,
    ...options,
  })
  return { script, policy }
}

function offsetAnswer(committed: World['committed']) {
  const { offset = -1, metadata = '' } = committed ?? {}
  return { responses: [{ topic: 'in', partitions: [{ partition: 2, offset: String(offset), metadata }] }] }
}

test('a partition that has an offset is not pinned', async () => {
  const { script, policy } = harness({ committed: { offset: 0 } })
  assert.equal(await policy.pinFirstOffset(), undefined)
  assert.equal(script.of('offsetCommit').length, 0)
})

for (const [startFrom, offset] of [
  ['earliest', '40'],
  ['latest', '100'],
] as const) {
  test(`a partition that the group never read is pinned to its ${startFrom} offset, in the name of the generation`, async () => {
    const { script, policy } = harness({}, { startFrom })
    assert.equal(await policy.pinFirstOffset(), Number(offset))
    const [{ request } = assert.fail()] = script.of('offsetCommit')
    const partitions = [{ partition: 2, offset, metadata: '' }]
    const topics = [{ topic: 'in', partitions }]
    assert.deepEqual(request, { groupId: 'g', groupGenerationId: 12, memberId: 'm-1', topics })
  })
}

test('latest is where a read_committed reader ends: an open transaction upstream is not skipped', async () => {
  const { policy } = harness({ stable: 90 }, { startFrom: 'latest' })
  assert.equal(await policy.pinFirstOffset(), 90)
})

test('an offset in or behind an open transaction upstream is in range', async () => {
  const { policy } = harness({ committed: { offset: 95 }, stable: 90 })
  assert.deepEqual(await policy.position(), { offset: 95, committed: true })
})

test('a partition that went to another member while its offset was looked up is not pinned in the new generation', async () => {
  let member: Assignment = MEMBER
  const { script, policy } = harness({}, { generation: () => member })
  script.next('listOffsets', () => {
    member = { ...MEMBER, generationId: 13, partitions: [5] }
    return { responses: [{ topic: 'in', partitions: [{ partition: 2, offset: '40' }] }] }
  })
  await policy.pinFirstOffset()
  assert.equal(script.of('offsetCommit')[0]?.request.groupGenerationId, 12, 'which the coordinator refuses')

  await assert.rejects(policy.pinFirstOffset(), FencedError, 'and now it is known not to be ours')
  assert.equal(script.of('offsetCommit').length, 1)
})

test('without a generation, or in one that the group has left behind, nothing is pinned: the task is fenced', async () => {
  const none = harness({}, { generation: () => undefined })
  await assert.rejects(none.policy.pinFirstOffset(), FencedError)
  assert.equal(none.script.of('offsetCommit').length, 0)

  for (const type of ['ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID', 'REBALANCE_IN_PROGRESS']) {
    const { script, policy } = harness()
    script.next('offsetCommit', brokerError(type))
    await assert.rejects(policy.pinFirstOffset(), FencedError, type)
  }
})

test('a task goes on from the committed offset, at both ends of the log too', async () => {
  for (const offset of [40, 70, 100]) {
    const { policy } = harness({ committed: { offset } })
    assert.deepEqual(await policy.position(), { offset, committed: true })
  }
})

test('an offset before the log: the message names the records that retention took', async () => {
  const { policy } = harness({ committed: { offset: 7 } })
  await assert.rejects(policy.position(), {
    code: 'offset-out-of-range',
    response: 'halt',
    message:
      'The committed offset of in/2 is 7, but the log holds 40 to 99. ' +
      'Records 7 to 39 were deleted before they were read (retention).',
  })
})

test('an offset behind the log: the topic is not what it was', async () => {
  const { policy } = harness({ committed: { offset: 101 } })
  await assert.rejects(policy.position(), {
    code: 'offset-out-of-range',
    message: /is 101, but the log holds 40 to 99\. The log ends at 100: the topic was truncated or created again/,
  })
})

test('ON_OFFSET_LOSS=continue reads on at START_FROM', async () => {
  for (const [startFrom, expected] of [
    ['earliest', 40],
    ['latest', 100],
  ] as const) {
    const { policy } = harness({ committed: { offset: 7 } }, { onOffsetLoss: 'continue', startFrom })
    assert.deepEqual(await policy.position(), { offset: expected, committed: false })
  }
})

test('an offset that stands in for a lost one halts the task at every start, until a person accepts the loss', async () => {
  const marker = new StartPolicy({} as StartPolicyOptions).lostMarker
  const committed = { offset: 40, metadata: marker }
  await assert.rejects(harness({ committed }).policy.position(), { code: 'offset-missing', response: 'halt' })
  const accepting = harness({ committed }, { onOffsetLoss: 'continue' })
  assert.deepEqual(await accepting.policy.position(), { offset: 40, committed: true })
})

test('an offset that is gone between two looks halts the task', async () => {
  const { policy } = harness()
  await assert.rejects(policy.position(), { code: 'offset-missing', message: /Group g .* in\/2 .* offset 40 / })
})

test('a broker that is away is waited for, and the metadata read again; a fence stays a fence', async () => {
  const away = harness()
  away.script.next('offsetFetch', closed())
  await assert.rejects(away.policy.position(), { code: 'broker-unreachable', response: 'retry' })
  assert.ok(away.script.refreshes > 0)

  const refused = harness()
  refused.script.next('offsetFetch', brokerError('GROUP_AUTHORIZATION_FAILED'))
  await assert.rejects(refused.policy.position(), { code: 'not-authorised', message: /offset of group g for in\/2/ })
})
