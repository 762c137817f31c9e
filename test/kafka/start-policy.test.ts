import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SluiceError } from '../../src/core/errors.ts'
import type { Log } from '../../src/core/log.ts'
import { silentLog } from '../../src/core/log.ts'
import { FencedError } from '../../src/core/transaction.ts'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import type { Assignment } from '../../src/kafka/membership.ts'
import { formatMark } from '../../src/kafka/offset-mark.ts'
import { PartitionLog } from '../../src/kafka/partition-log.ts'
import { StartPolicy, type StartPolicyOptions } from '../../src/kafka/start-policy.ts'
import { FakeClock } from '../pipeline/fake-clock.ts'
import { ID as OLD_ID } from './java-messages.ts'
import { type Asked, brokerError, closed, epochEnds, ScriptedCluster, TOPIC_ID } from './scripted-cluster.ts'

const MEMBER: Assignment = { memberId: 'm-1', generationId: 12, partitions: [2], continuous: true }

interface World {
  readonly committed?: { readonly offset: number; readonly metadata?: string }
  readonly start?: number
  readonly end?: number
  /** The first open transaction. */
  readonly stable?: number
  /** Where the log leaves the epoch that it is asked for: [last epoch up to it, end]. */
  readonly epoch?: readonly [epoch: number, end: number]
}

const marked = (offset: number, leaderEpoch?: number) => ({
  offset,
  metadata: formatMark({ topicId: TOPIC_ID, leaderEpoch }),
})

function harness(world: World = {}, options: Partial<StartPolicyOptions> = {}) {
  const { committed, start = 40, end = 100, stable = end, epoch = [5, end] } = world
  const script = new ScriptedCluster()
    .otherwise('offsetFetch', offsetAnswer(committed))
    .otherwise('listOffsets', ({ request }: Asked) => {
      const { timestamp } = request.topics[0].partitions[0]
      const offset = timestamp === -2 ? start : request.isolationLevel === 1 ? stable : end
      return { responses: [{ topic: 'in', partitions: [{ partition: 2, offset: String(offset) }] }] }
    })
    .otherwise('offsetforleaderepoch', epochEnds(...epoch))
  const clock = new FakeClock()
  const { cluster } = script
  const warnings: string[] = []
  const log: Log = { ...silentLog, warn: (fields, message) => warnings.push(`${fields.code}: ${message}`) }
  const logs = new Map<number, PartitionLog>()
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
    logs,
    usedBefore: async () => false,
    log,
    ...options,
  })
  /** What was committed as the first offset. */
  const pinned = () => script.of('offsetCommit').map(({ request }) => request.topics[0].partitions[0])
  return { script, policy, logs, warnings, pinned }
}

function offsetAnswer(committed: World['committed']) {
  const { offset = -1, metadata = '' } = committed ?? {}
  return { responses: [{ topic: 'in', partitions: [{ partition: 2, offset: String(offset), metadata }] }] }
}

/** What halts a start, in full. */
async function loss(world: World, options: Partial<StartPolicyOptions> = {}): Promise<{ code: string; text: string }> {
  const { policy } = harness(world, options)
  const error = await policy.position().then(
    () => assert.fail('the task was not halted'),
    (error: SluiceError) => error,
  )
  assert.equal(error.response, 'halt')
  return { code: error.code, text: error.message }
}

test('a partition that has an offset is not pinned, and nobody asks for the id', async () => {
  const { policy, pinned } = harness({ committed: { offset: 0 } }, { usedBefore: () => assert.fail() })
  assert.equal(await policy.pinFirstOffset(), false)
  assert.deepEqual(pinned(), [])
})

