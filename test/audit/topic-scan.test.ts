import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import { offsetOf } from '../../src/core/record-batch.ts'
import { TopicScan } from '../../src/kafka/topic-scan.ts'
import { sizeOfUvarint, WireWriter } from '../../src/kafka/wire.ts'
import {
  type Asked,
  type AskedPartition,
  closed,
  described,
  ScriptedCluster,
  TOPIC_ID,
} from '../kafka/scripted-cluster.ts'
import { stockBatch } from '../kafka/stock.ts'

const LIMITS = { patienceMs: 1_000 }
const NOT_LEADER = 6
const NOT_AUTHORISED = 29
const UNKNOWN_TOPIC_ID = 100
/** The id of a topic of the same name that was made later. */
const NEW_ID = 'bmV3LXRvcGljLWlkLS0tLQ'
const END = 1_000

interface Part {
  readonly errorCode?: number
  readonly records?: Buffer
}

/** A Fetch response, by partition. */
function answer(parts: Record<number, Part>): Buffer {
  const encoded = Object.entries(parts).map(([partition, { errorCode = 0, records = Buffer.alloc(0) }]) => {
    const head = new WireWriter(35 + sizeOfUvarint(records.length + 1)).int32(Number(partition)).int16(errorCode)
    head.int64(END).int64(END).int64(0).compactCount(0).int32(-1).compactCount(records.length)
    return Buffer.concat([head.finish().buffer, records, Buffer.of(0)])
  })
  const head = new WireWriter(28 + sizeOfUvarint(encoded.length + 1)).noTags().int32(0).int16(0).int32(0)
  head.compactCount(1).uuid(TOPIC_ID).compactCount(encoded.length)
  return Buffer.concat([head.finish().buffer, ...encoded, Buffer.of(0, 0)])
}

const records = (firstOffset: number, count: number) =>
  stockBatch(
    Array.from({ length: count }, (_, i) => ({
      timestamp: 0,
      key: null,
      value: Buffer.from(`${firstOffset + i}`),
      headers: {},
    })),
    { firstOffset },
  )

/** Two records of each partition that is asked for, from where it is asked for. */
const twoOfEach = async ({ request }: Asked) => {
  const parts = (request as AskedPartition[]).map(async ({ partition, position }) => {
    return [partition, { records: await records(position, 2) }] as const
  })
  return answer(Object.fromEntries(await Promise.all(parts)))
}

/** A scan of two partitions, and what it has seen and complained of. */
function scanOf(scripted: ScriptedCluster) {
  const seen: number[][] = [[], []]
  const troubles: (string | undefined)[] = []
  const scan = new TopicScan({
    cluster: scripted.cluster,
    topic: 'in',
    start: [0, 0],
    clock: systemClock,
    accept: batch => {
      for (let i = 0; i < batch.count; i++) seen[batch.partition]!.push(offsetOf(batch, i))
    },
    onTrouble: error => troubles.push(error?.code),
  })
  return { scan, seen, troubles }
}

