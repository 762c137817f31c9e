import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { planArrivals } from '../../bench/latency/arrivals.ts'
import { monotonicMs } from '../../bench/latency/clock.ts'
import { Generator, type Lateness, type Start } from '../../bench/latency/generator.ts'
import { brokers, createTopics, uniqueName } from '../support/broker.ts'
import type { LogRecord } from '../support/record-log.ts'
import { readTopic } from '../support/topic-reader.ts'

const PARTITIONS = 3
const WALL = 1_700_000_000_000
const VALUES = Array.from({ length: 7 }, (_, i) => Buffer.from(`value ${i}`))

interface Published {
  readonly records: readonly LogRecord[]
  readonly firstOffsets: readonly number[]
  readonly lateness: Lateness
  /** Processor time that it took to publish, without connecting and the knocks. */
  readonly processorMs: number
}

/** Publishes a plan that begins `delayMs` from now, to a topic where another has been published before. */
async function publish(plan: ReturnType<typeof planArrivals>, delayMs: number): Promise<Published> {
  const topic = uniqueName('latency-generator')
  await createTopics({ [topic]: PARTITIONS })
  const open = async (arrivals: typeof plan, start: () => Start) => {
    const generator = new Generator({ brokers: brokers(), topic, arrivals, values: VALUES })
    const firstOffsets = await generator.open()
    await generator.knock()
    const before = process.threadCpuUsage()
    const lateness = await generator.run(start())
    const { user, system } = process.threadCpuUsage(before)
    await generator.close()
    return { firstOffsets, lateness, processorMs: (user + system) / 1000 }
  }
  await open(planArrivals([], PARTITIONS, 1), () => ({ monotonic: 0, wall: 0 }))
  const published = await open(plan, () => ({ monotonic: monotonicMs() + delayMs, wall: WALL }))
  return { ...published, records: await readTopic(topic) }
}

describe('the generator', () => {
  it('publishes each record once, where the plan says, with the time at which it was due, however late it is', async () => {
    const plan = planArrivals([{ rate: 3_000, seconds: 1 }], PARTITIONS, 5)
    const { records, firstOffsets, lateness } = await publish(plan, -60_000)
    assert.deepEqual(firstOffsets, [1, 1, 1], 'behind the knocks of the first')
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const found = records.filter(record => record.partition === partition && record.offset >= 1)
      const planned = plan.order.subarray(plan.starts[partition], plan.starts[partition + 1])
      assert.deepEqual(found.slice(1).map(described), [...planned].slice(1).map(expected))
      assert.equal(found[0]!.value!.toString(), VALUES[partition]!.toString(), 'the knock')
    }
    assert.ok(lateness.p50 > 58_000 && lateness.max < 200_000, `${lateness.p50} ms, at most ${lateness.max}`)

    function expected(record: number) {
      return [WALL + Math.floor(plan.times[record]!), `value ${record % VALUES.length}`, `key-${record % 1_000}`]
    }
  })

  it('does not publish before a record is due, and sleeps until then', async () => {
    const plan = planArrivals([{ rate: 10, seconds: 1 }], PARTITIONS, 6)
    const begun = monotonicMs()
    const { processorMs } = await publish(plan, 50)
    const last = 50 + plan.times.at(-1)!
    assert.ok(monotonicMs() - begun >= last)
    assert.ok(processorMs < last / 5, `${processorMs} ms of processor time in ${last} ms`)
  })
})

function described({ timestamp, value, key }: LogRecord) {
  return [Number(timestamp), value!.toString(), key!.toString()]
}
