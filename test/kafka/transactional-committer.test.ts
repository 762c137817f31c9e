import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLog } from '../../src/core/log.ts'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import { KafkaOutputWriter } from '../../src/kafka/output-writer.ts'
import type { PartitionLog } from '../../src/kafka/partition-log.ts'
import { StartPolicy } from '../../src/kafka/start-policy.ts'
import { TransactionalCommitter } from '../../src/kafka/transactional-committer.ts'
import type { TransactionState } from '../../src/kafka/transactional-ids.ts'
import { TransactionalProducer } from '../../src/kafka/transactional-producer.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'
import { batchOf } from '../pipeline/fake-codec.ts'
import {
  type Asked,
  brokerError,
  closed,
  lastTransaction,
  produced,
  ScriptedCluster,
  TOPIC_ID,
} from './scripted-cluster.ts'

const MODEL = { name: 'iris', version: '3', sha256: '0123456789abcdef', provider: 'cpu' }

/** The metadata of an offset of the topic that is there now. */
const MARK = `sluice topic-id=${TOPIC_ID}`

interface Committed {
  readonly offset: string
  readonly metadata: string
}

/** A committer in front of a group that keeps its offset, whoever commits it. */
class Harness {
  readonly script = new ScriptedCluster()
  readonly clock = new FakeClock()
  readonly committer: TransactionalCommitter
  /** That of the group is looked up again before the next request. */
  readonly forgetCoordinator: () => void
  refreshes = 0
  stored: Committed | undefined
  readonly logs = new Map<number, PartitionLog>()
  /** The epoch that the next initialisation gives; the id was used before unless it is 0. */
  epoch = 0
  /** What became of the id's last transaction. */
  last: TransactionState = 'CompleteAbort'

  constructor(options: { stored?: Committed; epoch?: number; onOffsetLoss?: 'stop' | 'continue' } = {}) {
    this.stored = options.stored
    this.epoch = options.epoch ?? 0
    const { cluster } = this.script
    let pending: Committed | undefined
    const offsetIn = ({ request }: Asked): Committed => {
      const { offset, metadata } = request.topics[0].partitions[0]
      return { offset, metadata }
    }
    this.script
      .otherwise('offsetCommit', (asked: Asked) => {
        this.stored = offsetIn(asked)
      })
      .otherwise('txnOffsetCommit', (asked: Asked) => {
        pending = offsetIn(asked)
      })
      .otherwise('endTxn', ({ request }: Asked) => {
        if (request.transactionResult) this.stored = pending ?? this.stored
        pending = undefined
      })
      .otherwise('describetransactions', () =>
        lastTransaction(this.epoch > 0 ? { state: this.last, producerEpoch: this.epoch - 1 } : undefined),
      )
      .otherwise('initProducerId', () => ({ producerId: '4000', producerEpoch: this.epoch++ }))
      .otherwise('listOffsets', () => ({ responses: [{ topic: 'in', partitions: [{ partition: 2, offset: '40' }] }] }))
      .otherwise('offsetFetch', () => {
        const { offset = '-1', metadata = '' } = this.stored ?? {}
        return { responses: [{ topic: 'in', partitions: [{ partition: 2, offset, metadata }] }] }
      })
    const { clock } = this
    const groupCoordinator = new Coordinator(cluster, 'group', 'g', clock)
    this.forgetCoordinator = () => groupCoordinator.forget()
    const shared = { cluster, groupCoordinator, groupId: 'g', topic: 'in', partition: 2, requestTimeoutMs: 1_000 }
    const producer = new TransactionalProducer({
      ...shared,
      transactionalId: 'g.in.2',
      transactionTimeoutMs: 30_000,
      clock,
      coordinator: new Coordinator(cluster, 'transaction', 'g.in.2', clock),
    })
    this.committer = new TransactionalCommitter({
      topic: 'in',
      partition: 2,
      output: new KafkaOutputWriter({
        outputTopic: 'out',
        deadLetterTopic: 'dlq',
        shadowTopic: 'out.shadow',
        timelineTopic: 'timeline',
        partitionCounts: () => ({ input: 4, output: 4, deadLetter: 4, shadow: 0 }),
        clock,
        maxBatchBytes: 1 << 20,
      }),
      start: new StartPolicy({
        ...shared,
        startFrom: 'earliest',
        onOffsetLoss: options.onOffsetLoss ?? 'stop',
        generation: () => ({ memberId: 'm', generationId: 1, partitions: [2], continuous: true }),
        logs: this.logs,
        usedBefore: () => producer.usedBefore(),
        log: silentLog,
      }),
      producer,
      refresh: async () => {
        this.refreshes++
      },
    })
  }

