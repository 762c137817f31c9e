import assert from 'node:assert/strict'
import { lastTransactionOf } from '../../src/kafka/transactional-ids.ts'
import { type Behaviour, behaviour } from './behaviour.ts'
import { outcomeOf } from './outcome.ts'

/** InitProducerId: who owns a transactional id, and what becomes of former owners. */
export const initialisation: readonly Behaviour[] = [
  behaviour('a new transactional id has epoch 0', async stage => {
    assert.equal((await stage.producer()).epoch, 0)
  }),

  behaviour('each initialisation of an idle id keeps the producer id and raises its epoch by one', async stage => {
    const first = await stage.producer()
    const second = await stage.producer()
    const third = await stage.producer()
    assert.deepEqual([second.producerId, second.epoch], [first.producerId, 1])
    assert.deepEqual([third.producerId, third.epoch], [first.producerId, 2])
  }),

  behaviour('a producer without a transactional id gets another id each time, with epoch 0', async stage => {
    const [one, other] = [await stage.idempotentProducer(), await stage.idempotentProducer()]
    assert.notEqual(one.producerId, other.producerId)
    assert.deepEqual([one.epoch, other.epoch], [0, 0])
  }),

  behaviour('a transaction time-out of nothing, or of more than the broker allows, is refused', async stage => {
    const { transactionalId } = stage
    const coordinator = await stage.transactionCoordinator()
    for (const transactionTimeout of [0, 100_000_000]) {
      const outcome = await outcomeOf(coordinator.initProducerId({ transactionalId, transactionTimeout }))
      assert.equal(outcome, 'INVALID_TRANSACTION_TIMEOUT')
    }
  }),

  behaviour('an empty transactional id is refused', async stage => {
    const coordinator = await stage.transactionCoordinator()
    const request = coordinator.initProducerId({ transactionalId: '', transactionTimeout: 1_000 })
    assert.equal(await outcomeOf(request), 'INVALID_REQUEST')
  }),

  behaviour('an id is known once it was initialised', async stage => {
    const coordinator = await stage.transactionCoordinator()
    assert.equal(await stage.patiently(() => lastTransactionOf(coordinator, stage.transactionalId)), undefined)
    await stage.producer()
    assert.deepEqual(await lastTransactionOf(coordinator, stage.transactionalId), { state: 'Empty', producerEpoch: 0 })
  }),

  behaviour('an open transaction is aborted first: the initialisation is refused meanwhile', async stage => {
    await stage.createTopic()
    const { transactionalId } = stage
    const former = await stage.producer()
    await former.begin(0)
    assert.equal(await former.send(0, ['torn']), 'OK')
    const coordinator = await stage.transactionCoordinator()
    const request = { transactionalId, transactionTimeout: 60_000 }
    assert.equal(await outcomeOf(coordinator.initProducerId(request)), 'CONCURRENT_TRANSACTIONS')
    const latter = await stage.producer()
    assert.deepEqual([latter.producerId, latter.epoch], [former.producerId, 2], 'one for the abort, one for the owner')
    const { values, answer } = await stage.read(0)
    assert.deepEqual(values, [])
    assert.deepEqual(answer.aborted, [{ producerId: BigInt(former.producerId), firstOffset: 0 }])
    assert.deepEqual([answer.lastStableOffset, answer.highWatermark], [2, 2], 'the record and the marker')
  }),

  behaviour('a transaction that wrote nothing yet is aborted as well', async stage => {
    await stage.createTopic()
    const former = await stage.producer()
    await former.begin(0)
    assert.equal((await stage.producer()).epoch, 2)
    assert.equal(await former.end(true), 'INVALID_PRODUCER_EPOCH')
  }),

  behaviour('a former owner is fenced on every request', async stage => {
    await stage.createTopic()
    const former = await stage.producer()
    await stage.producer()
    assert.equal(await former.add(0), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await former.addOffsets(), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await former.send(0, ['zombie']), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await former.commitOffset(7), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await former.end(true), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await former.end(false), 'INVALID_PRODUCER_EPOCH')
  }),

  behaviour('a former owner is fenced amid the transaction of the next one', async stage => {
    await stage.createTopic()
    const former = await stage.producer()
    await former.begin(0)
    assert.equal(await former.send(0, ['torn']), 'OK')
    const latter = await stage.producer()
    await latter.begin(0)
    await latter.beginOffsets()
    assert.equal(await latter.send(0, ['whole']), 'OK')
    assert.equal(await latter.commitOffset(1), 'OK')
    assert.equal(await former.send(1, ['zombie']), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await former.commitOffset(7), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await former.end(true), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await former.end(false), 'INVALID_PRODUCER_EPOCH')
    await latter.finish(true)
    assert.deepEqual((await stage.read(0)).values, ['whole'])
    assert.equal((await stage.committed()).offset, 1)
  }),

  behaviour('an epoch that was never given is refused like a former one', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.begin(0)
    const future = producer.claiming({ producerEpoch: producer.epoch + 1 })
    assert.equal(await future.add(0), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await future.send(0, ['x']), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await future.end(true), 'INVALID_PRODUCER_EPOCH')
  }),

  behaviour('another producer id, or an id that nobody initialised, is refused', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    const other = producer.claiming({ producerId: '987654321' })
    assert.equal(await other.add(0), 'INVALID_PRODUCER_ID_MAPPING')
    assert.equal(await other.addOffsets(), 'INVALID_PRODUCER_ID_MAPPING')
    assert.equal(await other.end(true), 'INVALID_PRODUCER_ID_MAPPING')
    assert.equal(await other.send(0, ['x']), 'INVALID_PRODUCER_ID_MAPPING')
  }),
]
