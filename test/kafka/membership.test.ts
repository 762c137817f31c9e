import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { silentLog } from '../../src/core/log.ts'
import { type Assignment, Membership } from '../../src/kafka/membership.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'
import { brokerError, closed, ScriptedCluster } from './scripted-cluster.ts'

const { MemberAssignment } = createRequire(import.meta.url)('kafkajs/src/consumer/assignerProtocol')

/** kafkajs's own group protocol, in front of a coordinator that follows a script. */
class Harness {
  readonly script = new ScriptedCluster()
  readonly clock = new FakeClock()
  readonly assignments: Assignment[] = []
  readonly conditions: (string | undefined)[] = []
  generation = 1
  memberId = 'm-1'
  assigned = [0, 1]
  readonly membership: Membership

  constructor() {
    this.script
      .otherwise('joinGroup', () => ({
        generationId: this.generation,
        leaderId: 'another',
        memberId: this.memberId,
        members: [],
        groupProtocol: 'RoundRobinAssigner',
      }))
      .otherwise('syncGroup', () => ({
        memberAssignment: MemberAssignment.encode({ version: 0, assignment: { in: this.assigned } }),
      }))
    const silent = { namespace: () => silent, debug() {}, info() {}, warn() {}, error() {} }
    this.membership = new Membership({
      tools: {
        create: () => this.script.cluster,
        logger: silent,
        retry: { initialRetryTime: 1, maxRetryTime: 1, retries: 0 },
      },
      groupId: 'g',
      topic: 'in',
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 30_000,
      clock: this.clock,
      log: silentLog,
      onAssigned: assignment => this.assignments.push(assignment),
      onCondition: error => this.conditions.push(error?.code),
    })
  }

  async join(): Promise<this> {
    this.membership.start()
    await settle()
    return this
  }

  /** Lets the next heartbeat meet a rebalance that ends in `generation`. */
  async rebalance(generation: number, assigned = this.assigned): Promise<void> {
    this.generation = generation
    this.assigned = assigned
    this.script.next('heartbeat', brokerError('REBALANCE_IN_PROGRESS'))
    await this.clock.advance(1_000)
  }

  get generations(): [number, readonly number[], boolean][] {
    return this.assignments.map(({ generationId, partitions, continuous }) => [generationId, partitions, continuous])
  }

  async close(): Promise<void> {
    await this.membership.close()
    assert.equal(this.clock.waiting, 0)
  }
}

const joined = () => new Harness().join()

test('joining gives the partitions, in order, and the generation to commit in', async () => {
  const harness = new Harness()
  harness.assigned = [3, 0]
  assert.equal(harness.membership.current, undefined)
  await harness.join()
  const assignment = { memberId: 'm-1', generationId: 1, partitions: [0, 3], continuous: false }
  assert.deepEqual(harness.assignments, [assignment])
  assert.deepEqual(harness.membership.current, assignment)
  assert.deepEqual(harness.conditions, [undefined])
  const { request } = harness.script.of('joinGroup')[0]!
  assert.deepEqual([request.groupId, request.sessionTimeout, request.rebalanceTimeout], ['g', 10_000, 30_000])
  await harness.close()
})

test('a member without partitions is told so', async () => {
  const harness = new Harness()
  harness.assigned = []
  await harness.join()
  assert.deepEqual(harness.generations, [[1, [], false]])
  await harness.close()
})

test('it beats often enough, and only beats while nothing happens', async () => {
  const harness = await joined()
  await harness.clock.advance(10_000)
  assert.equal(harness.script.of('heartbeat').length, 10)
  assert.deepEqual(harness.script.of('heartbeat')[0]!.request, { groupId: 'g', memberId: 'm-1', groupGenerationId: 1 })
  assert.equal(harness.assignments.length, 1)
  await harness.close()
})

test('a rebalance to the next generation is continuous; one that was missed is not', async () => {
  const harness = await joined()
  await harness.rebalance(2, [1])
  await harness.rebalance(4, [0, 1])
  await harness.rebalance(5)
  assert.deepEqual(harness.generations, [
    [1, [0, 1], false],
    [2, [1], true],
    [4, [0, 1], false],
    [5, [0, 1], true],
  ])
  assert.ok(!harness.conditions.some(code => code !== undefined), 'a rebalance is no fault')
  await harness.close()
})

test('a member that the group has forgotten joins as a new one: not continuous, whatever the generation', async () => {
  const harness = await joined()
  harness.memberId = 'm-2'
  harness.generation = 2
  harness.script.next('heartbeat', brokerError('UNKNOWN_MEMBER_ID'))
  await harness.clock.advance(2_000)
  assert.deepEqual(harness.generations.at(-1), [2, [0, 1], false])
  assert.equal(harness.script.of('joinGroup')[1]!.request.memberId, '', 'not under the id that is gone')
  await harness.close()
})

