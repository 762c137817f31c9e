import assert from 'node:assert/strict'
import { BatchField } from '../../src/kafka/batch-layout.ts'
import { type Behaviour, behaviour } from './behaviour.ts'

/** Produce: sequence numbers, epochs, and who may append. */
export const producing: readonly Behaviour[] = [
  behaviour('a partition that is not in the transaction is refused', async stage => {
    await stage.createTopic(2)
    const producer = await stage.producer()
    assert.equal(await producer.send(0, ['early']), 'INVALID_TXN_STATE')
    await producer.begin(0)
    assert.equal(await producer.send(0, ['elsewhere'], 1), 'INVALID_TXN_STATE')
    assert.equal(await producer.send(0, ['a']), 'OK')
    await producer.finish(true)
    assert.equal(await producer.send(1, ['late']), 'INVALID_TXN_STATE')
  }),

  behaviour('a batch that comes twice is appended once, and answered alike', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.begin(0)
    assert.equal(await producer.send(0, ['a', 'b']), 'OK')
    const batch = producer.batch(2, ['c'])
    const once = await producer.produce([batch])
    const twice = await producer.produce([batch])
    assert.deepEqual([once, twice], [[{ outcome: 'OK', baseOffset: 2 }], [{ outcome: 'OK', baseOffset: 2 }]])
    await producer.finish(true)
    assert.deepEqual((await stage.read(0)).values, ['a', 'b', 'c'])
  }),

  behaviour('a gap in the sequence is refused, and so is half a batch that was there', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.begin(0)
    assert.equal(await producer.send(0, ['a', 'b']), 'OK')
    assert.equal(await producer.send(3, ['d']), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(await producer.send(1, ['b']), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(await producer.send(2, ['c']), 'OK')
  }),

  behaviour('the last five batches are recognised when they come again, an older one is not', async stage => {
    await stage.createTopic()
    const producer = await stage.idempotentProducer()
    for (let sequence = 0; sequence < 7; sequence++) assert.equal(await producer.send(sequence, ['x']), 'OK')
    assert.equal(await producer.send(2, ['x']), 'OK')
    assert.equal(await producer.send(1, ['x']), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal((await stage.read(0)).answer.highWatermark, 7)
  }),

  behaviour('sequences go on in the next transaction of an epoch, whatever became of the last', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    for (const [sequence, commit] of [true, false, true].entries()) {
      await producer.begin(0)
      if (sequence > 0) assert.equal(await producer.send(sequence + 1, ['gap']), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
      assert.equal(await producer.send(sequence, [String(sequence)]), 'OK')
      await producer.finish(commit)
    }
    assert.deepEqual((await stage.read(0)).values, ['0', '2'])
  }),

  behaviour('a late batch of the last transaction is recognised, but spoils the next one', async stage => {
    await stage.createTopic()
    const producer = await stage.producer()
    await producer.begin(0)
    assert.equal(await producer.send(0, ['a']), 'OK')
    await producer.finish(true)
    await producer.begin(0)
    assert.equal(await producer.send(0, ['a']), 'OK', 'it is here already')
    // The leader took it for the first batch of this transaction, and now waits for the second.
    assert.equal(await producer.send(1, ['b']), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    await producer.finish(false)
    await producer.begin(0)
    assert.equal(await producer.send(1, ['b']), 'OK')
    await producer.finish(true)
    assert.deepEqual((await stage.read(0)).values, ['a', 'b'])
  }),

  behaviour('a new epoch begins at sequence 0', async stage => {
    await stage.createTopic()
    const former = await stage.producer()
    await former.begin(0)
    assert.equal(await former.send(0, ['a']), 'OK')
    await former.finish(true)
    const latter = await stage.producer()
    await latter.begin(0)
    assert.equal(await latter.send(1, ['c']), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    const batch = latter.batch(0, ['b'])
    const appended = await latter.produce([batch])
    assert.deepEqual(appended, [{ outcome: 'OK', baseOffset: 2 }])
    assert.deepEqual(await latter.produce([batch]), appended, 'which is not the first batch of the former epoch')
    await latter.finish(true)
    assert.deepEqual((await stage.read(0)).values, ['a', 'b'])
  }),

  behaviour('a producer that the partition does not know may begin anywhere', async stage => {
    await stage.createTopic()
    const producer = await stage.idempotentProducer()
    assert.equal(await producer.send(3, ['a']), 'OK')
    assert.equal(await producer.send(5, ['c']), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(await producer.send(4, ['b']), 'OK')
  }),

  behaviour('an older epoch is refused where a newer one has appended', async stage => {
    await stage.createTopic()
    const producer = await stage.idempotentProducer()
    assert.equal(await producer.send(0, ['a']), 'OK')
    const newer = producer.claiming({ producerEpoch: 1 })
    assert.equal(await newer.send(1, ['c']), 'OUT_OF_ORDER_SEQUENCE_NUMBER')
    assert.equal(await newer.send(0, ['b']), 'OK')
    assert.equal(await producer.send(1, ['d']), 'INVALID_PRODUCER_EPOCH')
  }),

  behaviour('each partition of a request is answered for itself', async stage => {
    await stage.createTopic(3)
    const producer = await stage.producer()
    await producer.begin(0, 2)
    // Three brokers may lead them: one request goes to the leader of the first.
    const batches = [0, 1, 2].map(partition => producer.batch(0, ['x'], partition))
    const answers = (await Promise.all(batches.map(batch => producer.produce([batch])))).flat()
    assert.deepEqual(
      answers.map(({ outcome }) => outcome),
      ['OK', 'INVALID_TXN_STATE', 'OK'],
    )
  }),

  behaviour('a topic that does not exist is refused', async stage => {
    await stage.createTopic()
    const producer = await stage.idempotentProducer()
    const [answer] = await producer.produce([producer.batch(0, ['x'], 0, `${stage.topic}-missing`)])
    assert.equal(answer!.outcome, 'UNKNOWN_TOPIC_OR_PARTITION')
  }),

  behaviour('a batch that was damaged on the way is refused', async stage => {
    await stage.createTopic()
    const producer = await stage.idempotentProducer()
    const batch = producer.batch(0, ['x'])
    batch.bytes[BatchField.count + 8]! ^= 1
    const [answer] = await producer.produce([batch])
    assert.equal(answer!.outcome, 'CORRUPT_MESSAGE')
    assert.equal(await producer.send(0, ['x']), 'OK')
  }),
]
