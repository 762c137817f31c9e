import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SluiceError } from '../../src/core/errors.ts'
import { type FetchedRecords, offsetOf } from '../../src/core/record-batch.ts'
import type { FetchTarget } from '../../src/core/transaction.ts'
import { Fetcher } from '../../src/kafka/fetcher.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'
import { brokerError, closed, ScriptedCluster } from './scripted-cluster.ts'
import { Encoder, marker, stockBatch } from './stock.ts'

/** A task as the fetcher sees it. */
class Target implements FetchTarget {
  readonly topic = 'in'
  readonly partition: number
  position: number | undefined
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
}

/** A Fetch response, by partition. */
function answer(parts: Record<number, Part>): Buffer {
  const encoder = new Encoder().writeInt32(0).writeInt16(0).writeInt32(0)
  encoder.writeInt32(1).writeString('in').writeInt32(Object.keys(parts).length)
  for (const [partition, { errorCode = 0, records = Buffer.alloc(0), highWatermark = 1_000 }] of Object.entries(
    parts,
  )) {
    encoder.writeInt32(Number(partition)).writeInt16(errorCode)
    encoder
      .writeInt64(highWatermark)
      .writeInt64(highWatermark - 1)
      .writeInt64(0)
    encoder.writeInt32(0).writeInt32(-1).writeBytes(records)
  }
  return encoder.buffer
}

function records(firstOffset: number, count: number): Promise<Buffer> {
  const record = { timestamp: 1_700_000_000_000, key: null, value: Buffer.from('v'), headers: {} }
  return stockBatch(Array(count).fill(record), { firstOffset })
}

const CODE = { outOfRange: 1, unknownTopic: 3, notLeader: 6, unauthorised: 29 }

class Harness {
  readonly script = new ScriptedCluster()
  readonly clock = new FakeClock()
  readonly conditions: string[] = []
  readonly fetcher = new Fetcher({
    cluster: this.script.cluster,
    topic: 'in',
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
    return this.script.of('fetch').map(({ node, request }) => [node, request])
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
  for (const part of [{ records: damaged }, { records: await records(5, 3), highWatermark: 7 }]) {
    const harness = new Harness()
    const target = new Target(0, 5)
    await harness.add(target)
    await harness.answer({ 0: part })
    assert.equal((target.failures[0] as SluiceError).code, 'corrupt-batch')
    assert.deepEqual(target.accepted, [])
    await harness.close()
  }
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
