import assert from 'node:assert/strict'
import { type Behaviour, behaviour } from './behaviour.ts'
import { outcomeOf } from './outcome.ts'
import type { Stage } from './stage.ts'

/** Commits an offset as nobody's member. */
async function commitOffset(stage: Stage, offset: number, metadata = '', topic = stage.topic): Promise<string> {
  const coordinator = await stage.groupCoordinator()
  const topics = [{ topic, partitions: [{ partition: 0, offset: String(offset), metadata }] }]
  const request = { groupId: stage.group, groupGenerationId: -1, memberId: '', topics }
  return outcomeOf(coordinator.offsetCommit(request))
}

/** OffsetCommit, OffsetFetch, TxnOffsetCommit: the offsets of a group. */
export const groupOffsets: readonly Behaviour[] = [
  behaviour('a partition that a group never read has offset -1', async stage => {
    await stage.createTopic()
    assert.deepEqual(await stage.committed(), { offset: -1, metadata: '' })
  }),

  behaviour('an offset is kept with its metadata, for a group without members', async stage => {
    await stage.createTopic()
    assert.equal(await commitOffset(stage, 3, 'three'), 'OK')
    assert.deepEqual(await stage.committed(), { offset: 3, metadata: 'three' })
    assert.equal(await commitOffset(stage, 1), 'OK')
    assert.deepEqual(await stage.committed(), { offset: 1, metadata: '' }, 'back, too')
  }),

  behaviour('an offset of a topic that does not exist is refused', async stage => {
    await stage.createTopic()
    assert.equal(await commitOffset(stage, 3, '', `${stage.topic}-missing`), 'UNKNOWN_TOPIC_OR_PARTITION')
  }),

  behaviour('an offset of a transaction appears when that is committed', async stage => {
    await stage.createTopic()
    assert.equal(await commitOffset(stage, 3, 'three'), 'OK')
    const producer = await stage.producer()
    await producer.beginOffsets()
    assert.equal(await producer.commitOffset(4, 'four'), 'OK')
    assert.deepEqual(await stage.committed(), { offset: 3, metadata: 'three' })
    await producer.finish(true)
    assert.deepEqual(await stage.committed(), { offset: 4, metadata: 'four' })
  }),

  behaviour('an offset of a transaction is gone when that is aborted', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.beginOffsets()
    assert.equal(await producer.commitOffset(4), 'OK')
    await producer.finish(false)
    assert.equal((await stage.committed()).offset, -1)
    await producer.beginOffsets()
    await producer.finish(true)
    assert.equal((await stage.committed()).offset, -1, 'it does not come back with the next one')
  }),

  behaviour('an offset of a transaction is gone when the id is initialised again', async stage => {
    await stage.createTopic()
    assert.equal(await commitOffset(stage, 3), 'OK')
    const former = await stage.producer()
    await former.beginOffsets()
    assert.equal(await former.commitOffset(4), 'OK')
    await stage.producer()
    assert.equal((await stage.committed()).offset, 3)
  }),

  behaviour('the last offset of a transaction counts', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.beginOffsets()
    assert.equal(await producer.commitOffset(4), 'OK')
    assert.equal(await producer.commitOffset(6), 'OK')
    await producer.finish(true)
    assert.equal((await stage.committed()).offset, 6)
  }),

  behaviour('of two offsets the one that was written later counts, whenever a transaction ends', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.beginOffsets()
    assert.equal(await producer.commitOffset(8), 'OK')
    assert.equal(await commitOffset(stage, 5), 'OK')
    await producer.finish(true)
    assert.equal((await stage.committed()).offset, 5)
  }),

  behaviour('a group whose offsets were not added to the transaction refuses them', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    assert.equal(await producer.commitOffset(4), 'INVALID_TXN_STATE')
    await producer.begin(0)
    assert.equal(await producer.commitOffset(4), 'INVALID_TXN_STATE')
  }),

  behaviour('a transaction may move the offsets of a group of which its producer is no member', async stage => {
    await stage.createTopic()
    const member = await stage.member()
    await member.enter()
    const producer = await stage.producer()
    await producer.beginOffsets()
    assert.equal(await producer.commitOffset(4), 'OK', 'the id fences, not the generation')
    await producer.finish(true)
    assert.equal((await stage.committed()).offset, 4)
  }),

  behaviour('the offsets of a topic go with it', async stage => {
    await stage.createTopic()
    assert.equal(await commitOffset(stage, 3), 'OK')
    await stage.subject.deleteTopic(stage.topic)
    await stage.subject.createTopic(stage.topic, 1)
    await stage.until(async () => (await stage.committed()).offset === -1, 'the offset stays')
  }),
]
