import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import { FencedError } from '../../src/core/transaction.ts'
import { BatchSender } from '../../src/kafka/batch-sender.ts'
import type { RecordBatchWriter, SealOptions } from '../../src/kafka/record-batch-writer.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'
import { outputBatch } from './output-batches.ts'
import { type Asked, closed, produced, ScriptedCluster, timedOut } from './scripted-cluster.ts'

const PRODUCER = { producerId: 4000n, producerEpoch: 3, transactionalId: 'id' }

const CODE = {
  corrupt: 2,
  unknownTopic: 3,
  notLeader: 6,
  timedOut: 7,
  tooLarge: 10,
  notEnoughReplicas: 19,
  outOfOrder: 45,
  duplicate: 46,
  fenced: 47,
}

class Harness {
  readonly script = new ScriptedCluster()
  readonly clock = new FakeClock()
  readonly sender = new BatchSender(this.script.cluster, this.clock, 1_000)
  outcome: 'sent' | Error | undefined

  async send(...batches: RecordBatchWriter[]): Promise<void> {
    this.outcome = undefined
    this.sender.send(batches, PRODUCER).then(
      () => {
        this.outcome = 'sent'
      },
      error => {
        this.outcome = error
      },
    )
    await settle()
  }

  /** `topic/partition@sequence` of each batch, a list for each request. */
  get produced(): string[][] {
    return this.script
      .of('produce')
      .map(({ request }) =>
        request.map(
          (batch: { topic: string; partition: number; baseSequence: number }) =>
            `${batch.topic}/${batch.partition}@${batch.baseSequence}`,
        ),
      )
  }

  /** The next answer refuses `what` with `code`. */
  refuse(what: string, code: number): void {
    this.script.next('produce', ({ request }: Asked) => produced(request, { [what]: code }))
  }

  get code() {
    return this.outcome instanceof SluiceError ? this.outcome.code : this.outcome
  }
}

test('batches of several partitions go in one request, under the identity of the producer', async () => {
  const harness = new Harness()
  await harness.send(outputBatch('out', 0, 3), outputBatch('dlq', 0, 1), outputBatch('out', 2, 2))
  assert.equal(harness.outcome, 'sent')
  assert.deepEqual(harness.produced, [['out/0@0', 'out/2@0', 'dlq/0@0']])
  const [batch] = harness.script.of('produce')[0]!.request
  assert.deepEqual(batch, {
    topic: 'out',
    partition: 0,
    producerId: 4000n,
    producerEpoch: 3,
    baseSequence: 0,
    records: 3,
  })
})

test('several batches of a partition go one after another, each after the answer to the one before', async () => {
  const harness = new Harness()
  const first = harness.script.hold('produce')
  const batches = [outputBatch('out', 0, 3), outputBatch('out', 0, 2), outputBatch('dlq', 1), outputBatch('out', 0)]
  await harness.send(...batches)
  assert.deepEqual(harness.produced, [['out/0@0', 'dlq/1@0']])
  first.answer(produced(harness.script.of('produce')[0]!.request))
  await settle()
  assert.deepEqual(harness.produced.slice(1), [['out/0@3'], ['out/0@5']])
  assert.equal(harness.outcome, 'sent')
})

test('sequence numbers go on from call to call, and begin at zero after a reset', async () => {
  const harness = new Harness()
  await harness.send(outputBatch('out', 0, 3))
  await harness.send(outputBatch('out', 0, 2), outputBatch('out', 1, 1))
  harness.sender.reset()
  await harness.send(outputBatch('out', 0, 1))
  assert.deepEqual(harness.produced, [['out/0@0'], ['out/0@3', 'out/1@0'], ['out/0@0']])
})

test('sequence numbers wrap after 2^31 - 1, to what a broker expects next', async () => {
  const harness = new Harness()
  const sequences: number[] = []
  const huge = (records: number) =>
    ({
      topic: 'out',
      partition: 0,
      records,
      seal({ baseSequence }: SealOptions) {
        sequences.push(baseSequence)
        return outputBatch('out', 0).seal({ ...PRODUCER, baseSequence, transactional: true })
      },
    }) as unknown as RecordBatchWriter
  for (const records of [2 ** 31 - 2, 5, 1]) await harness.send(huge(records))
  // DefaultRecordBatch.incrementSequence of Kafka: 2147483646 + 5 goes through 2147483647 and 0 to 3.
  assert.deepEqual(sequences, [0, 2 ** 31 - 2, 3])
})

