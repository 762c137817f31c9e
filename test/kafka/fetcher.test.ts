import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SluiceError } from '../../src/core/errors.ts'
import { type FetchedRecords, offsetOf } from '../../src/core/record-batch.ts'
import type { FetchTarget, Room } from '../../src/core/transaction.ts'
import { Fetcher } from '../../src/kafka/fetcher.ts'
import { PartitionLog } from '../../src/kafka/partition-log.ts'
import { sizeOfUvarint, WireWriter } from '../../src/kafka/wire.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'
import { type AskedPartition, brokerError, closed, ScriptedCluster, TOPIC_ID } from './scripted-cluster.ts'
import { marker, stockBatch } from './stock.ts'

/** A task as the fetcher sees it. */
class Target implements FetchTarget {
  readonly topic = 'in'
  readonly partition: number
  position: number | undefined
  room: Room = { records: 1_000_000, bytes: 1 << 30 }
  readonly accepted: FetchedRecords[] = []
  readonly failures: Error[] = []

  constructor(partition: number, position = 0) {
    this.partition = partition
    this.position = position
  }

  accept(fetched: FetchedRecords): void {
    this.accepted.push(fetched)
    this.position = fetched.nextOffset
  }

  fail(error: Error): void {
    this.failures.push(error)
    this.position = undefined
  }

  get offsets(): number[] {
    return this.accepted.flatMap(({ batches }) =>
      batches.flatMap(batch => Array.from({ length: batch.count }, (_, i) => offsetOf(batch, i))),
    )
  }
}

interface Part {
  readonly errorCode?: number
  readonly records?: Buffer
  readonly highWatermark?: number
  /** Where the log leaves the epoch that was last fetched, if below the position. */
  readonly divergesAt?: number
}

/** A Fetch response, by partition. */
function answer(parts: Record<number, Part>): Buffer {
  const encoded = Object.entries(parts).map(([partition, part]) => partitionAnswer(Number(partition), part))
  const size = 1 + 4 + 2 + 4 + 1 + 16 + sizeOfUvarint(encoded.length + 1) + 1 + 1
  const head = new WireWriter(size - 2).noTags().int32(0).int16(0).int32(0)
  head.compactCount(1).uuid(TOPIC_ID).compactCount(encoded.length)
  return Buffer.concat([head.finish().buffer, ...encoded, Buffer.of(0, 0)])
}

function partitionAnswer(partition: number, part: Part): Buffer {
  const { errorCode = 0, records = Buffer.alloc(0), highWatermark = 1_000, divergesAt } = part
  const fixed = 4 + 2 + 8 + 8 + 8 + 1 + 4
  const head = new WireWriter(fixed + sizeOfUvarint(records.length + 1)).int32(partition).int16(errorCode)
  head
    .int64(highWatermark)
    .int64(highWatermark - 1)
    .int64(0)
  head.compactCount(0).int32(-1).compactCount(records.length)
  const tags = new WireWriter(divergesAt === undefined ? 1 : 3 + 13)
  if (divergesAt === undefined) tags.noTags()
  else tags.uvarint(1).uvarint(0).uvarint(13).int32(0).int64(divergesAt).noTags()
  return Buffer.concat([head.finish().buffer, records, tags.finish().buffer])
}

function records(firstOffset: number, count: number): Promise<Buffer> {
  const record = { timestamp: 1_700_000_000_000, key: null, value: Buffer.from('v'), headers: {} }
  return stockBatch(Array(count).fill(record), { firstOffset })
}

const CODE = { outOfRange: 1, unknownTopic: 3, notLeader: 6, unauthorised: 29, unknownId: 100, inconsistentId: 103 }

class Harness {
  readonly script = new ScriptedCluster()
  readonly clock = new FakeClock()
  /** What the tasks read: each the same topic, with nothing known about epochs. */
  readonly logs = new Map([0, 1, 2].map(partition => [partition, new PartitionLog(TOPIC_ID, 0, 0, undefined)]))
  readonly conditions: string[] = []
  readonly fetcher = new Fetcher({
    cluster: this.script.cluster,
    topic: 'in',
    logs: this.logs,
    clock: this.clock,
    maxWaitMs: 500,
    maxPartitionBytes: 1 << 20,
    onCondition: (nodeId: number, error: SluiceError | undefined) => this.conditions.push(`${nodeId}: ${error?.code}`),
  })
  #held: { answer(value?: unknown): void; fail(error: Error): void }[] = []

