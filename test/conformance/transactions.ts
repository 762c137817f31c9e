import assert from 'node:assert/strict'
import { type Behaviour, behaviour } from './behaviour.ts'
import { assertOneOf } from './outcome.ts'

/** AddPartitionsToTxn, EndTxn, time-outs: the life of a transaction. */
export const transactions: readonly Behaviour[] = [
  behaviour('records of a transaction are read once it is committed, in one piece', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.begin(0)
    assert.equal(await producer.send(0, ['a', 'b']), 'OK')
    assert.equal(await producer.send(2, ['c']), 'OK')
    assert.deepEqual((await stage.read(0)).values, [])
    await producer.finish(true)
    const { values, nextOffset, answer } = await stage.read(0)
    assert.deepEqual(values, ['a', 'b', 'c'])
    assert.deepEqual(answer.aborted, [])
    assert.equal(nextOffset, 4, 'the marker takes an offset')
  }),

  behaviour('there is nothing to end before a transaction begins', async stage => {
    const producer = await stage.producer()
    assert.equal(await producer.end(true), 'INVALID_TXN_STATE')
    assert.equal(await producer.end(false), 'INVALID_TXN_STATE')
  }),

  behaviour(
    'a commit that is repeated is accepted once the markers are written, an abort after it is not',
    async stage => {
      await stage.createTopic()
      const producer = await stage.producer()
      await producer.begin(0)
      assert.equal(await producer.send(0, ['a']), 'OK')
      assert.equal(await producer.end(true), 'OK')
      assertOneOf(await producer.end(true), 'CONCURRENT_TRANSACTIONS', 'OK')
      assertOneOf(await producer.end(false), 'CONCURRENT_TRANSACTIONS', 'INVALID_TXN_STATE')
      await stage.until(async () => (await producer.end(true)) === 'OK', 'the repeated commit is never accepted')
      assert.equal(await producer.end(false), 'INVALID_TXN_STATE')
      assert.deepEqual((await stage.read(0)).values, ['a'])
    },
  ),

  behaviour('an abort that is repeated is accepted, a commit after it is not', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.begin(0)
    assert.equal(await producer.send(0, ['a']), 'OK')
    await producer.finish(false)
    assert.equal(await producer.end(false), 'OK')
    assert.equal(await producer.end(true), 'INVALID_TXN_STATE')
    assert.deepEqual((await stage.read(0)).values, [])
  }),

  behaviour('the answer to EndTxn comes before the markers: the next transaction may have to wait', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.begin(0)
    assert.equal(await producer.send(0, ['a']), 'OK')
    assert.equal(await producer.end(true), 'OK')
    assertOneOf(await producer.add(0), 'CONCURRENT_TRANSACTIONS', 'OK')
    await producer.begin(0)
    assert.equal(await producer.send(1, ['b']), 'OK')
    await producer.finish(false)
    assert.deepEqual((await stage.read(0)).values, ['a'])
  }),

  behaviour('a late EndTxn of the same epoch ends the next transaction', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.begin(0)
    await producer.finish(true)
    await producer.begin(0)
    assert.equal(await producer.send(0, ['first half']), 'OK')
    await producer.finish(true) // this is the frame of the transaction before, which the network kept
    assert.deepEqual((await stage.read(0)).values, ['first half'])
    assert.equal(await producer.send(1, ['second half']), 'INVALID_TXN_STATE')
  }),

  behaviour('what comes between EndTxn and the markers may still join the transaction', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.begin(0)
    await producer.beginOffsets()
    assert.equal(await producer.send(0, ['a']), 'OK')
    assert.equal(await producer.commitOffset(1), 'OK')
    assert.equal(await producer.end(true), 'OK')
    const [sent, committed] = await Promise.all([producer.send(1, ['late']), producer.commitOffset(2)])
    assertOneOf(sent, 'OK', 'INVALID_TXN_STATE', 'NOT_ENOUGH_REPLICAS')
    assertOneOf(committed, 'OK', 'INVALID_TXN_STATE', 'CONCURRENT_TRANSACTIONS', 'GROUP_COORDINATOR_NOT_AVAILABLE')
    await stage.until(async () => (await producer.end(true)) === 'OK', 'the markers are never written')
    assert.deepEqual((await stage.read(0)).values, sent === 'OK' ? ['a', 'late'] : ['a'])
    assert.equal((await stage.committed()).offset, committed === 'OK' ? 2 : 1)
  }),

  behaviour('a late EndTxn of a former epoch ends nothing', async stage => {
    await stage.createTopic()
    const former = await stage.producer()
    await former.begin(0)
    const latter = await stage.producer()
    await latter.begin(0)
    assert.equal(await latter.send(0, ['first half']), 'OK')
    assert.equal(await former.end(true), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await latter.send(1, ['second half']), 'OK')
    await latter.finish(true)
    assert.deepEqual((await stage.read(0)).values, ['first half', 'second half'])
  }),

  behaviour('a partition may be added twice, and others later', async stage => {
    await stage.createTopic(2)
    const producer = await stage.producer()
    await producer.begin(0)
    assert.equal(await producer.send(0, ['a']), 'OK')
    assert.equal(await producer.add(0), 'OK')
    assert.equal(await producer.add(1), 'OK')
    assert.equal(await producer.send(0, ['b'], 1), 'OK')
    await producer.finish(true)
    assert.deepEqual((await stage.read(0, { partition: 1 })).values, ['b'])
  }),

  behaviour('a topic that does not exist begins no transaction', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    assert.equal(await producer.addTopic(`${stage.topic}-missing`), 'UNKNOWN_TOPIC_OR_PARTITION')
    // kafkajs throws the error of whichever partition is named first in the answer.
    assertOneOf(await producer.add(0, 9), 'OPERATION_NOT_ATTEMPTED', 'UNKNOWN_TOPIC_OR_PARTITION')
    assert.equal(await producer.end(true), 'INVALID_TXN_STATE')
  }),

  behaviour('a partition without records gets a marker, too', async stage => {
    await stage.createTopic(2)
    const producer = await stage.producer()
    await producer.begin(0, 1)
    assert.equal(await producer.send(0, ['a']), 'OK')
    await producer.finish(true)
    assert.equal((await stage.read(0, { partition: 1 })).answer.highWatermark, 1)
  }),

  behaviour('a transaction that times out is aborted, and its producer fenced', async stage => {
    await stage.createTopic()
    const producer = await stage.producer(stage.transactionalId, 1_000)
    await producer.begin(0)
    await producer.beginOffsets()
    assert.equal(await producer.send(0, ['slow']), 'OK')
    assert.equal(await producer.commitOffset(5), 'OK')
    await stage.until(async () => (await stage.read(0)).answer.lastStableOffset === 2, 'it never times out')
    assert.equal(await producer.end(true), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await producer.end(false), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await producer.add(0), 'INVALID_PRODUCER_EPOCH')
    assert.equal(await producer.send(1, ['slower']), 'INVALID_PRODUCER_EPOCH')
    assert.equal((await stage.producer()).epoch, 2)
    assert.deepEqual((await stage.read(0)).values, [])
    assert.equal((await stage.committed()).offset, -1)
  }),
]
