import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLog } from '../../src/core/log.ts'
import { FencedError } from '../../src/core/transaction.ts'
import { AtLeastOnceCommitter } from '../../src/kafka/at-least-once-committer.ts'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import type { Assignment } from '../../src/kafka/membership.ts'
import { KafkaOutputWriter } from '../../src/kafka/output-writer.ts'
import { StartPolicy } from '../../src/kafka/start-policy.ts'
import { FakeClock } from '../pipeline/fake-clock.ts'
import { batchOf } from '../pipeline/fake-codec.ts'
import { type Asked, brokerError, closed, ScriptedCluster, TOPIC_ID } from './scripted-cluster.ts'

const MODEL = { name: 'iris', version: '3', sha256: '0123456789abcdef', provider: 'cpu' }
const MARK = `sluice topic-id=${TOPIC_ID}`

/** A committer of in/2, in front of a group that has committed an offset. */
class Harness {
  readonly script = new ScriptedCluster()
  readonly clock = new FakeClock()
  readonly committer: AtLeastOnceCommitter
  member: Assignment | undefined = { memberId: 'm', generationId: 1, partitions: [2], continuous: true }
  stored: { offset: string; metadata: string }

  constructor(stored = { offset: '40', metadata: MARK }, onOffsetLoss: 'stop' | 'continue' = 'stop') {
    this.stored = stored
    const { clock } = this
    const { cluster } = this.script
    this.script
      .otherwise('offsetCommit', ({ request }: Asked) => {
        const { offset, metadata } = request.topics[0].partitions[0]
        this.stored = { offset, metadata }
      })
      .otherwise('listOffsets', () => ({ responses: [{ topic: 'in', partitions: [{ partition: 2, offset: '40' }] }] }))
      .otherwise('offsetFetch', () => ({
        responses: [{ topic: 'in', partitions: [{ partition: 2, ...this.stored }] }],
      }))
    this.script.broker(1)
    const groupCoordinator = new Coordinator(cluster, 'group', 'g', clock)
    const shared = { cluster, groupCoordinator, groupId: 'g', topic: 'in', partition: 2, requestTimeoutMs: 1_000 }
    const policy = { startFrom: 'earliest', onOffsetLoss, logs: new Map(), log: silentLog } as const
    this.committer = new AtLeastOnceCommitter({
      ...shared,
      clock,
      output: new KafkaOutputWriter({
        outputTopic: 'out',
        deadLetterTopic: 'dlq',
        shadowTopic: 'out.shadow',
        timelineTopic: 'timeline',
        partitionCounts: () => ({ input: 4, output: 4, deadLetter: 4, shadow: 0 }),
        clock,
        maxBatchBytes: 1 << 20,
      }),
      start: new StartPolicy({ ...shared, ...policy, generation: () => this.member }),
    })
  }

  predict(offset: number): void {
    this.committer.output.prediction(batchOf([offset], undefined, 2), 0, Buffer.from('p'), 1, MODEL, 'stable')
  }
}

test('the offset is committed after the output is acknowledged, in the name of the generation', async () => {
  const harness = new Harness()
  assert.deepEqual(await harness.committer.initialise(), { offset: 40, committed: true })
  harness.predict(40)
  await harness.committer.commit(41)
  const { apis } = harness.script
  assert.ok(apis.indexOf('offsetCommit') > apis.indexOf('produce'))
  assert.deepEqual(harness.stored, { offset: '41', metadata: MARK })
  const { groupGenerationId, memberId } = harness.script.of('offsetCommit')[0]!.request
  assert.deepEqual([groupGenerationId, memberId], [1, 'm'])
})

test('an offset whose output was not acknowledged is not committed', async () => {
  const harness = new Harness()
  await harness.committer.initialise()
  harness.predict(40)
  harness.script.next('produce', closed())
  await assert.rejects(harness.committer.commit(41))
  assert.equal(harness.script.of('offsetCommit').length, 0)
})

test('a former owner that still drains commits nothing in a generation in which the partition is another’s', async () => {
  const harness = new Harness()
  await harness.committer.initialise()
  harness.predict(40)
  harness.member = { memberId: 'm', generationId: 2, partitions: [0], continuous: true }
  await assert.rejects(harness.committer.commit(41), FencedError)
  assert.equal(harness.script.of('offsetCommit').length, 0)
})

test('so it is when the partition goes while the group rebalances', async () => {
  const harness = new Harness()
  await harness.committer.initialise()
  harness.script.next('offsetCommit', () => {
    harness.member = { memberId: 'm', generationId: 2, partitions: [0], continuous: true }
    return brokerError('REBALANCE_IN_PROGRESS')
  })
  const refused = assert.rejects(harness.committer.commit(41), FencedError)
  await harness.clock.advance(100)
  await refused
  assert.equal(harness.script.of('offsetCommit').length, 1)
})

test('a partition that stays is committed in the next generation', async () => {
  const harness = new Harness()
  await harness.committer.initialise()
  harness.script.next('offsetCommit', () => {
    harness.member = { memberId: 'm', generationId: 2, partitions: [2], continuous: true }
    return brokerError('REBALANCE_IN_PROGRESS')
  })
  const committed = harness.committer.commit(41)
  await harness.clock.advance(100)
  await committed
  assert.equal(harness.script.of('offsetCommit')[1]!.request.groupGenerationId, 2)
  assert.equal(harness.stored.offset, '41')
})

test('an accepted loss is committed at once', async () => {
  const harness = new Harness({ offset: '7', metadata: MARK }, 'continue')
  assert.deepEqual(await harness.committer.initialise(), { offset: 40, committed: false })
  assert.deepEqual(harness.stored, { offset: '40', metadata: MARK })
})
