import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import { FencedError } from '../../src/core/transaction.ts'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import type { TransactionState } from '../../src/kafka/transactional-ids.ts'
import { TransactionalProducer } from '../../src/kafka/transactional-producer.ts'
import { FakeClock, settle } from '../pipeline/fake-clock.ts'
import { outputBatch } from './output-batches.ts'
import {
  type Asked,
  brokerError,
  closed,
  lastTransaction,
  produced,
  ScriptedCluster,
  timedOut,
} from './scripted-cluster.ts'

const OUTPUTS = [{ topic: 'out', partitions: [2] }]
const STATE = { transactionalId: 'g.in.2', producerId: '4000', producerEpoch: 3 }
const move = (offset: number) => ({ topic: 'in', partition: 2, offset, metadata: '' })

class Harness {
  readonly script = new ScriptedCluster()
  readonly clock = new FakeClock()
  readonly producer: TransactionalProducer
  outcome: 'done' | Error | undefined

  constructor() {
    const { cluster } = this.script
    this.producer = new TransactionalProducer({
      cluster,
      transactionalId: 'g.in.2',
      transactionTimeoutMs: 30_000,
      requestTimeoutMs: 1_000,
      clock: this.clock,
      coordinator: new Coordinator(cluster, 'transaction', 'g.in.2', this.clock),
      groupCoordinator: new Coordinator(cluster, 'group', 'g', this.clock),
      groupId: 'g',
    })
  }

  /** A harness whose producer is initialised and knows its coordinators, with nothing asked yet. */
  static async ready(): Promise<Harness> {
    const harness = new Harness()
    await harness.producer.initialise(OUTPUTS)
    await harness.commit(1)
    assert.equal(harness.outcome, 'done')
    harness.script.asked.length = 0
    return harness
  }

  async commit(offset: number, batches = [outputBatch('out', 2, 2)]): Promise<void> {
    this.outcome = undefined
    this.producer.commit(batches, move(offset)).then(
      () => {
        this.outcome = 'done'
      },
      error => {
        this.outcome = error
      },
    )
    await settle()
  }

  get code() {
    return this.outcome instanceof SluiceError ? this.outcome.code : this.outcome
  }
}

test('initialising an id for the first time asks its coordinator for an epoch', async () => {
  const { script, producer } = new Harness()
  await producer.initialise(OUTPUTS)
  assert.deepEqual(
    script.asked.map(({ api, request }) => [api, request]),
    [
      ['findCoordinator', { groupId: 'g.in.2', coordinatorType: 1 }],
      ['describetransactions', 'g.in.2'],
      ['initProducerId', { transactionalId: 'g.in.2', transactionTimeout: 30_000 }],
    ],
  )
})

test('initialising an id that was used ends its last transaction once more, as it was decided', async () => {
  const outcomes: readonly (readonly [TransactionState, producerEpoch: number, committed: boolean])[] = [
    ['PrepareCommit', 6, true],
    ['CompleteCommit', 6, true],
    ['CompleteCommit', 5, false], // another was begun, and aborted by the initialisation
    ['Ongoing', 5, false],
    ['PrepareAbort', 6, false],
    ['CompleteAbort', 6, false],
    ['PrepareEpochFence', 6, false],
    ['Empty', 6, false],
  ]
  for (const [state, producerEpoch, committed] of outcomes) {
    const { script, producer } = new Harness()
    script.next('describetransactions', lastTransaction({ state, producerEpoch }))
    script.next('initProducerId', { producerId: '4000', producerEpoch: 7 }, { producerId: '4000', producerEpoch: 8 })
    await producer.initialise(OUTPUTS)
    const takeover = ['describetransactions', 'initProducerId']
    const apis = [...takeover, 'addOffsetsToTxn', 'addPartitionsToTxn', 'endTxn', ...takeover]
    assert.deepEqual(script.apis.slice(-7), apis, state)
    const [added] = script.of('addPartitionsToTxn')
    assert.deepEqual([added!.request.topics, added!.request.producerEpoch], [OUTPUTS, 7], state)
    const [ended] = script.of('endTxn')
    assert.deepEqual([ended!.request.transactionResult, ended!.request.producerEpoch], [committed, 7], state)
  }
})

