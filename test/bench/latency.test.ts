import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Message, Producer } from 'kafkajs'
import { echo } from '../../bench/contenders.ts'
import { latencyOf } from '../../bench/latency/contender-latency.ts'
import { type LatencyOptions, measureLatency } from '../../bench/latency/measure.ts'
import { Stage } from '../../bench/stage.ts'
import { openWorkload } from '../../bench/workload.ts'
import { brokers, createTopics, kafka, uniqueName } from '../support/broker.ts'

const RATE = 200
const SECONDS = 2
const PARTITIONS = 4
const STEP = { rate: RATE, seconds: SECONDS }

async function openStage(t: TestContext): Promise<Stage> {
  const stage = await Stage.at(brokers()[0]!)
  t.after(() => stage.close())
  return stage
}

/** Two topics without a contender between them. */
async function bareOptions(inputPartitions: number): Promise<LatencyOptions> {
  const [inputTopic, outputTopic] = [uniqueName('latency-in'), uniqueName('latency-out')]
  await createTopics({ [inputTopic]: inputPartitions, [outputTopic]: 1 })
  const values = [Buffer.from('value')]
  return { brokers: brokers(), inputTopic, outputTopic, partitions: 2, values, steps: [STEP], startPatienceMs: 300 }
}

describe('open-loop latency', () => {
  it('of an echo: every record is seen once, in order, and after it was due', async t => {
    const stage = await openStage(t)
    const workload = await openWorkload('iris')
    const load = {
      workload,
      guarantee: 'exactly-once',
      partitions: PARTITIONS,
      steps: [STEP],
      warmUpSeconds: 1,
    } as const
    const { whole, steps, course, tally, cores, lateness, recoverySeconds } = await latencyOf(stage, echo, load)

    const { records, batches, ...faults } = tally
    assert.deepEqual(faults, { seen: records, lost: 0, doubled: 0, misordered: 0, foreign: 0 })
    const measured = RATE * SECONDS
    assert.ok(Math.abs(whole.records - measured) < 5 * Math.sqrt(measured), `${whole.records} records`)
    assert.ok(records > whole.records + PARTITIONS, 'the warm-up and the knocks are no part of the figures')
    assert.ok(batches >= PARTITIONS && batches <= records)
    assert.deepEqual(steps, [whole])

    const { p50, p90, p99, p999, max } = whole.latencyMs
    assert.ok(0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max && max < Number.POSITIVE_INFINITY)
    assert.ok(lateness.p50 <= max, 'what is sent late is seen late')
    assert.equal(recoverySeconds, undefined)
    assert.equal(
      course.reduce((sum, { rateIn }) => sum + rateIn / 4, 0),
      whole.records,
    )
    assert.equal(course.at(-1)!.lag, 0)
    for (const name of ['generator', 'reader', 'contender']) assert.ok(cores[name]! >= 0, `${name} ${cores[name]}`)
  })

  it('says when nobody answers', async () => {
    const options = await bareOptions(2)
    await assert.rejects(measureLatency(options), /outputs of 0 of the 2 records .* is the contender at work/)
  })

  it('ends when the contender does', async t => {
    const options = await bareOptions(2)
    const { promise: died, reject } = Promise.withResolvers<never>()
    await answer(t, options, () => {
      reject(new Error('It is no more.'))
      return []
    })
    await assert.rejects(measureLatency({ ...options, startPatienceMs: 60_000, died }), /It is no more/)
  })

  it('refuses a topic with other partitions than it was told', async () => {
    await assert.rejects(measureLatency(await bareOptions(3)), /must have 2 partitions, but has 3/)
  })

  it('of a contender with faults: what is lost, doubled and overtaken is counted', async t => {
    const options = await bareOptions(2)
    const held: Message[] = []
    await answer(t, options, ({ partition, offset }, output) => {
      if (partition === 1) return [output]
      if (offset === 3) return []
      if (offset === 5) return [output, output]
      if (offset !== 7) return [output, ...held.splice(0)]
      held.push(output)
      return []
    })
    const steps = [{ rate: 100, seconds: 0.3 }]
    const patience = { startPatienceMs: 60_000, patienceMs: 1_000, warmUpSeconds: 0 }
    const { whole, tally } = await measureLatency({ ...options, ...patience, steps })
    const { lost, doubled, misordered, foreign } = tally
    assert.deepEqual({ lost, doubled, misordered, foreign }, { lost: 1, doubled: 1, misordered: 1, foreign: 0 })
    assert.equal(whole.lost, 1)
    assert.equal(whole.latencyMs.max, Number.POSITIVE_INFINITY)
  })

  it('fails when somebody else publishes to the input, whose offsets it counts', async t => {
    const options = await bareOptions(2)
    // After the knocks, before the first arrival.
    const intruder = { key: 'intruder', value: '' }
    await answer(t, options, async ({ partition, key }, output, producer) => {
      if (key?.toString() === intruder.key) return []
      await producer.send({ topic: options.inputTopic, messages: [{ ...intruder, partition }] })
      return [output]
    })
    const measured = measureLatency({ ...options, startPatienceMs: 60_000 })
    await assert.rejects(measured, /somebody else publishes there/)
  })
})

interface Input {
  readonly partition: number
  readonly offset: number
  readonly key: Buffer | null
}

type Answer = (input: Input, output: Message, producer: Producer) => Message[] | Promise<Message[]>

/** Publishes what `answer` makes of each input record and of the output that a contender should publish for it. */
async function answer(t: TestContext, { inputTopic, outputTopic }: LatencyOptions, answer: Answer): Promise<void> {
  const producer = kafka().producer()
  const consumer = kafka().consumer({ groupId: uniqueName('latency-answers'), maxWaitTimeInMs: 50 })
  t.after(() => Promise.all([consumer.disconnect(), producer.disconnect()]))
  await Promise.all([producer.connect(), consumer.connect()])
  await consumer.subscribe({ topic: inputTopic, fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      const source = `${inputTopic}/${partition}/${message.offset}`
      const input = { partition, offset: Number(message.offset), key: message.key }
      const messages = await answer(input, { value: '', headers: { source } }, producer)
      if (messages.length > 0) await producer.send({ topic: outputTopic, messages })
    },
  })
}