  /** Requests, without the lookups of coordinators. */
  get apis(): string[] {
    return this.script.apis.filter(api => api !== 'findCoordinator')
  }

  predict(offset: number): void {
    this.committer.output.prediction(batchOf([offset], undefined, 2), 0, Buffer.from('p'), 1, MODEL, 'stable')
  }
}

test('the id is fenced before the committed offset is believed', async () => {
  const harness = new Harness({ stored: { offset: '40', metadata: MARK }, epoch: 5 })
  assert.deepEqual(await harness.committer.initialise(), { offset: 40, committed: true })
  const fenced = harness.apis.indexOf('initProducerId')
  assert.ok(harness.apis.indexOf('offsetFetch', fenced) > fenced, 'read after the fence')
  assert.ok(!harness.apis.includes('offsetCommit'))
})

test('a partition that the group never read is pinned before the id is used for the first time', async () => {
  const harness = new Harness()
  assert.deepEqual(await harness.committer.initialise(), { offset: 40, committed: false })
  const order = ['describetransactions', 'offsetCommit', 'initProducerId'].map(api => harness.apis.indexOf(api))
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
  )
  assert.deepEqual(harness.stored, { offset: '40', metadata: MARK })
  assert.ok(!harness.apis.includes('endTxn'), 'the pin is all there is to say')
})

test('a start that ends between the pin and the id, or before its answer, has lost nothing', async () => {
  for (const carriedOut of [false, true]) {
    const harness = new Harness()
    harness.script.next('initProducerId', () => {
      if (carriedOut) harness.epoch++
      return closed()
    })
    await assert.rejects(harness.committer.initialise(), { code: 'broker-unreachable' })
    assert.deepEqual(await harness.committer.initialise(), { offset: 40, committed: true })
  }
})

test('no offset, but an id that was used: the offset was lost, and every start says so until it is accepted', async () => {
  const harness = new Harness({ epoch: 7 })
  await assert.rejects(harness.committer.initialise(), { code: 'offset-missing', response: 'halt' })
  assert.deepEqual(harness.stored, { offset: '40', metadata: `sluice lost topic-id=${TOPIC_ID}` })
  assert.ok(!harness.apis.includes('produce'))

  const { stored } = harness
  await assert.rejects(new Harness({ ...(stored && { stored }), epoch: 8 }).committer.initialise(), {
    code: 'offset-missing',
  })
  const accepting = new Harness({ ...(stored && { stored }), epoch: 9, onOffsetLoss: 'continue' })
  assert.equal((await accepting.committer.initialise()).offset, 40)
  assert.deepEqual(accepting.stored, { offset: '40', metadata: MARK }, 'and then it is over, though nothing was read')
})

test('a lost offset is known as one also if the start that found it missing got no further', async () => {
  const harness = new Harness({ epoch: 7 })
  harness.script.next('initProducerId', closed())
  await assert.rejects(harness.committer.initialise(), { code: 'broker-unreachable' })
  await assert.rejects(harness.committer.initialise(), { code: 'offset-missing' })
})

test('an accepted loss is committed at once, by a transaction without output', async () => {
  const harness = new Harness({ stored: { offset: '7', metadata: MARK }, epoch: 7, onOffsetLoss: 'continue' })
  assert.deepEqual(await harness.committer.initialise(), { offset: 40, committed: false })
  assert.deepEqual(harness.stored, { offset: '40', metadata: MARK })
  assert.ok(harness.apis.indexOf('endTxn') > harness.apis.indexOf('initProducerId'))
  assert.ok(!harness.apis.includes('produce') && !harness.apis.includes('offsetCommit'))
})