test('an id whose last transaction could not be ended once more is not initialised', async () => {
  const { script, producer } = new Harness()
  script
    .next('describetransactions', lastTransaction({ state: 'CompleteCommit', producerEpoch: 2 }))
    .next('endTxn', timedOut())
  await assert.rejects(producer.initialise(OUTPUTS), { code: 'transaction-unknown', message: /g\.in\.2/ })
  await assert.rejects(producer.commit([], move(7)), /commit before initialise/)
})

test('a transaction takes three steps, each begun when the one before is complete', async () => {
  const { script, ...harness } = await Harness.ready()
  const commit = () => Harness.prototype.commit.call(harness as Harness, 7)
  const [addOffsets, addPartitions] = [script.hold('addOffsetsToTxn'), script.hold('addPartitionsToTxn')]
  const [produce, offsets] = [script.hold('produce'), script.hold('txnOffsetCommit')]
  await commit()
  assert.deepEqual(script.apis.toSorted(), ['addOffsetsToTxn', 'addPartitionsToTxn'])
  addOffsets.answer()
  await settle()
  assert.equal(script.asked.length, 2)
  addPartitions.answer()
  await settle()
  assert.deepEqual(script.apis.slice(2).toSorted(), ['produce', 'txnOffsetCommit'])
  offsets.answer()
  await settle()
  assert.equal(script.asked.length, 4)
  produce.answer(produced(script.of('produce')[0]!.request))
  await settle()
  assert.deepEqual(script.apis.slice(4), ['endTxn'])

  assert.deepEqual(script.of('addOffsetsToTxn')[0]!.request, { ...STATE, groupId: 'g' })
  assert.deepEqual(script.of('addPartitionsToTxn')[0]!.request, {
    ...STATE,
    topics: [{ topic: 'out', partitions: [2] }],
  })
  const partitions = [{ partition: 2, offset: '7', metadata: '' }]
  assert.deepEqual(script.of('txnOffsetCommit')[0]!.request, {
    ...STATE,
    groupId: 'g',
    topics: [{ topic: 'in', partitions }],
  })
  assert.deepEqual(script.of('endTxn')[0]!.request, { ...STATE, transactionResult: true })
})

test('each partition of the output is added once, by topic', async () => {
  const harness = await Harness.ready()
  await harness.commit(7, [outputBatch('out', 2), outputBatch('dlq', 2), outputBatch('out', 2), outputBatch('out', 0)])
  assert.equal(harness.outcome, 'done')
  assert.deepEqual(harness.script.of('addPartitionsToTxn')[0]!.request.topics, [
    { topic: 'out', partitions: [2, 0] },
    { topic: 'dlq', partitions: [2] },
  ])
})

test('a transaction without output moves the offset alone', async () => {
  const harness = await Harness.ready()
  await harness.commit(7, [])
  assert.equal(harness.outcome, 'done')
  assert.deepEqual(harness.script.apis, ['addOffsetsToTxn', 'txnOffsetCommit', 'endTxn'])
})

for (const api of ['addOffsetsToTxn', 'addPartitionsToTxn', 'produce', 'txnOffsetCommit', 'endTxn']) {
  for (const [what, trouble] of [
    ['a time-out', timedOut],
    ['a lost connection', closed],
  ] as const) {
    test(`after ${what} in ${api} nothing is sent again and nothing further: the outcome is unknown`, async () => {
      const harness = await Harness.ready()
      harness.script.next(api, trouble())
      await harness.commit(7)
      await harness.clock.advance(5_000)
      assert.equal(harness.code, 'transaction-unknown')
      assert.equal(harness.script.of(api).length, 1)
      if (api !== 'endTxn') assert.equal(harness.script.of('endTxn').length, 0, 'no commit, and no abort by hand')
      assert.ok(harness.script.forgotten.includes(1))
    })
  }

  test(`an epoch that has moved on in ${api} is a fence`, async () => {
    const harness = await Harness.ready()
    harness.script.next(
      api,
      api === 'produce'
        ? ({ request }: Asked) => produced(request, { 'out/2': 47 })
        : brokerError('INVALID_PRODUCER_EPOCH'),
    )
    await harness.commit(7)
    assert.ok(harness.outcome instanceof FencedError, String(harness.outcome))
  })
}