  constructor() {
    // As a long poll does: every fetch waits until the test answers it.
    this.script.otherwise('fetch', () => {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>()
      this.#held.push({ answer: resolve, fail: reject })
      return promise
    })
  }

  async add(...targets: Target[]): Promise<void> {
    for (const target of targets) this.fetcher.add(target)
    await settle()
  }

  /** Answers the oldest fetch under way. */
  async answer(parts: Record<number, Part>): Promise<void> {
    this.#held.shift()!.answer(answer(parts))
    await settle()
  }

  async fail(error: Error): Promise<void> {
    this.#held.shift()!.fail(error)
    await settle()
  }

  get underWay(): number {
    return this.#held.length
  }

  /** What was asked: the broker and the positions by partition. */
  get fetches(): [node: number, positions: Record<number, number>][] {
    return this.script.of('fetch').map(({ node, request }) => {
      const asked: AskedPartition[] = request
      return [node, Object.fromEntries(asked.map(({ partition, position }) => [partition, position]))]
    })
  }

  /** What was asked last for a partition. */
  asked(partition: number): AskedPartition {
    const last: AskedPartition[] = this.script.of('fetch').at(-1)!.request
    return last.find(asked => asked.partition === partition)!
  }

  async close(): Promise<void> {
    const closing = this.fetcher.close()
    while (this.underWay > 0) await this.answer({})
    await closing
    assert.equal(this.clock.waiting, 0)
  }
}

test('every task is asked for from its position, and goes on from where the answer ended', async () => {
  const harness = new Harness()
  const [a, b] = [new Target(0, 5), new Target(2, 9)]
  await harness.add(a, b)
  await harness.answer({}) // asked for the first one alone, before the second was there
  assert.deepEqual(harness.fetches.at(-1), [1, { 0: 5, 2: 9 }])
  await harness.answer({ 0: { records: await records(5, 3) }, 2: {} })
  assert.deepEqual(a.offsets, [5, 6, 7])
  assert.equal(a.accepted[0]!.endOffset, 999)
  assert.deepEqual(harness.fetches.at(-1), [1, { 0: 8, 2: 9 }])
  await harness.close()
})

test('a fetch of control records alone moves the position', async () => {
  const harness = new Harness()
  const target = new Target(0, 5)
  await harness.add(target)
  await harness.answer({ 0: { records: await marker(5, 7, 'commit') } })
  assert.deepEqual([target.offsets, target.position], [[], 6])
  await harness.close()
})

test('an answer for a position that the task has left is dropped', async () => {
  const harness = new Harness()
  const target = new Target(0, 5)
  await harness.add(target)
  target.position = 2 // it started over meanwhile
  await harness.answer({ 0: { records: await records(5, 3) } })
  assert.deepEqual(target.accepted, [])
  assert.deepEqual(harness.fetches.at(-1), [1, { 0: 2 }])
  await harness.close()
})

test('an answer for a task that is gone, or was replaced, is dropped, a refusal too', async () => {
  for (const part of [{ records: await records(5, 3) }, { errorCode: CODE.outOfRange }]) {
    const harness = new Harness()
    const [gone, successor] = [new Target(0, 5), new Target(0, 5)]
    await harness.add(gone)
    harness.fetcher.remove(gone)
    harness.fetcher.add(successor)
    await harness.answer({ 0: part })
    assert.deepEqual([gone.accepted, gone.failures], [[], []])
    assert.deepEqual([successor.accepted, successor.failures], [[], []])
    assert.deepEqual(harness.fetches.at(-1), [1, { 0: 5 }], 'the successor asks for itself')
    await harness.close()
  }
})

test('removing a task does not remove its successor', async () => {
  const harness = new Harness()
  const [gone, successor] = [new Target(0, 5), new Target(0, 7)]
  await harness.add(gone)
  harness.fetcher.add(successor)
  harness.fetcher.remove(gone)
  await harness.answer({ 0: {} })
  assert.deepEqual(harness.fetches.at(-1), [1, { 0: 7 }])
  await harness.close()
})

