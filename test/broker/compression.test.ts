import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { findJava, runJava } from '../../dev/java.ts'
import { assertExactlyOnce, audit } from '../support/audit.ts'
import { brokers } from '../support/broker.ts'
import { frame, goldenSamples, IRIS_SCHEMA_ID } from '../support/models.ts'
import type { LogRecord } from '../support/record-log.ts'
import { Testbed } from '../support/testbed.ts'
import { readTopic } from '../support/topic-reader.ts'

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
const COUNT = 5_000
const FIRST_TIMESTAMP = Date.now() - 3_600_000
const MODEL = 'iris-classifier'
const SAMPLES = goldenSamples(MODEL)
const VALUES = SAMPLES.map(({ input }) => frame(IRIS_SCHEMA_ID, input))
const OUTPUTS = new Map(VALUES.map((value, i) => [value.toString('hex'), SAMPLES[i]!.output]))

const classpath = process.env.SLUICE_TEST_CLASSPATH
const skip = classpath
  ? false
  : "KAFKA_BROKERS was given from outside without SLUICE_TEST_CLASSPATH, Kafka's Java client"

suite("records of Kafka's Java client", { concurrency: 2, skip, timeout: 120_000 }, () => {
  const beds = new Map<string, Testbed>()
  let published: LogRecord[]

  before(async () => {
    for (const job of [...CODECS, 'aborted']) {
      beds.set(job, await Testbed.create(`java-${job}`, { model: MODEL, partitions: 2 }))
    }
    published = await publish([...beds].map(([job, { input }]) => `${job}=${input}`))
  })
  after(() => Promise.all([...beds.values()].map(bed => bed.close())))

  for (const codec of CODECS) {
    test(`compressed with ${codec}`, async () => {
      const bed = beds.get(codec)!
      if (codec !== 'none') await assert.rejects(readTopic(bed.input), new RegExp(`compressed: ${codec}`))
      const inputs = await assertPredicted(bed, published)
      assert.equal(inputs.length, COUNT)
    })
  }

  test('in aborted transactions are never predicted, those around them are', async () => {
    const bed = beds.get('aborted')!
    const inputs = await assertPredicted(bed, published)
    assert.ok(inputs.length > COUNT / 2 && inputs.length < (COUNT * 3) / 4, `${inputs.length} records were committed`)
  })
})

/** Runs Produce.java once; resolves to the records that a read_committed consumer must see. */
async function publish(jobs: readonly string[]): Promise<LogRecord[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-java-'))
  try {
    const [values, acks] = [join(folder, 'values'), join(folder, 'acks')]
    await writeFile(values, VALUES.map(value => `${value.toString('hex')}\n`).join(''))
    const source = fileURLToPath(new URL('Produce.java', import.meta.url))
    const args = [brokers().join(','), String(COUNT), String(FIRST_TIMESTAMP), values, acks, ...jobs]
    await runJava(await findJava(), classpath!, [source, ...args])
    return (await readFile(acks, 'utf8')).trimEnd().split('\n').map(recordOf)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** The record that a line of Produce.java stands for. */
function recordOf(line: string): LogRecord {
  const [topic, ...numbers] = line.split(' ')
  const [index, partition, offset] = numbers.map(Number) as [number, number, number]
  const number = Buffer.alloc(4)
  number.writeInt32BE(index)
  return {
    topic: topic!,
    partition,
    offset,
    timestamp: FIRST_TIMESTAMP + index,
    key: index % 5 === 0 ? null : Buffer.from(`flower-${index}`),
    value: VALUES[index % VALUES.length]!,
    headers:
      index % 3 === 0
        ? []
        : [
            ['twice', number],
            ['traceparent', Buffer.from(`00-${index}`)],
            ['twice', Buffer.alloc(0)],
            ['nothing', null],
          ],
    transactional: false,
  }
}

/** Runs a worker over a testbed's input and audits what comes out against what Java published there. */
async function assertPredicted(bed: Testbed, published: readonly LogRecord[]): Promise<LogRecord[]> {
  const inputs = published.filter(({ topic }) => topic === bed.input)
  const worker = bed.startWorker()
  await bed.caughtUp()
  assert.equal(await worker.stop(), 0)
  const [predictions, deadLetters] = await Promise.all([readTopic(bed.output), readTopic(bed.deadLetter)])
  assert.deepEqual(deadLetters, [])
  assertExactlyOnce(audit(inputs, predictions, deadLetters))
  await bed.assertPredictions({ inputs, predictions, deadLetters }, ({ value }) => OUTPUTS.get(value!.toString('hex')))
  return inputs
}
