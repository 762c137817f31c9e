import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { strayOffsets } from '../../src/auditing/audit-offsets.ts'
import { GroupView } from '../../src/kafka/group-view.ts'
import { sizeOfCompactString, WireWriter } from '../../src/kafka/wire.ts'
import { FakeClock } from '../pipeline/fake-clock.ts'

const MINUTE = 60_000
const ID = 'group.in.0'

/** A broker that coordinates a group and its transactions, as far as a view of the group asks it. */
class Coordinators {
  /** Answers in turn; the last one for ever. */
  committed: number[] = [0]
  members = 0
  /** When the open transaction began, in turn: none where it is undefined. */
  open: (number | undefined)[] = [undefined]
  readonly clock = new FakeClock()
  #startedAt: number | undefined

  get view(): GroupView {
    const next = <T>(answers: T[]): T => (answers.length > 1 ? answers.shift()! : answers[0]!)
    const send = async ({
      request,
      response,
    }: {
      request: KafkajsProtocolRequest
      response: KafkajsProtocolResponse<unknown>
    }) => {
      if (request.apiName === 'ListTransactions') this.#startedAt = next(this.open)
      const raw = request.apiName === 'ListTransactions' ? listed(this.#startedAt) : described(this.#startedAt!)
      return response.parse(await response.decode(raw))
    }
    const broker = {
      connectionPool: { send },
      describeGroups: async () => ({
        groups: [{ members: Array(this.members).fill({ memberId: 'm', clientId: 'c', clientHost: '/h' }) }],
      }),
      offsetFetch: async () => {
        const partitions = [{ partition: 0, offset: String(next(this.committed)), metadata: '' }]
        return { responses: [{ topic: 'in', partitions }] }
      },
    }
    const cluster = {
      brokerPool: { brokers: { 1: broker } },
      connect: async () => {},
      refreshMetadata: async () => {},
      refreshMetadataIfNecessary: async () => {},
      findBroker: async () => broker,
      findGroupCoordinator: async () => broker,
    } as unknown as KafkajsCluster
    return new GroupView({ cluster, groupId: 'group', topic: 'in', partitions: 1, clock: this.clock })
  }
}

function listed(startedAt: number | undefined): Buffer {
  const ids = startedAt === undefined ? [] : [ID, 'somebody.else.0']
  const size = ids.reduce((sum, id) => sum + sizeOfCompactString(id) + 8 + sizeOfCompactString('Ongoing') + 1, 10)
  const writer = new WireWriter(size - 1).noTags().int32(0).int16(0).compactCount(0).compactCount(ids.length)
  for (const id of ids) writer.compactString(id).int64(7).compactString('Ongoing').noTags()
  return writer.finish().buffer
}

function described(startedAt: number): Buffer {
  const size = 6 + 2 + sizeOfCompactString(ID) + sizeOfCompactString('Ongoing') + 4 + 8 + 8 + 2 + 1 + 1
  const writer = new WireWriter(size).noTags().int32(0).compactCount(1).int16(0).compactString(ID)
  writer.compactString('Ongoing').int32(MINUTE).int64(startedAt).int64(7).int16(0).compactCount(0).noTags()
  return writer.finish().buffer
}

suite('a group, seen from outside', () => {
  test('offsets that seem behind are looked at until they are not', async () => {
    const brokers = new Coordinators()
    brokers.committed = [2, 2, 5]
    const settled = brokers.view.settledOffsets(([offset]) => offset! < 5, MINUTE)
    await brokers.clock.advance(1_000)
    assert.deepEqual(await settled, [5])
  })

  test('or until patience ends', async () => {
    const brokers = new Coordinators()
    brokers.committed = [2]
    const settled = brokers.view.settledOffsets(([offset]) => offset! < 5, 2_000)
    await brokers.clock.advance(2_100)
    assert.deepEqual(await settled, [2])
  })

  const stranded = async (brokers: Coordinators, patienceMs = 2_000) => {
    const found = brokers.view.strandedTransactions(patienceMs)
    await brokers.clock.advance(patienceMs + 100)
    return found
  }

  test('transactions of a group without members are stranded when they stay', async () => {
    const brokers = new Coordinators()
    brokers.open = [brokers.clock.wallTime()]
    assert.deepEqual(await stranded(brokers), [ID])
  })

  test('transactions of a group at work come and go', async () => {
    const brokers = new Coordinators()
    brokers.members = 1
    brokers.open = [brokers.clock.wallTime()]
    assert.deepEqual(await stranded(brokers), [], 'one that stays within its time-out')
    brokers.open = [1, 2, 3].map(ms => brokers.clock.wallTime() + ms)
    assert.deepEqual(await stranded(brokers), [], 'one after another of the same id')
    brokers.members = 0
    brokers.open = [brokers.clock.wallTime(), undefined]
    assert.deepEqual(await stranded(brokers), [], 'the last one of a group that has just stopped')
  })

  test('a transaction that has outlived its time-out is stranded, whoever is there', async () => {
    const brokers = new Coordinators()
    brokers.members = 1
    brokers.open = [brokers.clock.wallTime() - 2 * MINUTE]
    assert.deepEqual(await stranded(brokers), [ID])
  })
})

suite('offsets that may be astray', () => {
  const [OLD, NEW] = ['b2xkb2xkb2xkb2xkb2xkbw', 'bmV3bmV3bmV3bmV3bmV3bg'] as const

  /** A group at `offset` of topic `of`, and a leader that answers with these ids in turn, and ends its log at 5. */
  const look = async (offset: number, of: string | undefined, ids: readonly string[]) => {
    const clock = new FakeClock()
    const answers = [...ids]
    const topics = () => [{ errorCode: 0, name: 'in', topicId: answers.length > 1 ? answers.shift() : answers[0] }]
    const leader = {
      connectionPool: { send: async () => ({ topics: topics() }) },
      listOffsets: async () => ({ responses: [{ partitions: [{ partition: 0, offset: '5' }] }] }),
    }
    const cluster = {
      findTopicPartitionMetadata: () => [{ partitionId: 0, leader: 1 }],
      findBroker: async () => leader,
    } as unknown as KafkajsCluster
    const mark = of === undefined ? undefined : { topicId: of }
    const group = { committedWithMarks: async () => [{ offset, mark }] } as unknown as GroupView
    const found = strayOffsets(group, { cluster, topic: 'in', partitions: 1, clock })
    await clock.advance(1_000)
    return found
  }

  test('are those of another topic, or past the end', async () => {
    assert.deepEqual(await look(5, NEW, [NEW]), [])
    assert.deepEqual(await look(5, undefined, [NEW]), [])
    assert.deepEqual(await look(-1, undefined, [NEW]), [])
    assert.deepEqual(await look(6, NEW, [NEW]), [{ partition: 0, offset: 6, end: 5 }])
    assert.deepEqual(await look(3, OLD, [NEW]), [{ partition: 0, offset: 3, end: 5, deletedTopicId: OLD }])
  })

  test('and not those of a topic that the leader has not heard of yet', async () => {
    assert.deepEqual(await look(3, NEW, [OLD, NEW]), [])
  })
})
