import assert from 'node:assert/strict'
import { endOfEpoch } from '../../src/kafka/leader-epochs.ts'
import { leaderOf } from '../../src/kafka/offsets.ts'
import { topicIdOf } from '../../src/kafka/topic-ids.ts'
import { type Behaviour, behaviour } from './behaviour.ts'
import { outcomeOf } from './outcome.ts'
import type { Stage } from './stage.ts'

const EARLIEST = -2
const LATEST = -1

async function listOffset(stage: Stage, timestamp: number, isolationLevel: 0 | 1): Promise<number> {
  const leader = await leaderOf(await stage.cluster(), stage.topic, 0)
  const topics = [{ topic: stage.topic, partitions: [{ partition: 0, timestamp }] }]
  const { responses } = await leader.listOffsets({ isolationLevel, topics })
  return Number(responses[0]!.partitions[0]!.offset)
}

async function topicId(stage: Stage): Promise<string> {
  return topicIdOf(await leaderOf(await stage.cluster(), stage.topic, 0), stage.topic)
}

/** Fetch, ListOffsets, Metadata: what a read_committed reader sees of a log. */
export const reading: readonly Behaviour[] = [
  behaviour('an open transaction holds back everything after its first record', async stage => {
    await stage.createTopic()
    await stage.append('before')
    const [open, other] = [await stage.producer(), await stage.producer(`${stage.transactionalId}-other`)]
    await open.begin(0)
    assert.equal(await open.send(0, ['open']), 'OK')
    await other.begin(0)
    assert.equal(await other.send(0, ['other']), 'OK')
    await other.finish(true)
    await stage.append('after')
    const held = await stage.read(0)
    assert.deepEqual(held.values, ['before'])
    assert.deepEqual([held.answer.lastStableOffset, held.answer.highWatermark], [1, 5])
    await open.finish(true)
    const free = await stage.read(0)
    assert.deepEqual(free.values, ['before', 'open', 'other', 'after'])
    assert.deepEqual([free.answer.lastStableOffset, free.answer.highWatermark], [6, 6])
  }),

  behaviour('a read beyond the last stable offset is empty', async stage => {
    await stage.createTopic()
    const open = await stage.producer()
    await open.begin(0)
    assert.equal(await open.send(0, ['a', 'b']), 'OK')
    const { outcome, values } = await stage.read(1)
    assert.deepEqual([outcome, values], ['OK', []])
  }),

  behaviour('aborted transactions are listed where they overlap what is read', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    for (const [sequence, commit] of [false, true, false].entries()) {
      await producer.begin(0)
      assert.equal(await producer.send(sequence, [String(sequence)]), 'OK')
      await producer.finish(commit)
    }
    const producerId = BigInt(producer.producerId)
    const listed = async (position: number) => (await stage.read(position)).answer.aborted
    assert.deepEqual(await listed(0), [
      { producerId, firstOffset: 0 },
      { producerId, firstOffset: 4 },
    ])
    assert.deepEqual((await stage.read(0)).values, ['1'])
    assert.deepEqual(await listed(1), await listed(0), 'its marker is at 1')
    assert.deepEqual(await listed(2), [{ producerId, firstOffset: 4 }])
    assert.deepEqual(await listed(6), [])
  }),

  behaviour('a read at the end is empty, one beyond it is out of range', async stage => {
    await stage.createTopic()
    await stage.append('a', 'b')
    const end = await stage.read(2)
    assert.deepEqual([end.outcome, end.values, end.answer.highWatermark], ['OK', [], 2])
    const beyond = await stage.read(3)
    assert.deepEqual([beyond.outcome, beyond.answer.highWatermark], ['OFFSET_OUT_OF_RANGE', -1])
  }),

  behaviour('deleted records are out of range, and the log starts after them', async stage => {
    await stage.createTopic()
    for (const value of ['a', 'b', 'c']) await stage.append(value)
    await stage.subject.deleteRecords(stage.topic, 0, 2)
    assert.equal((await stage.read(1)).outcome, 'OFFSET_OUT_OF_RANGE')
    const { values, answer } = await stage.read(2)
    assert.deepEqual([values, answer.logStartOffset], [['c'], 2])
    assert.equal(await listOffset(stage, EARLIEST, 0), 2)
    assert.equal(await listOffset(stage, LATEST, 0), 3)
  }),

  behaviour('a read within a batch brings the whole batch', async stage => {
    await stage.createTopic()
    await stage.append('a', 'b', 'c')
    const { values, answer } = await stage.read(2)
    assert.deepEqual(values, ['c'])
    assert.deepEqual(answer.records, (await stage.read(0)).answer.records)
  }),

  behaviour('a batch larger than the limit comes alone', async stage => {
    await stage.createTopic()
    await stage.append('a'.repeat(500))
    await stage.append('b')
    assert.deepEqual((await stage.read(0, { maxBytes: 100 })).values, ['a'.repeat(500)])
    assert.deepEqual((await stage.read(0, { maxBytes: 10_000 })).values, ['a'.repeat(500), 'b'])
  }),

  behaviour('a read waits for records', async stage => {
    await stage.createTopic()
    const before = stage.subject.clock.now()
    assert.deepEqual((await stage.read(0, { maxWaitMs: 200 })).values, [])
    assert.ok(stage.subject.clock.now() - before >= 190, 'until its time is up')
    const reading = stage.read(0, { maxWaitMs: 20_000 })
    await stage.subject.sleep(50)
    await stage.append('at last')
    assert.deepEqual((await reading).values, ['at last'])
  }),

  behaviour('the latest offset is the end of the log, or the last stable one', async stage => {
    await stage.createTopic()
    await stage.append('a')
    const open = await stage.producer()
    await open.begin(0)
    assert.equal(await open.send(0, ['b']), 'OK')
    assert.deepEqual([await listOffset(stage, EARLIEST, 0), await listOffset(stage, EARLIEST, 1)], [0, 0])
    assert.deepEqual([await listOffset(stage, LATEST, 0), await listOffset(stage, LATEST, 1)], [2, 1])
    await open.finish(false)
    assert.deepEqual([await listOffset(stage, LATEST, 0), await listOffset(stage, LATEST, 1)], [3, 3])
  }),

  behaviour('an offset is found by time', async stage => {
    await stage.createTopic()
    await stage.append('a', 'b')
    assert.equal(await listOffset(stage, stage.startedAt, 1), 0)
    assert.equal(await listOffset(stage, stage.startedAt + 1, 1), -1)
  }),

  behaviour('a topic that is deleted is unknown by its id', async stage => {
    await stage.createTopic()
    await stage.append('a')
    const cluster = await stage.cluster()
    const id = await topicId(stage)
    await stage.subject.deleteTopic(stage.topic)
    // The connections of before still know who led it.
    const leader = await leaderOf(cluster, stage.topic, 0)
    assert.equal(await outcomeOf(topicIdOf(leader, stage.topic)), 'UNKNOWN_TOPIC_OR_PARTITION')
    assert.equal(await outcomeOf(cluster.refreshMetadata()), 'UNKNOWN_TOPIC_OR_PARTITION')
    assert.equal((await stage.readFrom(leader, 0, id)).outcome, 'UNKNOWN_TOPIC_ID')
  }),

  behaviour('a topic that is created again has another id, and other records', async stage => {
    await stage.createTopic()
    await stage.append('a', 'b')
    const former = await topicId(stage)
    await stage.subject.deleteTopic(stage.topic)
    await stage.subject.createTopic(stage.topic, 1)
    await stage.append('c')
    const latter = await topicId(stage)
    assert.notEqual(former, latter)
    assert.equal((await stage.read(0, { topicId: former })).outcome, 'UNKNOWN_TOPIC_ID')
    assert.deepEqual((await stage.read(0, { topicId: latter })).values, ['c'])
  }),

  behaviour('an unknown topic is no target for metadata', async stage => {
    const cluster = await stage.cluster()
    const missing = stage.subject.uniqueName('missing')
    assert.equal(await outcomeOf(cluster.addMultipleTargetTopics([missing])), 'UNKNOWN_TOPIC_OR_PARTITION')
    await cluster.refreshMetadata()
  }),

  behaviour('a leader knows where its epoch ends, and no later epoch', async stage => {
    await stage.createTopic()
    await stage.append('a', 'b')
    const leader = await leaderOf(await stage.cluster(), stage.topic, 0)
    const { epoch, endOffset } = (await endOfEpoch(leader, stage.topic, 0, 0))!
    assert.deepEqual([epoch, endOffset], [0, 2])
    assert.equal(await endOfEpoch(leader, stage.topic, 0, 7), undefined)
    assert.deepEqual((await stage.read(1, { lastFetchedEpoch: 0 })).values, ['b'])
    assert.equal((await stage.read(1, { lastFetchedEpoch: 7 })).outcome, 'OFFSET_OUT_OF_RANGE')
  }),
]
