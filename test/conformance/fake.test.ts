import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { behaviours } from './behaviours.ts'
import { FakeSubject } from './fake-subject.ts'
import { Stage } from './stage.ts'

for (const brokers of [1, 3]) {
  describe(`the fake of ${brokers} broker${brokers === 1 ? '' : 's'}`, () => {
    for (const [chapter, behavioursOfChapter] of Object.entries(behaviours)) {
      describe(chapter, () => {
        for (const { name, run } of behavioursOfChapter) test(name, () => run(new Stage(new FakeSubject(brokers))))
      })
    }
  })
}

// Too slow to try on a real broker: TransactionMetadata.isProducerEpochExhausted.
test('the fake gives another producer id when the epochs of one are used up', async () => {
  const stage = new Stage(new FakeSubject(1))
  const { transactionalId } = stage
  const coordinator = await stage.transactionCoordinator()
  const request = { transactionalId, transactionTimeout: 1_000 }
  const first = await coordinator.initProducerId(request)
  let last = first
  while (last.producerId === first.producerId) {
    const next = await coordinator.initProducerId(request)
    if (next.producerId !== first.producerId) assert.deepEqual([last.producerEpoch, next.producerEpoch], [32_766, 0])
    last = next
  }
})