test('a member that lost its generation joins again under its own id', async () => {
  const harness = await joined()
  harness.generation = 3
  harness.script.next('heartbeat', brokerError('ILLEGAL_GENERATION'))
  await harness.clock.advance(2_000)
  assert.deepEqual(harness.generations.at(-1), [3, [0, 1], false])
  assert.equal(harness.script.of('joinGroup')[1]!.request.memberId, 'm-1')
  await harness.close()
})

test('a membership that is given up is over at once, and another one follows', async () => {
  for (const hears of [true, false]) {
    const harness = await joined()
    if (!hears) harness.script.next('leaveGroup', closed())
    await harness.membership.renounce('m-0')
    assert.equal(harness.script.of('leaveGroup').length, 0, 'another one was meant')
    await harness.membership.renounce('m-1')
    assert.deepEqual(harness.script.of('leaveGroup')[0]!.request, { groupId: 'g', memberId: 'm-1' })
    assert.equal(harness.membership.current, undefined, 'nothing may be committed in its name any more')
    assert.equal(await harness.membership.confirm(), false)
    harness.memberId = 'm-2'
    harness.generation = 2
    await harness.clock.advance(1_000)
    assert.equal(harness.script.of('joinGroup')[1]!.request.memberId, '', 'as a new member')
    assert.deepEqual(harness.generations.at(-1), [2, [0, 1], false])
    assert.equal(harness.membership.current!.memberId, 'm-2')
    assert.ok(!harness.conditions.some(code => code !== undefined), 'no trouble')
    await harness.close()
  }
})

test('a coordinator that moved is looked up, without a rebalance', async () => {
  const harness = await joined()
  harness.script.coordinator = 2
  harness.script.next('heartbeat', brokerError('NOT_COORDINATOR_FOR_GROUP'))
  await harness.clock.advance(2_000)
  assert.deepEqual(
    harness.script.of('heartbeat').map(({ node }) => node),
    [1, 2],
  )
  assert.equal(harness.assignments.length, 1)
  await harness.close()
})

test('heartbeats that get no answer are repeated until the session must have ended, then it joins again', async () => {
  const harness = await joined()
  await harness.clock.advance(20_000)
  harness.script.otherwise('heartbeat', closed())
  await harness.clock.advance(9_000)
  assert.equal(harness.conditions.length, 1)
  assert.equal(harness.script.of('joinGroup').length, 1)
  await harness.clock.advance(2_000)
  assert.equal(harness.conditions[1], 'broker-unreachable')
  assert.equal(harness.script.of('joinGroup').length, 2)
  await harness.close()
})

test('a join that fails is tried again, and the condition is over once it succeeds', async () => {
  const harness = new Harness()
  harness.script.next('findCoordinator', closed(), brokerError('GROUP_AUTHORIZATION_FAILED'))
  await harness.join()
  assert.deepEqual(harness.conditions, ['broker-unreachable'])
  await harness.clock.advance(1_000)
  assert.deepEqual(harness.conditions, ['broker-unreachable', 'not-authorised', undefined])
  assert.equal(harness.assignments.length, 1)
  await harness.close()
})

test('new partitions of the topic make it join, so that the leader hands them out', async () => {
  const harness = await joined()
  harness.script.partitions.in = 6
  harness.assigned = [0, 1, 4]
  harness.generation = 2
  await harness.clock.advance(1_000)
  assert.deepEqual(harness.generations.at(-1), [2, [0, 1, 4], true])
  await harness.close()
})

test('confirm asks the coordinator now', async () => {
  const harness = await joined()
  assert.equal(await harness.membership.confirm(), true)
  for (const error of [brokerError('REBALANCE_IN_PROGRESS'), brokerError('ILLEGAL_GENERATION'), closed()]) {
    harness.script.next('heartbeat', error)
    assert.equal(await harness.membership.confirm(), false)
  }
  await harness.close()
})

test('closing leaves the group, whether or not that works', async () => {
  const harness = await joined()
  await harness.close()
  assert.deepEqual(harness.script.of('leaveGroup')[0]!.request, { groupId: 'g', memberId: 'm-1' })

  const unlucky = await joined()
  unlucky.script.next('leaveGroup', closed())
  await unlucky.close()
})

test('closing amid a backoff ends at once', async () => {
  const harness = new Harness()
  harness.script.next('findCoordinator', closed())
  await harness.join()
  await harness.close()
  assert.equal(harness.assignments.length, 0)
})