for (const [startFrom, offset] of [
  ['earliest', '40'],
  ['latest', '100'],
] as const) {
  test(`a partition that the group never read is pinned to its ${startFrom} offset, in the name of the generation`, async () => {
    const { script, policy } = harness({}, { startFrom })
    assert.equal(await policy.pinFirstOffset(), true)
    const [{ request } = assert.fail()] = script.of('offsetCommit')
    const partitions = [{ partition: 2, offset, metadata: `sluice topic-id=${TOPIC_ID}` }]
    const topics = [{ topic: 'in', partitions }]
    assert.deepEqual(request, { groupId: 'g', groupGenerationId: 12, memberId: 'm-1', topics })
  })
}

test('latest is where a read_committed reader ends: an open transaction upstream is not skipped', async () => {
  const { policy, pinned } = harness({ stable: 90 }, { startFrom: 'latest' })
  await policy.pinFirstOffset()
  assert.equal(pinned()[0].offset, '90')
})

test('an offset in or behind an open transaction upstream is in range', async () => {
  const { policy } = harness({ committed: marked(95), stable: 90 })
  assert.deepEqual(await policy.position(), { offset: 95, committed: true, settled: true })
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

test('no offset, but an id that was used: what is pinned instead says so', async () => {
  const { policy, pinned } = harness({}, { usedBefore: async () => true })
  assert.equal(await policy.pinFirstOffset(), true)
  assert.deepEqual(pinned(), [{ partition: 2, offset: '40', metadata: `sluice lost topic-id=${TOPIC_ID}` }])
})

test('a former owner that pins the offset and uses the id a moment before us has lost nothing', async () => {
  const { script, policy, pinned } = harness({}, { usedBefore: async () => true })
  script.next('offsetFetch', offsetAnswer(undefined), offsetAnswer(marked(40)))
  assert.equal(await policy.pinFirstOffset(), false)
  assert.deepEqual(pinned(), [])
})

test('without an id that could tell, as at least once has none, a replica knows it has read itself', async () => {
  const first = harness()
  first.logs.set(2, new PartitionLog(TOPIC_ID, 60, 80, undefined))
  await first.policy.pinFirstOffset()
  assert.deepEqual(first.pinned(), [{ partition: 2, offset: '40', metadata: `sluice lost topic-id=${TOPIC_ID}` }])
})

test('offsets that went with the topic, while this replica read it, are committed again with the id of that topic', async () => {
  const { logs, policy, pinned } = harness()
  logs.set(2, new PartitionLog(OLD_ID, 60, 80, 3))
  await policy.pinFirstOffset()
  assert.deepEqual(pinned(), [{ partition: 2, offset: '60', metadata: `sluice topic-id=${OLD_ID}` }])
})

test('a task goes on from the committed offset, at both ends of the log too', async () => {
  for (const offset of [40, 70, 100]) {
    const { policy, logs } = harness({ committed: marked(offset, 5) })
    assert.deepEqual(await policy.position(), { offset, committed: true, settled: true })
    assert.equal(logs.get(2)!.topicId, TOPIC_ID)
    assert.equal(logs.get(2)!.epochBefore(offset), 5)
  }
})

test('an offset that a person has set is believed, and is to be marked before anything else', async () => {
  for (const metadata of ['', 'moved by hand']) {
    const { policy, script } = harness({ committed: { offset: 70, metadata } })
    assert.deepEqual(await policy.position(), { offset: 70, committed: true, settled: false })
    assert.equal(policy.mark(70, undefined), `sluice topic-id=${TOPIC_ID}`)
    assert.equal(script.of('offsetforleaderepoch').length, 0)
  }
})

test('a mark names the topic that the task began with, and the leader of the record before the offset', async () => {
  const { policy, logs } = harness({ committed: marked(70, 5) })
  await policy.position()
  assert.equal(policy.mark(80, undefined), `sluice topic-id=${TOPIC_ID} leader-epoch=5`)
  assert.equal(logs.get(2)!.committed, 80)
})

test('an offset before the log: the message names the records that retention took', async () => {
  for (const committed of [{ offset: 7 }, marked(7, 5)]) {
    assert.deepEqual(await loss({ committed }), {
      code: 'offset-out-of-range',
      text:
        'The committed offset of in/2 is 7, but the log holds 40 to 99. ' +
        'Records 7 to 39 (33) were deleted before they were read (retention). ' +
        'ON_OFFSET_LOSS=continue begins at offset 40.',
    })
  }
})

test('an offset behind the log, of which no epoch is known', async () => {
  const { code, text } = await loss({ committed: { offset: 103 } }, { startFrom: 'latest' })
  assert.equal(code, 'offset-out-of-range')
  assert.match(text, /is 103, but the log holds 40 to 99\. Records 100 to 102 \(3\) were there and are not any more/)
  assert.match(text, /continue begins at offset 100\.$/)
})

test('another topic of the same name, though it holds the offset: the message names both', async () => {
  const committed = { offset: 60, metadata: formatMark({ topicId: OLD_ID, leaderEpoch: 5 }) }
  assert.deepEqual(await loss({ committed }), {
    code: 'topic-recreated',
    text:
      `The committed offset 60 of in/2 belongs to the topic with the id ${OLD_ID}, which was deleted: ` +
      `in now has the id ${TOPIC_ID}, and its log holds 40 to 99. ` +
      'What the old topic held from offset 60 on can no longer be read. ' +
      'ON_OFFSET_LOSS=continue begins at offset 40 of the new topic.',
  })
  const empty = await loss({ committed, start: 0, end: 0 })
  assert.match(empty.text, /its log is empty and goes on at offset 0\./)
})

test('a replica that read the old topic says how many of its records were unread', async () => {
  const committed = { offset: 60, metadata: formatMark({ topicId: OLD_ID }) }
  for (const [end, expected] of [
    [75, /Records 60 to 74 \(15\) of the old topic, and what came after them, can no longer be read/],
    [60, /When this worker last looked, nothing in the old topic was unread/],
  ] as const) {
    const logs = new Map([[2, new PartitionLog(OLD_ID, 60, end, undefined)]])
    assert.match((await loss({ committed }, { logs })).text, expected)
    assert.equal(logs.get(2)!.topicId, OLD_ID, 'remembered until it is accepted')
  }
})

test('a log that was truncated below the offset and has grown again', async () => {
  const world: World = { committed: marked(70, 5), epoch: [5, 62] }
  assert.deepEqual(await loss(world), {
    code: 'log-truncated',
    text:
      'Records 62 to 69 (8) of in/2, which group g has read, are no longer in the log: ' +
      'it was truncated at offset 62 (leader epoch 5). ' +
      'This happens when a replica that lacks records is elected leader (unclean), or a disk loses them. ' +
      'The log holds 40 to 99 now; what took the place of those records has not been read. ' +
      'ON_OFFSET_LOSS=continue begins at offset 62.',
  })
  const { policy, script } = harness(world, { onOffsetLoss: 'continue', startFrom: 'latest' })
  assert.deepEqual(await policy.position(), { offset: 62, committed: false, settled: false })
  assert.equal(script.of('offsetforleaderepoch')[0]!.request, 5)
})

test('a log that was truncated and has not grown again is not merely out of range', async () => {
  const world: World = { committed: marked(110, 5), epoch: [4, 62], end: 80 }
  assert.equal((await loss(world)).code, 'log-truncated')
  const { policy } = harness({ ...world, epoch: [4, 12] }, { onOffsetLoss: 'continue' })
  assert.equal((await policy.position()).offset, 40, 'never before the log')
})

test('a log that knows nothing of the epoch has lost it, though an older epoch goes beyond the offset', async () => {
  for (const epoch of [
    [-1, -1],
    [4, 90],
  ] as const) {
    const { code, text } = await loss({ committed: marked(70, 5), epoch })
    assert.equal(code, 'log-truncated')
    assert.match(text, /no longer has the records before offset 70 .* it knows nothing of their leader epoch 5/)
  }
})

test('an offset that appears while it is looked for is taken', async () => {
  const { script, policy } = harness({ committed: marked(70, 5), epoch: [5, 100] })
  script.next('offsetFetch', {
    responses: [{ topic: 'in', partitions: [{ partition: 2, offset: '-1', metadata: '' }] }],
  })
  assert.equal((await policy.position()).offset, 70)
})

test('ON_OFFSET_LOSS=continue reads on where the message says, is to be committed at once, and is told of once', async () => {
  for (const [startFrom, offset] of [
    ['earliest', 40],
    ['latest', 100],
  ] as const) {
    const { policy, warnings, logs } = harness({ committed: marked(7, 5) }, { onOffsetLoss: 'continue', startFrom })
    assert.deepEqual(await policy.position(), { offset, committed: false, settled: false })
    await policy.position()
    assert.equal(warnings.length, 1)
    assert.match(warnings[0]!, /^offset-out-of-range: A loss is accepted\. .*Records 7 to 39 \(33\) were deleted/)
    assert.equal(logs.get(2)!.epochBefore(offset), undefined, 'the epoch of what was lost is not that of what follows')
  }
})

test('an offset that stands in for a lost one halts the task at every start, until a person accepts the loss', async () => {
  for (const metadata of [formatMark({ topicId: TOPIC_ID, lost: true }), 'sluice: the committed offset was missing']) {
    const committed = { offset: 50, metadata }
    const { code, text } = await loss({ committed })
    assert.equal(code, 'offset-missing')
    assert.match(
      text,
      /Group g .* in\/2 .* gone .*\. The log holds 40 to 99; .*continue begins at offset 50, which may/,
    )
    const accepting = harness({ committed }, { onOffsetLoss: 'continue' })
    assert.deepEqual(await accepting.policy.position(), { offset: 50, committed: false, settled: false })
    assert.equal(accepting.policy.mark(50, undefined), `sluice topic-id=${TOPIC_ID}`)
  }
})

test('an offset that is gone between two looks halts the task', async () => {
  const { code, text } = await loss({})
  assert.equal(code, 'offset-missing')
  assert.match(text, /Group g .* in\/2 .* offset 40/)
})

test('an offset that goes between two looks because the topic is deleted is known to belong to the old one', async () => {
  const { script, policy, logs, pinned } = harness()
  logs.set(2, new PartitionLog(OLD_ID, 60, 60, undefined))
  const gone = offsetAnswer(undefined)
  script.next('offsetFetch', gone, gone, gone, () =>
    offsetAnswer({ ...pinned()[0], offset: Number(pinned()[0].offset) }),
  )
  await assert.rejects(policy.position(), { code: 'topic-recreated', message: /committed offset 60 .* the id ASNF/ })
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

test('while the leader does not say where the epoch ends, nothing is read', async () => {
  const { script, policy, logs } = harness({ committed: marked(70, 5) })
  script.next('offsetforleaderepoch', brokerError('NOT_LEADER_FOR_PARTITION'))
  await assert.rejects(policy.position(), { code: 'broker-unreachable', message: /leader epoch 5 of in\/2/ })
  assert.equal(logs.size, 0)
})

test('a first offset whose commit got no answer ends the membership, so that it cannot arrive late; a refusal does not', async () => {
  for (const [api, answer, renounced] of [
    ['offsetCommit', closed(), ['m-1']],
    ['offsetCommit', brokerError('GROUP_AUTHORIZATION_FAILED'), []],
    ['offsetFetch', closed(), []],
  ] as const) {
    const asked: string[] = []
    const renounce = async (memberId: string) => {
      asked.push(memberId)
    }
    const { script, policy } = harness({}, { renounce })
    script.next(api, answer)
    await assert.rejects(policy.pinFirstOffset())
    assert.deepEqual(asked, renounced, `${api}: ${answer.message}`)
  }
})
