import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { systemClock } from '../../src/core/clock.ts'
import type { ErrorCode } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import { brokers, committedOffsets, createTopics, until, withAdmin } from '../support/broker.ts'
import type { WorkerProcess } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { readTopic } from '../support/topic-reader.ts'
import { ROW_SUMS, writeFixtureBundle } from './bundles.ts'
import { assertWaits, health, sourceOffsets, temporaryFolder } from './support.ts'

const SESSION_TIMEOUT_MS = '2000'

async function testbed(t: TestContext, partitions: number): Promise<Testbed> {
  const store = temporaryFolder(t, 'store')
  writeFixtureBundle(store, ROW_SUMS)
  const formats = { INPUT_FORMAT: 'json', OUTPUT_FORMAT: 'json' }
  const env = { ...formats, MODEL_STORE: store, MODEL_NAME: 'row-sums', SESSION_TIMEOUT_MS }
  const bed = await Testbed.create('offsets', { partitions, env })
  t.after(() => bed.close())
  return bed
}

const rows = (count: number, partition = 0) =>
  Array.from({ length: count }, (_, n) => ({ partition, value: JSON.stringify({ a: n, b: 0, c: 0, d: 0 }) }))

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

/** Waits until the output topic has so many predictions of a partition, then returns the offsets that they are of. */
async function predicted(bed: Testbed, worker: WorkerProcess, count: number, partition = 0): Promise<number[]> {
  let found: number[] = []
  const enough = async () => {
    found = sourceOffsets(await readTopic(bed.output), partition)
    return found.length >= count
  }
  await until(enough, () => `${found.length} of ${count} predictions are there. ${worker.describe()}`)
  return found
}

/** Expects that a loss was accepted, and that it is over: the worker said so once, and nothing is halted any more. */
async function assertAccepted(worker: WorkerProcess, code: ErrorCode, message: RegExp): Promise<void> {
  const line = await worker.waitForLog(({ msg }) => /^A loss is accepted\. /.test(msg))
  assert.equal(line.level, 'warn')
  assert.equal(line.code, code)
  assert.match(line.msg, message)
  assert.equal(worker.log.filter(({ msg }) => /^A loss is accepted/.test(msg)).length, 1)
  assert.equal(await worker.metric('sluice_partition_halted'), 0)
}

/** Commits an offset for the group, which must not have members, as a tool for persons does. */
async function setOffset(bed: Testbed, offset: number): Promise<void> {
  const partitions = [{ partition: 0, offset: String(offset) }]
  await withAdmin(admin => admin.setOffsets({ groupId: bed.group, topic: bed.input, partitions }))
}

/** Commits an offset for the group, which must not have members, as a worker does that comes late. */
async function commitLate(bed: Testbed, offset: number, metadata: string): Promise<void> {
  const connection = { brokers: brokers(), clientId: 'late', requestTimeoutMs: 10_000, metadataMaxAgeMs: 10_000 }
  const cluster = clusterTools(connection, silentLog).create()
  const coordinator = new Coordinator(cluster, 'group', bed.group, systemClock)
  const topics = [{ topic: bed.input, partitions: [{ partition: 0, offset: String(offset), metadata }] }]
  const request = { groupId: bed.group, groupGenerationId: -1, memberId: '', topics }
  await coordinator.send(10_000, broker => broker.offsetCommit(request)).finally(() => cluster.disconnect())
}

/** The metadata of the group's offset. */
async function committedMetadata(bed: Testbed): Promise<string> {
  const [answer] = await withAdmin(admin => admin.fetchOffsets({ groupId: bed.group, topics: [bed.input] }))
  return answer!.partitions[0]!.metadata ?? ''
}

async function recreate(bed: Testbed): Promise<void> {
  await withAdmin(admin => admin.deleteTopics({ topics: [bed.input] }))
  await createTopics({ [bed.input]: 1 })
}

/** Runs a worker until it has committed everything, and stops it. */
async function serveAll(bed: Testbed): Promise<void> {
  const worker = bed.startWorker()
  await bed.caughtUp()
  assert.equal(await worker.stop(), 0)
}

