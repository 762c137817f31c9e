import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { committedOffsets, createTopics, until, withAdmin } from '../support/broker.ts'
import type { WorkerProcess } from '../support/sluice-process.ts'
import { Testbed } from '../support/testbed.ts'
import { readTopic } from '../support/topic-reader.ts'
import { ROW_SUMS, writeFixtureBundle } from './bundles.ts'
import { assertWaits, health, sourceOffsets, temporaryFolder } from './support.ts'

const SESSION_TIMEOUT_MS = '6000' // the least that a broker allows unless told

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

/** Runs a worker until it has committed everything, and stops it. */
async function serveAll(bed: Testbed): Promise<void> {
  const worker = bed.startWorker()
  await bed.caughtUp()
  assert.equal(await worker.stop(), 0)
}

describe('a committed offset that cannot be read from stops its partition', {
  concurrency: true,
  timeout: 120_000,
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
    const lost = new RegExp(`committed offset of ${bed.input}/0 is 20, but the log holds 35 to 49.*Records 20 to 34`)
    await assertWaits(halted, 'offset-out-of-range', lost)
    assert.deepEqual(await predicted(bed, halted, 50, 1), range(0, 50), 'the other partition goes on')
    assert.deepEqual(await committedOffsets(bed.group, bed.input), [20, 50])
    const { body } = await health(halted, 'ready')
    assert.equal(body.reasons.length, 1)
    assert.match(body.reasons[0]!.remedy, /ON_OFFSET_LOSS=continue/)
    assert.equal(await halted.stop(), 0)

    const accepting = await bed.startWorker({ ON_OFFSET_LOSS: 'continue' }).ready()
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
    await assertWaits(
      worker,
      'offset-missing',
      new RegExp(`worked on ${bed.input}/0 before, but its committed offset is`),
    )
    assert.deepEqual(await predicted(bed, worker, 20), range(0, 20), 'nothing is predicted until a person decides')
    assert.equal(await worker.stop(), 0)

    const accepting = await bed.startWorker({ ON_OFFSET_LOSS: 'continue' }).ready()
    await bed.caughtUp()
    assert.deepEqual(await predicted(bed, accepting, 70), [...range(0, 20), ...range(0, 50)])
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
        `Group ${bed.group} has worked on ${bed.input}/0 before.*offset 0 could repeat or skip`,
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