suite('reading from brokers that fail', { timeout: 20_000 }, () => {
  test('asks all leaders at once, and each partition of its own leader', async () => {
    const scripted = new ScriptedCluster().otherwise('fetch', twoOfEach)
    scripted.leaders['in/1'] = 2
    const { scan, seen } = scanOf(scripted)
    assert.deepEqual(await scan.readTo([4, 2], LIMITS), [])
    assert.deepEqual(seen, [
      [0, 1, 2, 3],
      [0, 1],
    ])
    const asked = scripted
      .of('fetch')
      .map(({ node, request }) => `${node}: ${request.map((p: AskedPartition) => p.partition)}`)
    assert.deepEqual(asked.sort(), ['1: 0', '1: 0', '2: 1'])
  })

  test('follows a leader that moves; nothing is read twice', async () => {
    const scripted = new ScriptedCluster().otherwise('fetch', twoOfEach)
    scripted.next('fetch', twoOfEach, async () =>
      answer({ 0: { errorCode: NOT_LEADER }, 1: { records: await records(2, 2) } }),
    )
    scripted.onRefresh = () => {
      scripted.leaders['in/0'] = 2
    }
    const { scan, seen, troubles } = scanOf(scripted)
    assert.deepEqual(await scan.readTo([6, 6], LIMITS), [])
    assert.deepEqual(seen, [
      [0, 1, 2, 3, 4, 5],
      [0, 1, 2, 3, 4, 5],
    ])
    assert.deepEqual(troubles, ['broker-unreachable', undefined])
    assert.equal(scripted.refreshes, 1)
  })

  test('gets a new connection to a broker that does not answer', async () => {
    const scripted = new ScriptedCluster().otherwise('fetch', twoOfEach).next('fetch', closed(), closed())
    const { scan, seen, troubles } = scanOf(scripted)
    assert.deepEqual(await scan.readTo([2, 2], LIMITS), [])
    assert.deepEqual(seen, [
      [0, 1],
      [0, 1],
    ])
    assert.deepEqual(troubles, ['broker-unreachable', 'broker-unreachable', undefined])
    assert.deepEqual(scripted.forgotten, [1, 1])
  })

  test('waits for a leader', async () => {
    const scripted = new ScriptedCluster().otherwise('fetch', twoOfEach)
    scripted.leaders['in/1'] = -1
    scripted.onRefresh = () => {
      if (scripted.refreshes === 2) scripted.leaders['in/1'] = 3
    }
    const { scan, seen } = scanOf(scripted)
    assert.deepEqual(await scan.readTo([2, 2], LIMITS), [])
    assert.deepEqual(seen, [
      [0, 1],
      [0, 1],
    ])
  })

  test('leaves what lies beyond the ends to the next reading', async () => {
    const two = async () => Buffer.concat([await records(0, 3), await records(3, 3)])
    const scripted = new ScriptedCluster()
    scripted.next('fetch', async () => answer({ 0: { records: await two() } }))
    const { scan, seen } = scanOf(scripted)
    assert.deepEqual(await scan.readTo([3, 0], LIMITS), [])
    assert.deepEqual(
      [seen[0], scan.positions],
      [
        [0, 1, 2],
        [3, 0],
      ],
    )
    scripted.next('fetch', async () => answer({ 0: { records: await two() } }))
    assert.deepEqual(await scan.readTo([6, 0], LIMITS), [])
    assert.deepEqual(seen[0], [0, 1, 2, 3, 4, 5])
  })

  /** The topic was created again: its records are those from 0 on, and leader 1 is the first to say so. */
  const createdAgain = (scripted: ScriptedCluster, onBegun = () => {}) => {
    scripted.leaders['in/1'] = 2
    scripted.next('metadata', described('in'), described('in')) // each leader is asked before the first fetch
    scripted.otherwise('metadata', described('in', NEW_ID))
    scripted.otherwise('listOffsets', ({ request }: Asked) => {
      setImmediate(onBegun) // what the scan does about the answer takes no time
      const [{ partitions }] = request.topics
      return { responses: [{ topic: 'in', partitions: partitions.map((each: object) => ({ ...each, offset: '0' })) }] }
    })
  }
  const refusal = (partition: number) => answer({ [partition]: { errorCode: UNKNOWN_TOPIC_ID } })

  test('records of a topic that was deleted do not move the one that was created after it', async () => {
    const scripted = new ScriptedCluster()
    const begun = Promise.withResolvers<void>()
    createdAgain(scripted, begun.resolve)
    let ofNew = 0
    scripted.otherwise('fetch', async (asked: Asked) => {
      const [{ topicId, partition, position }] = asked.request
      if (topicId === NEW_ID) {
        ofNew++
        return twoOfEach(asked)
      }
      if (position === 0) return twoOfEach(asked)
      if (partition === 0) return refusal(0)
      // Leader 2 takes its time: its answer of the old log comes when the partition has begun anew.
      await begun.promise
      return twoOfEach(asked)
    })
    const { scan, seen } = scanOf(scripted)
    assert.deepEqual(await scan.readTo([2, 2], LIMITS), [])
    assert.deepEqual(await scan.readTo([4, 4], LIMITS), [])
    assert.equal(ofNew, 4)
    assert.deepEqual(seen, [
      [0, 1, 0, 1, 2, 3],
      [0, 1, 0, 1, 2, 3],
    ])
    assert.equal(scan.gaps.length, 2)
  })

  test('two leaders that say so at the same time are heard once', async () => {
    const scripted = new ScriptedCluster()
    createdAgain(scripted)
    scripted.otherwise('fetch', (asked: Asked) => {
      const [{ topicId, partition, position }] = asked.request
      return topicId === NEW_ID || position === 0 ? twoOfEach(asked) : refusal(partition)
    })
    const { scan, seen } = scanOf(scripted)
    assert.deepEqual(await scan.readTo([2, 2], LIMITS), [])
    assert.deepEqual(await scan.readTo([4, 4], LIMITS), [])
    assert.deepEqual(seen[0], [0, 1, 0, 1, 2, 3])
    assert.deepEqual(
      scan.gaps.map(({ partition, from, to }) => [partition, from, to]),
      [
        [0, 2, 0],
        [1, 2, 0],
      ],
    )
  })

  test('ends where waiting cannot help', async () => {
    const refused = new ScriptedCluster().next('fetch', answer({ 0: { errorCode: NOT_AUTHORISED } }))
    await assert.rejects(scanOf(refused).scan.readTo([2, 0], LIMITS), { code: 'not-authorised' })
    const damaged = await records(0, 2)
    damaged[damaged.length - 1]! ^= 1
    const corrupt = new ScriptedCluster().next('fetch', answer({ 0: { records: damaged } }))
    await assert.rejects(scanOf(corrupt).scan.readTo([2, 0], LIMITS), { code: 'corrupt-batch' })
  })
})
