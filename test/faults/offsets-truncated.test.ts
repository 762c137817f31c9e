import assert from 'node:assert/strict'
import { readFile, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { it } from 'node:test'
import { type Broker, startBroker } from '../../dev/broker.ts'
import { until } from '../support/broker.ts'
import { Testbed } from '../support/testbed.ts'
import { readTopic } from '../support/topic-reader.ts'
import { ROW_SUMS, writeFixtureBundle } from './bundles.ts'
import { assertWaits, sourceOffsets, temporaryFolder } from './support.ts'

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)
const rows = (count: number) => range(0, count).map(n => ({ value: JSON.stringify({ a: n, b: 0, c: 0, d: 0 }) }))

/** Cuts the log of a partition off after its first batch, as a disk does that loses its last writes. The broker is down. */
async function loseAllButTheFirstBatch(broker: Broker, topic: string): Promise<void> {
  const segment = join(broker.folder, 'data', `${topic}-0`, '00000000000000000000.log')
  const lengthOfBatch = (await readFile(segment)).readInt32BE(8)
  await truncate(segment, 12 + lengthOfBatch)
}

it('a log that lost records which were read, and grew past them again, stops its partition', {
  timeout: 120_000,
}, async t => {
  // One of its own: it goes down, and with less than it had comes up again.
  const broker = await startBroker()
  t.after(() => broker.stop())
  process.env.KAFKA_BROKERS = broker.bootstrap
  const store = temporaryFolder(t, 'store')
  writeFixtureBundle(store, ROW_SUMS)
  const env = {
    INPUT_FORMAT: 'json',
    OUTPUT_FORMAT: 'json',
    MODEL_STORE: store,
    MODEL_NAME: 'row-sums',
    SESSION_TIMEOUT_MS: '5000',
  }
  const bed = await Testbed.create('truncated', { partitions: 1, env })
  t.after(() => bed.close())
  await bed.produce(rows(12))
  await bed.produce(rows(8))
  const worker = await bed.startWorker().ready()
  await bed.caughtUp()

  await broker.stop({ keepData: true })
  await loseAllButTheFirstBatch(broker, bed.input)
  await broker.start()
  const lost = new RegExp(
    `Records 12 to 19 .8. of ${bed.input}/0, which group ${bed.group} has read.*truncated at offset 12`,
  )
  await assertWaits(worker, 'log-truncated', lost)
  assert.equal(await worker.stop(), 0)

  await bed.produce(rows(30))
  // The committed offset, 20, lies within the log again: only the epoch of its leaders tells.
  const next = bed.startWorker()
  await assertWaits(next, 'log-truncated', new RegExp(`${lost.source}.*holds 0 to 41 now.*begins at offset 12`))
  assert.deepEqual(sourceOffsets(await readTopic(bed.output)), range(0, 20))
  assert.equal(await next.stop(), 0)

  const accepting = await bed.startWorker({ ON_OFFSET_LOSS: 'continue' }).ready()
  await bed.caughtUp()
  const expected = [...range(0, 20), ...range(12, 42)]
  let found: number[] = []
  const all = async () => {
    found = sourceOffsets(await readTopic(bed.output))
    return found.length >= expected.length
  }
  await until(all, () => `${found.length} predictions of ${expected.length}. ${accepting.describe()}`)
  assert.deepEqual(found, expected)
})