describe('a committed offset that cannot be read from stops its partition', {
  concurrency: 3, // each has a worker and a model to load; there may be two cores
  timeout: 180_000,
}, () => {
  it('records were deleted before they were read', async t => {
    const bed = await testbed(t, 2)
    await bed.produce([...rows(20, 0), ...rows(20, 1)])
    await serveAll(bed)
    await bed.produce([...rows(30, 0), ...rows(30, 1)])
    const partitions = [{ partition: 0, offset: '35' }]
    await withAdmin(async admin => {
      await admin.fetchTopicOffsets(bed.input) // deleteTopicRecords needs the metadata that this loads
      await admin.deleteTopicRecords({ topic: bed.input, partitions })
    })

    const halted = bed.startWorker()
    const lost = new RegExp(
      `committed offset of ${bed.input}/0 is 20, but the log holds 35 to 49.*Records 20 to 34 .15.`,
    )
    await assertWaits(halted, 'offset-out-of-range', lost)
    assert.deepEqual(await predicted(bed, halted, 50, 1), range(0, 50), 'the other partition goes on')
    assert.deepEqual(await committedOffsets(bed.group, bed.input), [20, 50])
    const { body } = await health(halted, 'ready')
    assert.equal(body.reasons.length, 1)
    assert.match(body.reasons[0]!.remedy, /ON_OFFSET_LOSS=continue/)
    assert.equal(await halted.metric('sluice_partition_halted', { partition: '0' }), 1)
    assert.equal(await halted.metric('sluice_partition_halted', { partition: '1' }), 0)
    assert.equal(await halted.stop(), 0)

    const accepting = await bed.startWorker({ ON_OFFSET_LOSS: 'continue' }).ready()
    await assertAccepted(accepting, 'offset-out-of-range', /Records 20 to 34 .* begins at offset 35/)
    await bed.caughtUp()
    assert.deepEqual(await predicted(bed, accepting, 35), [...range(0, 20), ...range(35, 50)])
    assert.deepEqual(await readTopic(bed.deadLetter), [])
  })

  it('the topic was deleted and created again while the worker ran', async t => {
    const bed = await testbed(t, 1)
    await bed.produce(rows(20))
    const worker = await bed.startWorker().ready()
    await bed.caughtUp()
    await withAdmin(admin => admin.deleteTopics({ topics: [bed.input] }))
    await assertWaits(worker, 'topic-missing', new RegExp(bed.input))
    await createTopics({ [bed.input]: 1 })
    // More than before: the old position lies within the new log, and reading on from there would skip the first 20.
    await bed.produce(rows(50))
    const message = new RegExp(`committed offset 20 of ${bed.input}/0 belongs to the topic with the id `)
    await assertWaits(worker, 'topic-recreated', message)
    assert.deepEqual(await predicted(bed, worker, 20), range(0, 20), 'nothing is predicted until a person decides')
    assert.equal(await worker.stop(), 0)

    const careful = bed.startWorker()
    await assertWaits(careful, 'topic-recreated', new RegExp(`${message.source}.*holds 0 to 49`))
    assert.equal(await careful.stop(), 0)
    const accepting = await bed.startWorker({ ON_OFFSET_LOSS: 'continue' }).ready()
    await assertAccepted(accepting, 'topic-recreated', /begins at offset 0 of the new topic/)
    await bed.caughtUp()
    assert.deepEqual(await predicted(bed, accepting, 70), [...range(0, 20), ...range(0, 50)])
  })

  it('the topic was deleted and created again, longer than before, between two requests', async t => {
    const bed = await testbed(t, 1)
    await bed.produce(rows(20))
    const worker = await bed.startWorker({ SESSION_TIMEOUT_MS: '20000' }).ready()
    await bed.caughtUp()
    worker.signal('SIGSTOP')
    await recreate(bed)
    await bed.produce(rows(50))
    worker.signal('SIGCONT')
    // By its name alone nothing would be amiss: the log has an offset 20, and more.
    await assertWaits(worker, 'topic-recreated', new RegExp(`committed offset 20 of ${bed.input}/0 .*holds 0 to 49`))
    assert.deepEqual(sourceOffsets(await readTopic(bed.output)), range(0, 20))
  })

  it('the topic was deleted and created again, longer than before, and the group kept its offset', async t => {
    const bed = await testbed(t, 1)
    await bed.produce(rows(20))
    await serveAll(bed)
    const metadata = await committedMetadata(bed)
    await recreate(bed)
    await bed.produce(rows(50))
    // The broker forgets the offsets of a topic with the topic, unless a commit comes late.
    await commitLate(bed, 20, metadata)
    const worker = bed.startWorker()
    await assertWaits(worker, 'topic-recreated', new RegExp(`offset 20 of ${bed.input}/0 belongs to.*holds 0 to 49`))
    assert.equal(await worker.stop(), 0)
    assert.deepEqual(sourceOffsets(await readTopic(bed.output)), range(0, 20))

    // What a person sets is a decision, and by the next commit it names the new topic.
    await setOffset(bed, 45)
    const decided = await bed.startWorker().ready()
    await bed.caughtUp()
    assert.deepEqual(await predicted(bed, decided, 25), [...range(0, 20), ...range(45, 50)])
    assert.notEqual(await committedMetadata(bed), metadata)
    assert.match(await committedMetadata(bed), /^sluice topic-id=[\w-]{22} leader-epoch=\d+ serving=[0-9a-f]{12}$/)
  })

  it('a loss that was accepted stays accepted, though nothing has been read since', async t => {
    const bed = await testbed(t, 1)
    await bed.produce(rows(20))
    await serveAll(bed)
    const metadata = await committedMetadata(bed)
    await recreate(bed)
    await commitLate(bed, 20, metadata)
    const accepting = await bed.startWorker({ ON_OFFSET_LOSS: 'continue' }).ready()
    await assertAccepted(accepting, 'topic-recreated', /its log is empty/)
    assert.equal(await accepting.stop(), 0)
    const next = await bed.startWorker().ready()
    await bed.produce(rows(5))
    assert.deepEqual(await predicted(bed, next, 25), [...range(0, 20), ...range(0, 5)])
  })

  it('the topic was deleted and created again, with less in it, while no worker ran', async t => {
    const bed = await testbed(t, 1)
    await bed.produce(rows(20))
    await serveAll(bed)
    await withAdmin(admin => admin.deleteTopics({ topics: [bed.input] }))
    await createTopics({ [bed.input]: 1 })
    await bed.produce(rows(5))
    // A broker that forgets the offsets of a topic with the topic leaves none; otherwise it is beyond the end.
    const worker = bed.startWorker()
    await assertWaits(worker, 'offset-missing', new RegExp(`Group ${bed.group} has worked on ${bed.input}/0 before`))
    assert.deepEqual(await predicted(bed, worker, 20), range(0, 20))
  })

  it('the offset was deleted', async t => {
    const bed = await testbed(t, 1)
    await bed.produce(rows(20))
    await serveAll(bed)
    await withAdmin(admin => admin.deleteGroups([bed.group]))

    for (const attempt of ['first', 'second']) {
      const halted = bed.startWorker()
      const message = new RegExp(
        `Group ${bed.group} has worked on ${bed.input}/0 before.*begins at offset 0, which may repeat or skip`,
      )
      await assertWaits(halted, 'offset-missing', message)
      assert.match((await health(halted, 'ready')).body.reasons[0]!.remedy, /ON_OFFSET_LOSS=continue/)
      assert.equal(await halted.stop(), 0, `${attempt} start`)
    }
    assert.equal((await readTopic(bed.output)).length, 20, 'nothing is predicted until a person decides')

    const accepting = await bed.startWorker({ ON_OFFSET_LOSS: 'continue' }).ready()
    assert.deepEqual(await predicted(bed, accepting, 40), [...range(0, 20), ...range(0, 20)])
    await accepting.stop()
    await bed.produce(rows(5))
    const careful = await bed.startWorker().ready()
    assert.deepEqual((await predicted(bed, careful, 45)).slice(40), range(20, 25), 'once accepted, it is over')
  })

  it('but not in a new group, however often it is killed before its first transaction', async t => {
    const bed = await testbed(t, 1)
    await bed.produce(rows(5))
    const env = { START_FROM: 'latest' }
    const lines = ['partition task is running', 'joined the group', 'partition task is running']
    for (const [attempt, message] of lines.entries()) {
      const worker = bed.startWorker(env)
      await worker.waitForLog(({ msg }) => msg === message)
      await worker.kill()
      if (attempt === 0) await bed.produce(rows(5))
    }
    const worker = await bed.startWorker(env).ready()
    await bed.caughtUp()
    assert.deepEqual(await predicted(bed, worker, 5), range(5, 10), 'latest is what it was at the first start')
    const complaints = worker.log.filter(({ level }) => level === 'warn' || level === 'error')
    assert.deepEqual(complaints, [])
  })
})