for (const [name, code] of Object.entries({
  unknownTopic: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  timedOut: 7,
  notEnoughReplicas: 19,
  notEnoughAfterAppend: 20,
  storage: 56,
})) {
  test(`a batch refused with ${name} is sent again, the same, and alone`, async () => {
    const harness = new Harness()
    harness.refuse('out/1', code)
    await harness.send(outputBatch('out', 0, 2), outputBatch('out', 1, 3))
    assert.equal(harness.outcome, undefined)
    await harness.clock.advance(100)
    assert.equal(harness.outcome, 'sent')
    assert.deepEqual(harness.produced, [['out/0@0', 'out/1@0'], ['out/1@0']])
    assert.equal(harness.script.refreshes, 1)
    await harness.send(outputBatch('out', 1, 1))
    assert.deepEqual(harness.produced.at(-1), ['out/1@3'])
  })
}

test('a batch whose leader moved is sent to the new one', async () => {
  const harness = new Harness()
  harness.refuse('out/0', CODE.notLeader)
  harness.script.onRefresh = () => {
    harness.script.leaders['out/0'] = 2
  }
  await harness.send(outputBatch('out', 0))
  await harness.clock.advance(100)
  assert.deepEqual(
    harness.script.of('produce').map(({ node }) => node),
    [1, 2],
  )
})

test('a partition without a leader is waited for', async () => {
  const harness = new Harness()
  harness.script.leaders['out/0'] = -1
  await harness.send(outputBatch('out', 0))
  assert.deepEqual(harness.produced, [])
  harness.script.leaders['out/0'] = 1
  await harness.clock.advance(100)
  assert.equal(harness.outcome, 'sent')
})

test('refusals that last end in an error that names them', async () => {
  const harness = new Harness()
  harness.script.otherwise('produce', ({ request }: Asked) => produced(request, { 'out/0': CODE.notEnoughReplicas }))
  await harness.send(outputBatch('out', 0, 7))
  await harness.clock.advance(2_000)
  assert.equal(harness.code, 'output-refused')
  assert.match(String(harness.outcome), /7 records \(\d+ bytes\) to out\/0.*NOT_ENOUGH_REPLICAS/)
})

test('a batch that the broker has already is done', async () => {
  const harness = new Harness()
  harness.refuse('out/0', CODE.duplicate)
  await harness.send(outputBatch('out', 0))
  assert.equal(harness.outcome, 'sent')
  assert.equal(harness.produced.length, 1)
})

test('refusals for good are not sent again', async () => {
  for (const [code, expected] of [
    [CODE.tooLarge, 'output-refused'],
    [CODE.corrupt, 'transaction-unknown'],
    [CODE.outOfOrder, 'transaction-unknown'],
  ] as const) {
    const harness = new Harness()
    harness.refuse('out/0', code)
    await harness.send(outputBatch('out', 0))
    await harness.clock.advance(2_000)
    assert.equal(harness.code, expected)
    assert.equal(harness.produced.length, 1)
  }
})

test('an epoch that has moved on is a fence', async () => {
  const harness = new Harness()
  harness.refuse('out/0', CODE.fenced)
  await harness.send(outputBatch('out', 0))
  assert.ok(harness.outcome instanceof FencedError)
})

test('after a time-out or a lost connection nothing is sent again, and the connection is dropped', async () => {
  for (const trouble of [timedOut(), closed()]) {
    const harness = new Harness()
    harness.script.next('produce', trouble)
    await harness.send(outputBatch('out', 0), outputBatch('out', 0))
    await harness.clock.advance(2_000)
    assert.equal(harness.code, 'transaction-unknown')
    assert.equal(harness.produced.length, 1, 'the second wave is not sent')
    assert.deepEqual(harness.script.forgotten, [1])
  }
})

test('requests to several leaders are all awaited, also when one has failed', async () => {
  const harness = new Harness()
  harness.script.leaders['out/1'] = 2
  const [first, second] = [harness.script.hold('produce'), harness.script.hold('produce')]
  await harness.send(outputBatch('out', 0), outputBatch('out', 1))
  assert.equal(harness.produced.length, 2)
  first.fail(closed())
  await settle()
  assert.equal(harness.outcome, undefined, 'the batch on its way to the other leader may still be read')
  second.answer(produced(harness.script.of('produce')[1]!.request))
  await settle()
  assert.equal(harness.code, 'transaction-unknown')
})

test('of several failures the fence counts', async () => {
  const harness = new Harness()
  harness.script.leaders['out/1'] = 2
  harness.script.next('produce', closed())
  harness.refuse('out/1', CODE.fenced)
  await harness.send(outputBatch('out', 0), outputBatch('out', 1))
  assert.ok(harness.outcome instanceof FencedError)
})