test('an offset that a person has set gets its mark at once', async () => {
  const harness = new Harness({ stored: { offset: '40', metadata: '' }, epoch: 7 })
  assert.deepEqual(await harness.committer.initialise(), { offset: 40, committed: true })
  assert.deepEqual(harness.stored, { offset: '40', metadata: MARK })
})

test('after a reconnection the last transaction is ended again first, and what was read stands', async () => {
  const harness = new Harness({ stored: { offset: '40', metadata: MARK }, epoch: 7 })
  await harness.committer.initialise()
  harness.predict(40)
  harness.script.reconnect()
  harness.script.asked.length = 0
  harness.last = 'CompleteCommit'
  await harness.committer.commit(41)
  const ends = harness.script.of('endTxn').map(({ request }) => request.transactionResult)
  assert.deepEqual([ends, harness.stored?.offset], [[true, true], '41'])
  assert.ok(harness.apis.indexOf('offsetFetch') > harness.apis.lastIndexOf('initProducerId'))
  assert.equal(harness.script.of('produce').length, 1)
})

test('after a reconnection an offset that somebody else has moved ends the run', async () => {
  const harness = new Harness({ stored: { offset: '40', metadata: MARK }, epoch: 7 })
  await harness.committer.initialise()
  harness.predict(40)
  harness.script.reconnect()
  harness.stored = { offset: '45', metadata: MARK }
  await assert.rejects(harness.committer.commit(41), { code: 'transaction-unknown', message: /is 45, not 40/ })
  assert.equal(harness.script.of('produce').length, 0)
})

test('an offset read from a broker that is no longer the coordinator is not built upon', async () => {
  const harness = new Harness({ stored: { offset: '40', metadata: MARK }, epoch: 7 })
  await harness.committer.initialise() // of a broker that was paused, and does not know that another went on to 45
  harness.stored = { offset: '45', metadata: MARK }
  harness.predict(40)
  harness.script.coordinator = 2
  harness.script.next('txnOffsetCommit', brokerError('NOT_COORDINATOR_FOR_GROUP'))
  harness.script.asked.length = 0
  const refused = assert.rejects(harness.committer.commit(41), { code: 'transaction-unknown', message: /has changed/ })
  await harness.clock.advance(100)
  await refused
  assert.deepEqual(
    harness.script.of('txnOffsetCommit').map(({ node }) => node),
    [1],
  )
  assert.ok(!harness.apis.includes('endTxn'))
  assert.equal(harness.stored.offset, '45')
})

test('once a transaction has shown who the coordinator is, another may take its place', async () => {
  const harness = new Harness({ stored: { offset: '40', metadata: MARK }, epoch: 7 })
  await harness.committer.initialise()
  await harness.committer.commit(41)
  harness.script.coordinator = 2
  harness.script.next('txnOffsetCommit', brokerError('NOT_COORDINATOR_FOR_GROUP'))
  const committed = harness.committer.commit(42)
  await harness.clock.advance(100)
  await committed
  assert.deepEqual(
    harness.script.of('txnOffsetCommit').map(({ node }) => node),
    [1, 1, 2],
  )
  assert.equal(harness.stored?.offset, '42')
})

test('where the coordinator has changed before the first transaction, the offset is read again', async () => {
  for (const moved of [false, true]) {
    const harness = new Harness({ stored: { offset: '40', metadata: MARK }, epoch: 7 })
    await harness.committer.initialise()
    harness.predict(40)
    harness.forgetCoordinator()
    harness.script.coordinator = 2
    harness.script.asked.length = 0
    if (moved) harness.stored = { offset: '45', metadata: MARK }
    const commit = harness.committer.commit(41)
    if (moved) await assert.rejects(commit, { code: 'transaction-unknown', message: /is 45, not 40/ })
    else await commit
    assert.deepEqual([harness.script.of('offsetFetch').length, harness.script.of('produce').length], [1, moved ? 0 : 1])
  }
})

test('a start that is refused lets the metadata be read again, a fenced one does not', async () => {
  for (const [type, refreshes] of [
    ['UNKNOWN_TOPIC_OR_PARTITION', 1],
    ['INVALID_PRODUCER_EPOCH', 0],
  ] as const) {
    const harness = new Harness({ stored: { offset: '40', metadata: MARK }, epoch: 7 })
    harness.script.next('addPartitionsToTxn', brokerError(type))
    await assert.rejects(harness.committer.initialise())
    assert.equal(harness.refreshes, refreshes, type)
  }
})

