import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SluiceError } from '../../src/core/errors.ts'
import { RunError } from '../../src/core/inference.ts'
import type { MicroBatch } from '../../src/pipeline/micro-batch.ts'
import type { RowSource } from '../../src/pipeline/row-sources.ts'
import { settle } from './fake-clock.ts'
import { predictionFor } from './fake-pool.ts'
import { propertyOptions } from './property-options.ts'
import { Bench, MODEL } from './task-harness.ts'

/** Rows of one source that were packed into one micro-batch. */
interface PackedPart {
  readonly batch: MicroBatch
  readonly firstRow: number
  readonly rows: readonly number[]
  done: boolean
}

/** Packs numbers; reads their outputs and lets go of the slot as soon as they are there, unless it `keeps` them. */
class NumberSource implements RowSource {
  readonly waiting: number[] = []
  readonly parts: PackedPart[] = []
  /** What came out, in the order in which it did. */
  readonly results: { readonly row: number; readonly output: number; readonly refused: boolean }[] = []
  keeps = false
  readonly #bench: Bench

  constructor(bench: Bench) {
    this.#bench = bench
  }

  get backlog(): number {
    return this.waiting.length
  }

  offer(...rows: number[]): void {
    this.waiting.push(...rows)
    this.#bench.batcher.offer(this)
  }