for (const api of ['addOffsetsToTxn', 'addPartitionsToTxn', 'txnOffsetCommit', 'endTxn']) {
  test(`a clear refusal of ${api} is sent again, and the transaction goes on`, async () => {
    const harness = await Harness.ready()
    harness.script.next(api, brokerError('CONCURRENT_TRANSACTIONS'), brokerError('NOT_COORDINATOR_FOR_GROUP'))
    await harness.commit(7)
    await harness.clock.advance(200)
    assert.equal(harness.outcome, 'done')
    assert.equal(harness.script.of(api).length, 3)
    assert.equal(harness.script.of('endTxn').length, api === 'endTxn' ? 3 : 1)
  })
}

test('both requests of a step are awaited, also when one has failed', async () => {
  for (const [failing, waiting] of [
    ['addOffsetsToTxn', 'addPartitionsToTxn'],
    ['addPartitionsToTxn', 'addOffsetsToTxn'],
    ['txnOffsetCommit', 'produce'],
    ['produce', 'txnOffsetCommit'],
  ] as const) {
    const harness = await Harness.ready()
    const held = harness.script.hold(waiting)
    harness.script.next(failing, closed())
    await harness.commit(7)
    assert.equal(harness.outcome, undefined, `${waiting} is under way`)
    held.answer(waiting === 'produce' ? produced(harness.script.of('produce')[0]!.request) : undefined)
    await settle()
    assert.equal(harness.code, 'transaction-unknown')
  }
})

test('of two failures the fence counts', async () => {
  const harness = await Harness.ready()
  harness.script.next('addOffsetsToTxn', closed())
  harness.script.next('addPartitionsToTxn', brokerError('INVALID_PRODUCER_EPOCH'))
  await harness.commit(7)
  assert.ok(harness.outcome instanceof FencedError)
})

test('after a failure the identity cannot be used until the producer is initialised again', async () => {
  const harness = await Harness.ready()
  harness.script.next('endTxn', timedOut())
  await harness.commit(7)
  harness.script.asked.length = 0
  await harness.commit(8)
  assert.match(String(harness.outcome), /commit before initialise/)
  assert.deepEqual(harness.script.apis, [])

  harness.script.next('initProducerId', { producerId: '4000', producerEpoch: 5 })
  await harness.producer.initialise(OUTPUTS)
  await harness.commit(8)
  assert.equal(harness.outcome, 'done')
  const [batch] = harness.script.of('produce')[0]!.request
  assert.deepEqual([batch.producerEpoch, batch.baseSequence], [5, 0], 'sequences begin anew with the epoch')
  assert.equal(harness.script.of('endTxn')[0]!.request.producerEpoch, 5)
})

test('an initialisation that fails leaves no identity behind', async () => {
  const harness = await Harness.ready()
  harness.script.next('initProducerId', closed())
  await assert.rejects(harness.producer.initialise(OUTPUTS), { code: 'broker-unreachable' })
  await harness.commit(8)
  assert.match(String(harness.outcome), /commit before initialise/)
})

test('what initialising is refused for is said in words for people', async () => {
  for (const [type, code] of [
    ['INVALID_TRANSACTION_TIMEOUT', 'transaction-timeout-refused'],
    ['TRANSACTIONAL_ID_AUTHORIZATION_FAILED', 'not-authorised'],
  ] as const) {
    const { script, producer } = new Harness()
    script.next('initProducerId', brokerError(type))
    await assert.rejects(producer.initialise(OUTPUTS), { code, message: /g\.in\.2.*30000/ })
  }
})

test('whether the id was used is asked of its coordinator, without using it', async () => {
  const { script, producer } = new Harness()
  script.next('describetransactions', lastTransaction({ state: 'Empty', producerEpoch: 3 }), lastTransaction(undefined))
  assert.equal(await producer.usedBefore(), true)
  assert.equal(await producer.usedBefore(), false)
  assert.deepEqual(script.apis, ['findCoordinator', 'describetransactions', 'describetransactions'])
  script.next('describetransactions', brokerError('TRANSACTIONAL_ID_AUTHORIZATION_FAILED'))
  await assert.rejects(producer.usedBefore(), { code: 'not-authorised', message: /g\.in\.2/ })
})

test('transactions of one epoch go on with the sequence numbers', async () => {
  const harness = await Harness.ready()
  await harness.commit(7, [outputBatch('out', 2, 3)])
  await harness.commit(8, [outputBatch('out', 2, 1)])
  assert.deepEqual(
    harness.script.of('produce').map(({ request }) => request[0].baseSequence),
    [2, 5],
  )
})