test('a transaction carries what was written until then; what is written meanwhile is in the next', async () => {
  const harness = new Harness({ stored: { offset: '40', metadata: MARK } })
  await harness.committer.initialise()
  harness.predict(40)
  harness.predict(41)
  const held = harness.script.hold('produce')
  const first = harness.committer.commit(42)
  harness.predict(42)
  await settle()
  const [produce] = harness.script.of('produce')
  assert.deepEqual(
    produce!.request.map(({ topic, partition, records }: { topic: string; partition: number; records: number }) => [
      topic,
      partition,
      records,
    ]),
    [['out', 2, 2]],
  )
  held.answer(produced(produce!.request))
  await first
  assert.equal(harness.stored?.offset, '42')
  await harness.committer.commit(43)
  assert.equal(harness.script.of('produce')[1]!.request[0].records, 1)
  assert.deepEqual(harness.stored, { offset: '43', metadata: MARK })
})

test('initialising throws away what was written, also what a failed transaction had taken', async () => {
  const harness = new Harness({ stored: { offset: '40', metadata: MARK } })
  await harness.committer.initialise()
  harness.predict(40)
  harness.script.next('endTxn', closed())
  await assert.rejects(harness.committer.commit(41), { code: 'transaction-unknown' })
  harness.predict(41)
  await harness.committer.initialise()
  assert.equal(harness.committer.output.records, 0)
  harness.predict(40)
  await harness.committer.commit(41)
  assert.equal(harness.script.of('produce').at(-1)!.request[0].records, 1)
})

test('closing keeps nothing and asks nobody', async () => {
  const harness = new Harness({ stored: { offset: '40', metadata: MARK } })
  await harness.committer.initialise()
  harness.predict(40)
  const asked = harness.script.asked.length
  await harness.committer.close()
  assert.equal(harness.committer.output.records, 0)
  assert.equal(harness.script.asked.length, asked)
})

test('a member that was replaced while it initialised is fenced', async () => {
  const harness = new Harness()
  harness.script.next('offsetCommit', brokerError('ILLEGAL_GENERATION'))
  await assert.rejects(harness.committer.initialise(), { name: 'FencedError' })
  assert.ok(!harness.apis.includes('initProducerId'), 'the new owner is not disturbed')
})

test('what a failed transaction had taken is not written to again: it may still be on its way to a socket', async () => {
  const harness = new Harness({ stored: { offset: '40', metadata: MARK }, epoch: 7 })
  await harness.committer.initialise()
  const memories: ArrayBufferLike[] = []
  const { output } = harness.committer
  const take = output.take.bind(output)
  output.take = () => {
    const taken = take()
    const options = { producerId: 1n, producerEpoch: 0, baseSequence: 0, transactional: true }
    for (const writer of taken) memories.push(writer.seal(options).bytes.buffer)
    return taken
  }
  for (const fate of ['fails', 'succeeds', 'succeeds'] as const) {
    harness.predict(40)
    if (fate === 'fails') harness.script.next('produce', closed())
    const commit = harness.committer.commit(41)
    if (fate === 'succeeds') await commit
    else {
      await assert.rejects(commit)
      await harness.committer.initialise()
    }
  }
  const [failed, second, third] = memories
  assert.notEqual(second, failed)
  assert.equal(third, second, 'that of one that succeeded is used again')
})

for (const type of ['NOT_COORDINATOR_FOR_GROUP', 'GROUP_LOAD_IN_PROGRESS']) {
  test(`who answers ${type} may have been replaced since the offset was read, and elected again`, async () => {
    const harness = new Harness({ stored: { offset: '40', metadata: MARK }, epoch: 7 })
    await harness.committer.initialise()
    harness.script.next('txnOffsetCommit', brokerError(type))
    const refused = assert.rejects(harness.committer.commit(41), {
      code: 'transaction-unknown',
      message: /has changed/,
    })
    await harness.clock.advance(1_000)
    await refused
    assert.equal(harness.stored?.offset, '40')
  })
}