  pack(batch: MicroBatch): boolean {
    const firstRow = batch.rows
    const rows = this.waiting.splice(0, batch.limit - firstRow)
    const part: PackedPart = { batch, firstRow, rows, done: false }
    ;(batch.slot.inputs[0]!.data as Float64Array).set(rows, firstRow)
    batch.rows += rows.length
    if (rows.length > 0) {
      this.parts.push(part)
      batch.hold({ settled: () => this.#settled(part) })
    }
    return this.waiting.length > 0
  }

  letGo(): void {
    this.keeps = false
    for (const part of this.parts.filter(({ done }) => done)) part.batch.letGo()
  }

  #settled(part: PackedPart): void {
    assert.equal(part.done, false, 'a part is settled once')
    part.done = true
    const outputs = part.batch.slot.outputs[0]!.data as Float64Array
    part.rows.forEach((row, i) => {
      const at = part.firstRow + i
      this.results.push({ row, output: outputs[at]!, refused: part.batch.faults?.has(at) ?? false })
    })
    if (!this.keeps) part.batch.letGo()
  }
}

/** A bench whose sessions all have work, so that rows gather. */
async function busyBench(options: { sessions?: number; slots?: number; capacity?: number; maxQueueDelayMs?: number }) {
  const bench = new Bench(options)
  const other = new NumberSource(bench)
  for (let i = 0; i < bench.pool.size; i++) {
    other.offer(...Array.from({ length: options.capacity ?? 4 }, () => -1))
    await settle()
  }
  assert.equal(bench.pool.idle, 0)
  return bench
}

const triggers = (bench: Bench) => bench.telemetry.batches.map(({ rows, trigger }) => `${rows} ${trigger}`)

async function finish(bench: Bench): Promise<void> {
  while (bench.pool.runs.length > 0) {
    bench.pool.runs[0]!.succeed()
    await settle()
  }
}

test('a free session takes what is offered in the same turn, from all sources', async () => {
  const bench = new Bench()
  const [a, b] = [new NumberSource(bench), new NumberSource(bench)]
  a.offer(1)
  b.offer(2, 3)
  await settle()
  assert.deepEqual(bench.pool.runs[0]!.features, [1, 2, 3])
  await finish(bench)
  assert.deepEqual(b.results, [
    { row: 2, output: predictionFor(2), refused: false },
    { row: 3, output: predictionFor(3), refused: false },
  ])
  assert.deepEqual(triggers(bench), ['3 session-free'])
})

test('while all sessions are busy rows gather, and the session that becomes free takes them together', async () => {
  const bench = await busyBench({ sessions: 1, slots: 2 })
  const source = new NumberSource(bench)
  for (const row of [1, 2, 3]) {
    source.offer(row)
    await settle()
  }
  assert.equal(bench.pool.runs.length, 1)
  bench.pool.runs[0]!.succeed()
  await settle()
  assert.deepEqual(bench.pool.runs[0]!.features, [1, 2, 3])
  await finish(bench)
  assert.deepEqual(triggers(bench), ['4 full', '3 session-free'])
})

test('rows are decoded while sessions compute, until no slot is free; then they wait undecoded', async () => {
  const bench = await busyBench({ sessions: 1, slots: 2, capacity: 2 })
  const source = new NumberSource(bench)
  source.offer(1, 2, 3)
  await settle()
  assert.deepEqual(source.waiting, [3])
  assert.equal(bench.pool.freeSlots, 0)
  bench.pool.runs[0]!.succeed()
  await settle()
  assert.deepEqual(source.waiting, [])
})

test('sources take turns, a batch each: a long backlog does not starve the others', async () => {
  const bench = new Bench({ sessions: 1, slots: 1, capacity: 2 })
  const [long, short] = [new NumberSource(bench), new NumberSource(bench)]
  long.offer(1, 2, 3)
  long.offer(4, 5, 6) // saying so again gives no second turn
  short.offer(10, 11, 12)
  const order: number[][] = []
  await settle()
  while (bench.pool.runs.length > 0) {
    order.push([...bench.pool.runs[0]!.features])
    bench.pool.runs[0]!.succeed()
    await settle()
  }
  assert.deepEqual(order, [
    [1, 2],
    [10, 11],
    [3, 4],
    [12, 5], // the rest of one and the next of the other share a batch
    [6],
  ])
})

test('with MAX_QUEUE_DELAY_MS a free session waits for more rows, but no longer than that', async () => {
  const bench = new Bench({ maxQueueDelayMs: 10 })
  const source = new NumberSource(bench)
  source.offer(1)
  await bench.clock.advance(6)
  source.offer(2)
  await bench.clock.advance(3)
  assert.equal(bench.pool.runs.length, 0)
  await bench.clock.advance(1)
  assert.deepEqual(bench.pool.runs[0]!.features, [1, 2])
  await finish(bench)
  assert.deepEqual(triggers(bench), ['2 delay'])
  assert.equal(bench.telemetry.batches[0]!.queueMs, 10)
  assert.equal(bench.clock.waiting, 0)
})

test('a batch that fills up does not wait out the delay, and leaves no timer behind', async () => {
  const bench = new Bench({ maxQueueDelayMs: 10 })
  const source = new NumberSource(bench)
  source.offer(1, 2)
  await bench.clock.advance(5)
  source.offer(3, 4)
  await settle()
  assert.deepEqual(bench.pool.runs[0]!.features, [1, 2, 3, 4])
  await finish(bench)
  assert.deepEqual(triggers(bench), ['4 full'])
  assert.equal(bench.clock.waiting, 0)
})

test('the delay counts from the first row, not from when the slot was taken', async () => {
  const bench = new Bench({ maxQueueDelayMs: 10 })
  const source = new NumberSource(bench)
  source.offer() // nothing to pack: an empty batch stays open
  await bench.clock.advance(50)
  source.offer(1)
  await bench.clock.advance(9)
  assert.equal(bench.pool.runs.length, 0)
  await bench.clock.advance(1)
  assert.equal(bench.pool.runs.length, 1)
})

test('without a target nobody asks for the backlog, and a batch may have all rows of its slot', async () => {
  const bench = new Bench({ capacity: 64 })
  const source = new NumberSource(bench)
  Object.defineProperty(source, 'backlog', { get: () => assert.fail('asked') })
  source.offer(...Array.from({ length: 64 }, (_, row) => row))
  await settle()
  await finish(bench)
  assert.deepEqual(triggers(bench), ['64 full'])
  assert.deepEqual(bench.telemetry.limits, [])
})

test('with a target the first batches are small, until it is known what runs cost', async () => {
  const bench = new Bench({ capacity: 64, targetLatencyMs: 100 })
  const source = new NumberSource(bench)
  source.offer(...Array.from({ length: 100 }, (_, row) => row))
  await settle()
  while (bench.pool.runs.length > 0) {
    await bench.clock.advance(bench.pool.runs[0]!.rows) // 1 ms a row
    bench.pool.runs[0]!.succeed()
    await settle()
  }
  assert.equal(source.results.length, 100)
  // The first run is no measure, and two batches are decoded ahead; then four times as many rows, or what fits twice.
  assert.deepEqual(triggers(bench).slice(0, 3), ['8 target-size', '8 target-size', '8 target-size'])
  assert.ok(bench.telemetry.batches.slice(3).every(({ rows }) => rows > 8))
  const { provider, cost } = bench.telemetry.costs[0]!
  assert.deepEqual([provider, cost.rowMs], ['cpu', 1])
})

test('what commits take is left for them: what is left of the target bounds the batches', async () => {
  const limitWith = async (deliveryMs: number) => {
    const bench = new Bench({ capacity: 64, targetLatencyMs: 100 })
    const source = new NumberSource(bench)
    for (let i = 0; i < 20; i++) {
      source.offer(i)
      await settle()
      await bench.clock.advance(10)
      bench.pool.runs[0]?.succeed()
      bench.batcher.delivered(deliveryMs)
      await bench.clock.advance(20)
    }
    return bench.telemetry.limits.at(-1)!
  }
  // A run takes 10 ms, so a row does, as far as is known. Two runs must fit.
  assert.equal(await limitWith(0), 5)
  assert.equal(await limitWith(60), 2)
})

test('runs of a batch that was isolated say nothing of what runs cost', async () => {
  const bench = new Bench({ targetLatencyMs: 100 })
  const source = new NumberSource(bench)
  for (let i = 0; i < 6; i++) {
    source.offer(i)
    await settle()
    bench.pool.runs[0]!.fail() // once; the second run takes it
    await settle()
    await finish(bench)
  }
  assert.equal(source.results.length, 6)
  assert.deepEqual(bench.telemetry.costs, [])
})

test('a row that the model refuses is named, its neighbours are served', async () => {
  const bench = new Bench()
  let probes = 0
  bench.probe = async () => {
    probes++
  }
  const source = new NumberSource(bench)
  source.offer(1, 2, 3)
  await settle()
  while (bench.pool.runs.length > 0) {
    const [run] = bench.pool.runs
    if (run!.features.includes(2)) run!.fail()
    else run!.succeed()
    await settle()
  }
  assert.deepEqual(
    source.results.map(({ row, refused }) => [row, refused]),
    [
      [1, false],
      [2, true],
      [3, false],
    ],
  )
  assert.equal(source.results[2]!.output, predictionFor(3))
  assert.equal(probes, 2) // before and after
})

test('when not even a good row runs, rows wait and nobody blames them; people are told', async () => {
  const bench = new Bench()
  bench.probe = () => Promise.reject(new Error('the GPU fell off the bus'))
  const source = new NumberSource(bench)
  source.offer(1, 2)
  await settle()
  const failAll = async () => {
    while (bench.pool.runs.length > 0) {
      bench.pool.runs[0]!.fail()
      await settle()
    }
  }
  for (let attempt = 0; attempt < 3; attempt++) {
    await failAll()
    assert.equal(bench.conditions.at(-1), 'session-crashed')
    assert.equal(source.results.length, 0)
    await bench.clock.advance(6_001)
  }
  bench.probe = async () => {}
  await finish(bench)
  assert.deepEqual(
    source.results.map(({ row, refused }) => [row, refused]),
    [
      [1, false],
      [2, false],
    ],
  )
})

test('the condition is over once rows run again, whether or not any of them is bad', async () => {
  const bench = new Bench()
  bench.probe = () => Promise.reject(new Error('no session'))
  new NumberSource(bench).offer(1)
  await settle()
  bench.pool.runs[0]!.fail()
  await settle()
  await bench.clock.advance(6_001)
  await finish(bench)
  assert.deepEqual(bench.conditions, ['session-crashed', undefined])
})

test('a session is named while its batch waits, and the others are served on the one that is well', async () => {
  const bench = new Bench({ sessions: 2, slots: 4, capacity: 2 })
  bench.probe = async session => {
    if (session === 0) throw new RunError('inference-failed', 'CUDA error 700', session)
  }
  const source = new NumberSource(bench)
  source.offer(1, 2, 3, 4)
  await settle()
  for (let turn = 0; turn < 40 && source.results.length < 4; turn++) {
    const run = bench.pool.runs[0]
    if (run?.session === 0) run.fail()
    else run?.succeed()
    await settle()
    if (bench.pool.runs.length === 0) await bench.clock.advance(6_001)
  }
  assert.deepEqual(
    source.results.map(({ row, refused }) => [row, refused]).sort(),
    [1, 2, 3, 4].map(row => [row, false]),
  )
  assert.ok(bench.pool.distrusted.length > 0)
  for (const { session, reason } of bench.pool.distrusted) {
    assert.equal(session, 0)
    assert.match(reason, /row that is known to be good: CUDA error 700/)
  }
})

test('when too many threads hang, what they were spent on is settled first; then the worker is to end', async () => {
  const bench = new Bench({ sessions: 2, slots: 8, capacity: 4 })
  bench.pool.hung = { count: 0, most: 3 }
  const hang = async (rows: readonly number[]) => {
    const run =
      bench.pool.runs.find(({ features }) => String(features) === String(rows)) ?? assert.fail(`${rows} run not`)
    bench.pool.hung.count++
    run.fail('session-hung')
    await settle()
  }
  const underWay = () => bench.pool.runs.map(({ features }) => String(features))
  const source = new NumberSource(bench)
  source.offer(1, 2, 3, 4, 5, 6, 7, 8)
  await settle()
  await hang([1, 2, 3, 4])
  await hang([1])
  source.offer(9, 10, 11, 12, 13)
  await settle()
  await hang([2, 3, 4])
  // All that may hang do. The first batch is settled; the second runs still, and nothing else is begun.
  assert.deepEqual(
    source.results.filter(({ row }) => row < 5).map(({ row, refused }) => [row, refused]),
    [1, 2, 3, 4].map(row => [row, true]),
  )
  assert.deepEqual([underWay(), bench.conditions], [['5,6,7,8'], []])
  await bench.clock.advance(10_000)
  bench.pool.runs[0]!.succeed()
  await settle()
  assert.deepEqual(bench.conditions, ['sessions-hung'])
  // What is left in the pipeline is run, so that the worker can drain; but not beyond another row that hangs.
  assert.deepEqual(underWay(), ['9,10,11,12', '13'])
  await hang([9, 10, 11, 12])
  source.offer(14)
  await bench.clock.advance(10_000)
  assert.deepEqual(underWay(), ['13'])
  bench.pool.runs[0]!.succeed()
  await settle()
  assert.deepEqual([underWay(), bench.conditions], [[], ['sessions-hung']])
})

test('a good row that hangs too often ends the worker, too, and nobody is blamed', async () => {
  const bench = new Bench()
  bench.pool.hung = { count: 0, most: 4 }
  const hung = () => {
    bench.pool.hung.count++
    return new RunError('session-hung', 'it hangs', 0)
  }
  bench.probe = () => Promise.reject(hung())
  const source = new NumberSource(bench)
  source.offer(1)
  await settle()
  bench.pool.runs[0]!.fail(hung())
  await settle()
  await bench.clock.advance(6_001)
  bench.pool.runs[0]!.fail(hung())
  await settle()
  await bench.clock.advance(60_000)
  assert.deepEqual([bench.conditions, bench.pool.runs, source.results], [['session-crashed', 'sessions-hung'], [], []])
})

test('a batch that waits for sessions does not hold up the end of a worker in which too many threads hang', async () => {
  const bench = new Bench()
  bench.pool.hung = { count: 2, most: 3 }
  const source = new NumberSource(bench)
  source.offer(1)
  await settle()
  bench.pool.hung.count++ // a session that opened the model, say
  bench.pool.runs[0]!.fail(new SluiceError('session-crashed', 'no session is left'))
  await bench.clock.advance(60_000)
  assert.deepEqual([bench.conditions, bench.pool.runs, source.results], [['sessions-hung'], [], []])
})

test('batches that ran without a fault show good rows', async () => {
  const good: number[] = []
  const bench = new Bench({ onGood: slot => good.push(slot.inputs[0]!.data[0] as number) })
  const source = new NumberSource(bench)
  for (const row of [1, 2]) {
    source.offer(row)
    await settle()
    while (bench.pool.runs.length > 0) {
      if (row === 1) bench.pool.runs[0]!.fail()
      else bench.pool.runs[0]!.succeed()
      await settle()
    }
  }
  assert.deepEqual(good, [2])
})

test('predictions of one provider share one identity, so that its headers are encoded once', async () => {
  const bench = new Bench()
  const source = new NumberSource(bench)
  for (const row of [1, 2]) {
    source.offer(row)
    await settle()
    await finish(bench)
  }
  const [first, second] = source.parts.map(({ batch }) => batch.model)
  assert.deepEqual(first, { ...MODEL, provider: 'cpu' })
  assert.equal(first, second)
})

test('a source that is withdrawn is not asked again; rows of it that are packed run along', async () => {
  const bench = await busyBench({ sessions: 1, slots: 2, capacity: 2 })
  const source = new NumberSource(bench)
  source.offer(1, 2, 3)
  await settle()
  bench.batcher.withdraw(source)
  await finish(bench)
  assert.deepEqual(
    source.results.map(({ row }) => row),
    [1, 2],
  )
  assert.deepEqual(source.waiting, [3])
})

test('a slot comes back when the last part that reads it lets go', async () => {
  const bench = new Bench({ sessions: 1, slots: 1, capacity: 4 })
  const [a, b] = [new NumberSource(bench), new NumberSource(bench)]
  a.keeps = true
  a.offer(1)
  b.offer(2)
  await settle()
  await finish(bench)
  assert.equal(b.results.length, 1)
  assert.equal(bench.pool.freeSlots, 0)
  a.letGo()
  assert.equal(bench.pool.freeSlots, 1)
})

test('closed while no session runs, the batcher calls nothing settled, waits for nothing and frees the slots', async () => {
  const bench = new Bench()
  bench.probe = () => Promise.reject(new Error('no session'))
  const source = new NumberSource(bench)
  source.offer(1, 2)
  await settle()
  bench.batcher.close()
  while (bench.pool.runs.length > 0) {
    bench.pool.runs[0]!.fail()
    await settle()
  }
  assert.equal(source.results.length, 0)
  assert.equal(bench.clock.waiting, 0)
  assert.equal(bench.pool.freeSlots, 2)
})

test('no row is lost or run twice, and every slot comes back, in any schedule', async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('offer' as const), source: fc.nat(2), rows: fc.nat(9) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('succeed' as const), pick: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), pick: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(8) }) },
  )
  const bench = fc.record({
    sessions: fc.integer({ min: 1, max: 3 }),
    slots: fc.integer({ min: 1, max: 5 }),
    capacity: fc.integer({ min: 1, max: 5 }),
    maxQueueDelayMs: fc.constantFrom(0, 5),
  })
  await fc.assert(
    fc.asyncProperty(bench, fc.array(step, { maxLength: 40 }), async (options, steps) => {
      const bench = new Bench(options)
      const sources = [0, 1, 2].map(() => new NumberSource(bench))
      let next = 0
      let crashes = 0
      for (const step of steps) {
        if (step.kind === 'offer') {
          sources[step.source]!.offer(...Array.from({ length: step.rows }, () => next++))
        } else if (step.kind === 'wait') await bench.clock.advance(step.ms)
        else if (bench.pool.runs.length > 0) {
          const run = bench.pool.runs[step.pick % bench.pool.runs.length]!
          // One crash at a time: a row alone that meets two in a row is rightly called bad.
          if (step.kind === 'crash' && crashes++ === 0) run.fail()
          else run.succeed()
        }
        await settle()
      }
      do {
        await finish(bench)
        await bench.clock.advance(5)
      } while (bench.pool.runs.length > 0)
      const results = sources.flatMap(source => source.results)
      assert.deepEqual(
        results.map(({ row }) => row).sort((a, b) => a - b),
        Array.from({ length: next }, (_, row) => row),
      )
      for (const { row, output } of results) assert.equal(output, predictionFor(row))
      assert.ok(bench.pool.freeSlots >= options.slots - 1, 'at most one empty micro-batch is open')
    }),
    propertyOptions,
  )
})
