import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Partitioners, type PartitionMetadata } from 'kafkajs'
import { assertExactlyOnce } from '../support/audit.ts'
import { endOffsets, until, withAdmin } from '../support/broker.ts'
import { headerText, sourceOf } from '../support/record-log.ts'
import { Testbed } from '../support/testbed.ts'
import { assertDeadLetters, irisWorkload } from '../support/workload.ts'

suite('records go where they belong', { concurrency: true, timeout: 120_000 }, () => {
  test('with another number of output partitions the key decides, as in Java clients', async t => {
    const bed = await Testbed.create('routing', { partitions: 4, outputPartitions: 3 })
    t.after(() => bed.close())
    const workload = irisWorkload(2_000, { partitions: 4 })
    await bed.produce(workload.messages)
    bed.startWorker()
    await bed.caughtUp()
    const outcome = await bed.outcome()
    assertExactlyOnce(await bed.audit(outcome))
    assertDeadLetters(workload, outcome.deadLetters)

    const partitioner = Partitioners.DefaultPartitioner()
    const partitionMetadata = [0, 1, 2].map(partitionId => ({ partitionId, leader: 1 }) as PartitionMetadata)
    const used = new Set<number>()
    for (const record of [...outcome.predictions, ...outcome.deadLetters]) {
      const { topic, key, partition } = record
      const inputPartition = Number(headerText(record, 'source')!.split('/')[1])
      const expected =
        key === null ? inputPartition % 3 : partitioner({ topic, partitionMetadata, message: { key, value: null } })
      assert.equal(partition, expected, `${sourceOf(record)} with key ${key?.toString('hex')}`)
      used.add(partition)
    }
    assert.deepEqual([...used].sort(), [0, 1, 2])
  })

  test('START_FROM=latest means the same after a crash that came before the first commit', async t => {
    const env = { START_FROM: 'latest', SESSION_TIMEOUT_MS: '6000' }
    const bed = await Testbed.create('latest', { partitions: 1, env })
    t.after(() => bed.close())
    const { messages } = irisWorkload(150, { partitions: 1, poisonEvery: 0 })
    await bed.produce(messages.slice(0, 100))
    const first = bed.startWorker()
    await first.waitForLog(({ msg }) => msg === 'partition task is running')
    await first.kill()
    await bed.produce(messages.slice(100))
    bed.startWorker()
    await bed.caughtUp()
    const { predictions } = await bed.outcome()
    const sources = predictions.map(record => headerText(record, 'source'))
    assert.deepEqual(
      sources,
      Array.from({ length: 50 }, (_, i) => `${bed.input}/0/${100 + i}`),
    )
  })

  test('partitions that the input topic is given are served without a restart', async t => {
    const bed = await Testbed.create('grown', { partitions: 1, outputPartitions: 3 })
    t.after(() => bed.close())
    const workload = irisWorkload(300, { partitions: 3 })
    const worker = await bed.startWorker({ METADATA_MAX_AGE_MS: '1000' }).ready()
    await withAdmin(admin => admin.createPartitions({ topicPartitions: [{ topic: bed.input, count: 3 }] }))
    const grown = async () => (await endOffsets(bed.input)).length === 3
    await until(grown, () => `${bed.input} still has one partition`)
    await bed.produce(workload.messages)
    await bed.caughtUp(90_000)
    assertExactlyOnce(await bed.audit())
    assert.equal(worker.over, false)
  })
})