test('while no task wants anything nothing is asked; waking asks again', async () => {
  const harness = new Harness()
  const target = new Target(0)
  target.position = undefined
  await harness.add(target)
  assert.equal(harness.fetches.length, 0)
  target.position = 4
  harness.fetcher.wake()
  await settle()
  assert.deepEqual(harness.fetches, [[1, { 0: 4 }]])
  await harness.close()
})

test('each broker that leads a partition has a loop of its own', async () => {
  const harness = new Harness()
  harness.script.leaders['in/1'] = 2
  const [a, b] = [new Target(0), new Target(1)]
  await harness.add(a, b)
  assert.deepEqual(harness.fetches, [
    [1, { 0: 0 }],
    [2, { 1: 0 }],
  ])
  await harness.answer({ 0: { records: await records(0, 1) } })
  assert.deepEqual(harness.fetches.at(-1), [1, { 0: 1 }], 'a slow broker holds up no other')
  await harness.close()
})

test('a leader that moved is looked up; the task starts over, and is served by the new leader', async () => {
  const harness = new Harness()
  const target = new Target(0, 5)
  await harness.add(target)
  const moveTo = async (nodeId: number) => {
    harness.script.onRefresh = () => {
      harness.script.leaders['in/0'] = nodeId
    }
    await harness.answer({ 0: { errorCode: CODE.notLeader } })
    assert.equal((target.failures.at(-1) as SluiceError).code, 'broker-unreachable')
    target.position = 5
    harness.fetcher.wake()
    await settle()
    assert.deepEqual(harness.fetches.at(-1), [nodeId, { 0: 5 }])
    await harness.clock.advance(3_000)
    assert.equal(harness.underWay, 1, 'the loop of the former leader has ended')
  }
  await moveTo(2)
  await moveTo(1)
  await harness.close()
})

test('a partition that does not exist any more is a missing topic', async () => {
  const harness = new Harness()
  const target = new Target(0, 5)
  await harness.add(target)
  await harness.answer({ 0: { errorCode: CODE.unknownTopic } })
  assert.equal((target.failures[0] as SluiceError).code, 'topic-missing')
  assert.equal(harness.script.refreshes, 1)
  await harness.close()
})

for (const errorCode of [CODE.unknownId, CODE.inconsistentId]) {
  test(`a topic id that the broker does not know (${errorCode}): the task compares, the metadata is read again`, async () => {
    const harness = new Harness()
    const target = new Target(0, 5)
    await harness.add(target)
    await harness.answer({ 0: { errorCode } })
    assert.equal((target.failures[0] as SluiceError).code, 'topic-missing')
    assert.match(target.failures[0]!.message, /in\/0 .* deleted and created again/)
    assert.equal(harness.script.refreshes, 1)
    await harness.close()
  })
}

test('each task is asked for by the topic id that it began with, also when another has begun with a newer one', async () => {
  const harness = new Harness()
  const other = 'b3RoZXItdG9waWMtaWQtLQ'
  harness.logs.set(1, new PartitionLog(other, 0, 0, undefined))
  await harness.add(new Target(0, 5), new Target(1, 6))
  await harness.answer({})
  assert.deepEqual(
    [harness.asked(0), harness.asked(1)].map(({ topicId, position }) => [topicId, position]),
    [
      [TOPIC_ID, 5],
      [other, 6],
    ],
  )
  await harness.close()
})

test('an answer from the log that a task has left is dropped, though the position is the same', async () => {
  const harness = new Harness()
  const target = new Target(0, 5)
  await harness.add(target)
  harness.logs.set(0, new PartitionLog('b3RoZXItdG9waWMtaWQtLQ', 5, 5, undefined))
  await harness.answer({ 0: { records: await records(5, 3) } })
  assert.deepEqual([target.accepted, target.failures], [[], []])
  await harness.close()
})

test('without a log nothing is asked for', async () => {
  const harness = new Harness()
  harness.logs.clear()
  await harness.add(new Target(0, 5))
  assert.equal(harness.fetches.length, 0)
  await harness.close()
})

