import assert from 'node:assert/strict'
import { silentLog } from '../../src/core/log.ts'
import { type Assignment, Membership } from '../../src/kafka/membership.ts'
import { type Behaviour, behaviour } from './behaviour.ts'
import type { GroupMember } from './group-member.ts'
import { outcomeOf } from './outcome.ts'
import type { Stage } from './stage.ts'

/** Lets two members share the group: the first is in it already. */
async function together(stage: Stage, first: GroupMember, second: GroupMember): Promise<void> {
  const joining = second.join()
  await untilRebalance(stage, first)
  await stage.subject.wait(Promise.all([joining, first.join()]))
  await stage.subject.wait(Promise.all([first.sync(), second.sync()]))
}

async function untilRebalance(stage: Stage, member: GroupMember): Promise<void> {
  await stage.until(async () => (await member.heartbeat()) === 'REBALANCE_IN_PROGRESS', 'the group does not rebalance')
}

async function pair(stage: Stage, options: { sessionTimeout?: number; rebalanceTimeout?: number } = {}) {
  const [first, second] = [await stage.member(options), await stage.member(options)]
  await first.enter()
  await together(stage, first, second)
  return { first, second }
}

/** JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and commits of members: the classic group protocol. */
export const membership: readonly Behaviour[] = [
  behaviour('the first member leads generation 1, alone', async stage => {
    const member = await stage.member()
    await stage.subject.wait(member.join())
    assert.deepEqual([member.generation, member.leads, member.told], [1, true, [member.memberId]])
    assert.equal(await stage.subject.wait(member.sync()), member.memberId)
    assert.equal(await member.heartbeat(), 'OK')
  }),

  behaviour('a second member makes the first one join again, in the next generation', async stage => {
    const { first, second } = await pair(stage)
    assert.deepEqual([first.generation, second.generation], [2, 2])
    assert.deepEqual([first.leads, second.leads], [true, false], 'the leader stays')
    assert.deepEqual([...first.told].sort(), [first.memberId, second.memberId].sort())
    assert.deepEqual(second.told, [])
    assert.deepEqual([await first.heartbeat(), await second.heartbeat()], ['OK', 'OK'])
  }),

  behaviour('who does not lead waits for the part that the leader gives it', async stage => {
    const [first, second] = [await stage.member(), await stage.member()]
    await first.enter()
    const joining = second.join()
    await untilRebalance(stage, first)
    await stage.subject.wait(Promise.all([joining, first.join()]))
    let synced = false
    const syncing = second.sync().then(part => {
      synced = true
      return part
    })
    await stage.subject.sleep(50)
    assert.equal(synced, false)
    assert.equal(await first.heartbeat(), 'OK', 'between join and sync, too')
    await stage.subject.wait(first.sync())
    assert.equal(await stage.subject.wait(syncing), second.memberId)
  }),

  behaviour('a heartbeat of an old generation, or of nobody, is refused', async stage => {
    const { first } = await pair(stage)
    assert.equal(await first.heartbeat(1), 'ILLEGAL_GENERATION')
    assert.equal(await first.heartbeat(3), 'ILLEGAL_GENERATION')
    assert.equal(await first.heartbeat(2, 'nobody'), 'UNKNOWN_MEMBER_ID')
  }),

  behaviour('a group that nobody has joined knows no member', async stage => {
    await stage.createTopic()
    const stranger = await stage.member()
    assert.equal(await stranger.heartbeat(1, 'nobody'), 'UNKNOWN_MEMBER_ID')
    assert.equal(await stranger.commit(stage.topic, 5, 1, 'nobody'), 'ILLEGAL_GENERATION')
    stranger.memberId = 'nobody'
    assert.equal(await outcomeOf(stranger.join()), 'UNKNOWN_MEMBER_ID')
    assert.equal(await stranger.leave(), 'UNKNOWN_MEMBER_ID')
  }),

  behaviour('offsets are committed in the name of a member and of its generation only', async stage => {
    await stage.createTopic()
    const { first, second } = await pair(stage)
    assert.equal(await first.commit(stage.topic, 5), 'OK')
    assert.equal(await second.commit(stage.topic, 6), 'OK')
    assert.equal(await first.commit(stage.topic, 7, 1), 'ILLEGAL_GENERATION')
    assert.equal(await first.commit(stage.topic, 7, 3), 'ILLEGAL_GENERATION')
    assert.equal(await first.commit(stage.topic, 7, 2, 'nobody'), 'UNKNOWN_MEMBER_ID')
    assert.equal(await first.commit(stage.topic, 7, -1, ''), 'UNKNOWN_MEMBER_ID')
    assert.deepEqual(await stage.committed(), { offset: 6, metadata: 'mine' })
  }),

  behaviour('a member may commit while another joins, but not between its own join and sync', async stage => {
    await stage.createTopic()
    const [first, second] = [await stage.member(), await stage.member()]
    await first.enter()
    const joining = second.join()
    await untilRebalance(stage, first)
    assert.equal(await first.commit(stage.topic, 5), 'OK')
    await stage.subject.wait(Promise.all([joining, first.join()]))
    assert.equal(await first.commit(stage.topic, 6), 'REBALANCE_IN_PROGRESS')
    await stage.subject.wait(Promise.all([first.sync(), second.sync()]))
    assert.equal(await first.commit(stage.topic, 7), 'OK')
    assert.equal((await stage.committed()).offset, 7)
  }),

  behaviour('a sync while others still join, or of an old generation, is refused', async stage => {
    const [first, second] = [await stage.member(), await stage.member()]
    await first.enter()
    const joining = second.join()
    await untilRebalance(stage, first)
    assert.equal(await outcomeOf(first.sync()), 'REBALANCE_IN_PROGRESS')
    await stage.subject.wait(Promise.all([joining, first.join()]))
    assert.equal(await outcomeOf(first.sync(1)), 'ILLEGAL_GENERATION')
    await stage.subject.wait(Promise.all([first.sync(), second.sync()]))
  }),

  behaviour('a waiting sync is refused when the group rebalances again', async stage => {
    const [first, second, third] = [await stage.member(), await stage.member(), await stage.member()]
    await first.enter()
    const joining = second.join()
    await untilRebalance(stage, first)
    await stage.subject.wait(Promise.all([joining, first.join()]))
    const syncing = outcomeOf(second.sync())
    await stage.subject.sleep(20)
    const late = third.join()
    assert.equal(await stage.subject.wait(syncing), 'REBALANCE_IN_PROGRESS')
    await stage.subject.wait(Promise.all([first.join(), second.join(), late]))
    assert.deepEqual([first.generation, second.generation, third.generation], [3, 3, 3])
  }),

  behaviour('a member that is silent for its session is out, and the others rebalance', async stage => {
    const { first, second } = await pair(stage, { sessionTimeout: 1_000 })
    await untilRebalance(stage, second) // which beats all the while
    assert.equal(await first.heartbeat(), 'UNKNOWN_MEMBER_ID')
    await second.enter()
    assert.deepEqual([second.generation, second.leads], [3, true])
    assert.equal(await outcomeOf(first.join()), 'UNKNOWN_MEMBER_ID')
  }),

  behaviour('a member that does not join again within the rebalance time-out is out, though it beats', async stage => {
    const options = { sessionTimeout: 6_000, rebalanceTimeout: 500 }
    const [first, second] = [await stage.member(options), await stage.member(options)]
    await first.enter()
    let joined = false
    const joining = second.join().then(() => {
      joined = true
    })
    await untilRebalance(stage, first)
    await stage.until(async () => (await first.heartbeat()) !== 'REBALANCE_IN_PROGRESS' || joined, 'it is waited for')
    await stage.subject.wait(joining)
    assert.equal(await first.heartbeat(), 'UNKNOWN_MEMBER_ID')
    assert.deepEqual([second.generation, second.leads], [2, true])
  }),

  behaviour('a member that leaves is gone at once', async stage => {
    const { first, second } = await pair(stage)
    assert.equal(await first.leave(), 'OK')
    assert.equal(await first.heartbeat(), 'UNKNOWN_MEMBER_ID')
    assert.equal(await first.leave(), 'UNKNOWN_MEMBER_ID')
    assert.equal(await second.heartbeat(), 'REBALANCE_IN_PROGRESS')
    await second.enter()
    assert.deepEqual([second.generation, second.leads], [3, true])
  }),

  behaviour('an empty group goes on counting its generations', async stage => {
    const first = await stage.member()
    await first.enter()
    assert.equal(await first.leave(), 'OK')
    const second = await stage.member()
    await second.enter()
    assert.equal(second.generation, 3, 'to be empty is one, too')
  }),

  behaviour('a group that is empty again takes commits of nobody', async stage => {
    await stage.createTopic()
    const member = await stage.member()
    await member.enter()
    assert.equal(await member.commit(stage.topic, 3, -1, ''), 'UNKNOWN_MEMBER_ID')
    assert.equal(await member.leave(), 'OK')
    assert.equal(await member.commit(stage.topic, 4, -1, ''), 'OK')
    assert.equal((await stage.committed()).offset, 4)
  }),

  behaviour('a leader that joins again makes the group rebalance, another member does not', async stage => {
    const { first, second } = await pair(stage)
    await stage.subject.wait(second.join())
    assert.equal(second.generation, 2, 'it is told again what it was told')
    assert.equal(await stage.subject.wait(second.sync()), second.memberId)
    assert.equal(await first.heartbeat(), 'OK')
    const joining = first.join()
    await untilRebalance(stage, second)
    await stage.subject.wait(Promise.all([joining, second.join()]))
    assert.deepEqual([first.generation, second.generation], [3, 3])
  }),

  behaviour('a session shorter than the broker allows is refused', async stage => {
    const member = await stage.member({ sessionTimeout: 10 })
    assert.equal(await outcomeOf(member.join()), 'INVALID_SESSION_TIMEOUT')
  }),

  behaviour('the members of a group are listed', async stage => {
    const coordinator = await stage.groupCoordinator()
    const members = async () => {
      const { groups } = await coordinator.describeGroups({ groupIds: [stage.group] })
      return groups[0]!.members.length
    }
    const { first, second } = await pair(stage)
    assert.equal(await members(), 2)
    await first.leave()
    await second.leave()
    assert.equal(await members(), 0)
  }),

  behaviour("Sluice's own members share a topic, and take over when one leaves", async stage => {
    await stage.createTopic(4)
    const assigned: (Assignment | undefined)[] = [undefined, undefined]
    const members = assigned.map(
      (_, index) =>
        new Membership({
          tools: stage.subject.tools,
          groupId: stage.group,
          topic: stage.topic,
          sessionTimeoutMs: 2_000,
          rebalanceTimeoutMs: 5_000,
          clock: stage.subject.clock,
          log: silentLog,
          onAssigned: assignment => {
            assigned[index] = assignment
          },
          onCondition: () => {},
        }),
    )
    const partitions = (index: number) => assigned[index]?.partitions ?? []
    for (const member of members) member.start()
    await stage.until(async () => partitions(0).length === 2 && partitions(1).length === 2, 'they do not share')
    assert.deepEqual([...partitions(0), ...partitions(1)].sort(), [0, 1, 2, 3])
    await stage.subject.wait(members[0]!.close())
    await stage.until(async () => partitions(1).length === 4, 'the other one does not take over')
    assert.equal(assigned[1]!.continuous, true)
    await stage.subject.wait(members[1]!.close())
  }),
]