test('the epoch of what was fetched goes with the next request; a log that was truncated below fails the task', async () => {
  const harness = new Harness()
  const target = new Target(0, 5)
  await harness.add(target)
  assert.equal(harness.asked(0).lastFetchedEpoch, -1)
  await harness.answer({ 0: { records: await records(5, 3) } })
  assert.deepEqual([harness.asked(0).position, harness.asked(0).lastFetchedEpoch], [8, 0])
  await harness.answer({ 0: { divergesAt: 6 } })
  assert.equal((target.failures[0] as SluiceError).code, 'log-truncated')
  assert.match(target.failures[0]!.message, /in\/0 was truncated at offset 6, below 8/)
  assert.equal(target.accepted.length, 1)
  await harness.close()
})

test('a partition without a leader is asked for once it has one', async () => {
  const harness = new Harness()
  harness.script.leaders['in/0'] = -1
  await harness.add(new Target(0, 5))
  assert.deepEqual(harness.fetches, [])
  assert.deepEqual(harness.conditions, ['-1: broker-unreachable'])
  await harness.clock.advance(60_000)
  const { refreshes } = harness.script
  assert.ok(refreshes > 20 && refreshes < 60, `asked ${refreshes} times in a minute`)
  assert.ok(!harness.conditions.includes('-1: undefined'), 'it is one condition all along')
  harness.script.leaders['in/0'] = 2
  await harness.clock.advance(3_000)
  assert.deepEqual(harness.fetches, [[2, { 0: 5 }]])
  assert.ok(harness.conditions.includes('-1: undefined'))
  await harness.close()
})

test('the trouble with a broker is over once it leads nothing, also when no task wants data at that moment', async () => {
  const harness = new Harness()
  const target = new Target(0, 5)
  await harness.add(target)
  target.position = undefined // its commit fails as well
  await harness.fail(closed())
  await harness.clock.advance(3_000)
  harness.script.leaders['in/0'] = 2
  target.position = 5
  harness.fetcher.wake()
  await settle()
  assert.deepEqual(harness.fetches.at(-1), [2, { 0: 5 }])
  assert.equal(harness.conditions.at(-1), '1: undefined')
  await harness.close()
})

test('an offset out of range is the task’s to decide', async () => {
  const harness = new Harness()
  const [bad, good] = [new Target(0, 5), new Target(1, 5)]
  await harness.add(bad, good)
  await harness.answer({})
  await harness.answer({ 0: { errorCode: CODE.outOfRange }, 1: { records: await records(5, 1) } })
  assert.equal((bad.failures[0] as SluiceError).code, 'offset-out-of-range')
  assert.match(bad.failures[0]!.message, /Offset 5 of in\/0/)
  assert.deepEqual(good.offsets, [5])
  await harness.close()
})

test('other refusals fail the task, in words for people', async () => {
  const harness = new Harness()
  const target = new Target(0, 5)
  await harness.add(target)
  await harness.answer({ 0: { errorCode: CODE.unauthorised } })
  assert.equal((target.failures[0] as SluiceError).code, 'not-authorised')
  await harness.close()
})

test('damaged records fail the task and are not skipped', async () => {
  const damaged = await records(5, 3)
  damaged[damaged.length - 1]! ^= 1
  const harness = new Harness()
  const target = new Target(0, 5)
  await harness.add(target)
  await harness.answer({ 0: { records: damaged } })
  assert.equal((target.failures[0] as SluiceError).code, 'corrupt-batch')
  assert.deepEqual(target.accepted, [])
  await harness.close()
})

test('a batch beyond the end of the log is asked for again, and fails the task only if it still is', async () => {
  const ahead = { records: await records(5, 3), highWatermark: 7 }
  for (const later of [ahead, { ...ahead, highWatermark: 8 }]) {
    const harness = new Harness()
    const target = new Target(0, 5)
    await harness.add(target)
    await harness.answer({ 0: ahead })
    assert.deepEqual([target.failures, target.accepted], [[], []])
    await harness.answer({ 0: later })
    const damaged = later === ahead
    assert.deepEqual(
      target.failures.map(error => (error as SluiceError).code),
      damaged ? ['corrupt-batch'] : [],
    )
    assert.equal(target.accepted.length, damaged ? 0 : 1)
    await harness.close()
  }
})

test('of several batches those within the log are handed over', async () => {
  const harness = new Harness()
  const target = new Target(0, 5)
  await harness.add(target)
  await harness.answer({ 0: { records: Buffer.concat([await records(5, 3), await records(8, 2)]), highWatermark: 9 } })
  assert.deepEqual(target.failures, [])
  assert.equal(target.accepted[0]!.nextOffset, 8)
  await harness.close()
})

test('after connection trouble the connection is dropped, the metadata read and the same asked again', async () => {
  const harness = new Harness()
  await harness.add(new Target(0, 5))
  await harness.fail(closed())
  assert.deepEqual(harness.script.forgotten, [1])
  assert.equal(harness.script.refreshes, 1)
  assert.deepEqual(harness.conditions, ['1: broker-unreachable'])
  assert.equal(harness.underWay, 0)
  await harness.clock.advance(100)
  assert.deepEqual(harness.fetches, [
    [1, { 0: 5 }],
    [1, { 0: 5 }],
  ])
  await harness.answer({ 0: {} })
  assert.equal(harness.conditions.at(-1), '1: undefined')
  await harness.close()
})

test('a refusal of the whole request keeps the connection', async () => {
  const harness = new Harness()
  await harness.add(new Target(0, 5))
  await harness.fail(brokerError('UNKNOWN'))
  assert.deepEqual(harness.script.forgotten, [])
  await harness.close()
})

test('closing waits for the answer under way, hands out what is in it to nobody new, and asks no more', async () => {
  const harness = new Harness()
  await harness.add(new Target(0, 5))
  let done = false
  const closing = harness.fetcher.close().then(() => {
    done = true
  })
  await settle()
  assert.equal(done, false)
  await harness.answer({ 0: {} })
  await closing
  harness.fetcher.wake()
  await settle()
  assert.equal(harness.fetches.length, 1)
})

test('closing does not wait out a backoff', async () => {
  const harness = new Harness()
  await harness.add(new Target(0, 5))
  await harness.fail(closed())
  await harness.close()
})

test('a partition is asked for about as many bytes as it has room for', async () => {
  const harness = new Harness()
  const target = new Target(0, 0)
  target.room = { records: 10_000, bytes: 1 << 30 }
  await harness.add(target)
  assert.equal(harness.asked(0).maxBytes, 1_000_000, 'nothing is known yet: a hundred bytes each')
  const sent = await records(0, 100)
  await harness.answer({ 0: { records: sent } })
  assert.equal(harness.asked(0).maxBytes, sent.length * 100)
  target.room = { records: 10, bytes: 1 << 30 }
  await harness.answer({ 0: {} })
  assert.equal(harness.asked(0).maxBytes, 16 * 1024, 'less is not worth a request')
  target.room = { records: 1_000_000, bytes: 1_000_000 }
  await harness.answer({ 0: {} })
  assert.ok(harness.asked(0).maxBytes < 1_000_000 / 2, 'the index of a record takes more than such a record')
  await harness.close()
})

test('what exceeds the room of a task is left in the broker, and fetched again', async () => {
  const harness = new Harness()
  const target = new Target(0, 0)
  target.room = { records: 5, bytes: 1 << 30 }
  await harness.add(target)
  await harness.answer({ 0: { records: Buffer.concat(await Promise.all([0, 3, 6, 9].map(at => records(at, 3)))) } })
  assert.deepEqual(target.offsets, [0, 1, 2, 3, 4, 5])
  assert.equal(harness.asked(0).position, 6)
  await harness.close()
})

test('a broker holds a fetch back only shortly while a partition that was full a moment ago is left out', async () => {
  const harness = new Harness()
  const [full, quiet] = [new Target(0), new Target(1)]
  await harness.add(full, quiet)
  await harness.answer({})
  assert.equal(harness.asked(1).maxWaitMs, 500)
  full.position = undefined
  await harness.clock.advance(10)
  await harness.answer({})
  assert.equal(harness.asked(1).maxWaitMs, 5)
  await harness.clock.advance(1_000) // whatever keeps it, it is no commit
  await harness.answer({})
  assert.equal(harness.asked(1).maxWaitMs, 500)
  await harness.close()
})
