import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SluiceError } from '../../src/core/errors.ts'
import { type RecordBatch, valueBytes } from '../../src/core/record-batch.ts'
import { settle } from './fake-clock.ts'
import { fetched, range, type TestValue } from './fake-codec.ts'
import { prediction } from './fake-committer.ts'
import { LentBatch, timesLetGo } from './lent-batch.ts'
import { propertyOptions } from './property-options.ts'
import { Bench, TaskHarness } from './task-harness.ts'

/** A task whose input lies in memory that is lent, and which copies what its output reads of it. */
class LentHarness extends TaskHarness {
  readonly lent: LentBatch[] = []
  /** The values of the records that are in the output writer, in their order. */
  readonly read: string[] = []
  onLetGo = () => {}

  static async running(options: ConstructorParameters<typeof TaskHarness>[0] = {}): Promise<LentHarness> {
    const harness = new LentHarness(options)
    const { output } = harness.committer
    const read = (batch: RecordBatch, index: number) => harness.read.push(valueBytes(batch, index)!.toString())
    const predict = output.prediction.bind(output)
    const refuse = output.deadLetter.bind(output)
    output.prediction = (batch, index, value, length, model, arm) => {
      read(batch, index)
      predict(batch, index, value, length, model, arm)
    }
    output.deadLetter = (batch, index, fault, stage, model) => {
      read(batch, index)
      refuse(batch, index, fault, stage, model)
    }
    await harness.serve()
    return harness
  }

  /** One fetch of several batches with so many records each. */
  async fetchBatches(sizes: readonly number[], valueAt?: (offset: number) => TestValue): Promise<LentBatch[]> {
    let offset = this.task.position!
    const lent = sizes.map(size => {
      const offsets = range(offset, offset + size)
      offset += size
      return new LentBatch(offsets, valueAt, () => this.onLetGo())
    })
    this.lent.push(...lent)
    this.task.accept(
      fetched(
        lent.map(({ batch }) => batch),
        offset,
      ),
    )
    await settle()
    return lent
  }

  get timesLetGo(): number[] {
    return timesLetGo(this.lent)
  }
}

const text = (from: number, to: number) => range(from, to).map(String)
const predictions = (from: number, to: number) => range(from, to).map(prediction)

test('a batch is let go of once, when its last record is in the output, whatever order the sessions finish in', async () => {
  const task = await LentHarness.running({ bench: new Bench({ sessions: 3, capacity: 2 }) })
  await task.fetchBatches([6])
  const atLetGo: string[][] = []
  task.onLetGo = () => atLetGo.push([...task.read])
  await task.endRunWith(0)
  await task.endRunWith(4)
  assert.deepEqual([task.read, task.timesLetGo], [text(0, 2), [0]])
  await task.endRunWith(2)
  assert.deepEqual([atLetGo, task.timesLetGo], [[text(0, 6)], [1]])
  await task.finish()
  assert.deepEqual(task.committer.records, predictions(0, 6))
  assert.deepEqual(task.timesLetGo, [1])
})

test('each batch of a fetch is let go of by itself', async () => {
  const task = await LentHarness.running({ bench: new Bench({ sessions: 3, slots: 3, capacity: 2 }) })
  // Micro-batches of records 0 1, 2 3 and 4 5.
  await task.fetchBatches([1, 2, 3])
  await task.endRunWith(0)
  assert.deepEqual(task.timesLetGo, [1, 0, 0])
  await task.endRunWith(5)
  assert.deepEqual(task.timesLetGo, [1, 0, 0])
  await task.endRunWith(2)
  assert.deepEqual(task.timesLetGo, [1, 1, 1])
  await task.finish()
  assert.deepEqual(task.read, text(0, 6))
  assert.deepEqual(task.timesLetGo, [1, 1, 1])
})

test('bad records are read before their batch is let go of, at its end or alone in it', async () => {
  const task = await LentHarness.running()
  await task.fetchBatches([2, 3, 1], offset => (offset === 1 || (offset > 1 && offset < 5) ? 'garbage' : 'good'))
  assert.deepEqual(task.timesLetGo, [0, 0, 0], 'they wait for the record before them')
  await task.endRunWith(0)
  assert.deepEqual(task.read, ['0', 'garbage', 'garbage', 'garbage', 'garbage', '5'])
  assert.deepEqual(task.timesLetGo, [1, 1, 1])
})

test('a task that waits for a schema has let go, also of what comes meanwhile; its output is right in the end', async () => {
  const task = await LentHarness.running({ bench: new Bench({ sessions: 4, slots: 8, capacity: 4 }) })
  const { promise, resolve } = Promise.withResolvers<void>()
  task.decoder.find = () => promise
  const valueAt = (offset: number): TestValue =>
    offset % 5 === 4 ? { needs: 9 } : offset % 5 === 1 ? 'garbage' : 'good'
  await task.fetchBatches([2, 4, 3], valueAt)
  assert.deepEqual(task.timesLetGo, [0, 1, 1], 'the first is decoded: it needs no schema')
  await task.fetchBatches([1, 5], valueAt)
  assert.deepEqual(task.timesLetGo, [0, 1, 1, 1, 1])
  await task.finish()
  assert.deepEqual(task.read, ['0', 'garbage', '2', '3'])
  assert.deepEqual(task.timesLetGo, [1, 1, 1, 1, 1])

  resolve()
  await settle()
  await task.fetchBatches([2], valueAt)
  assert.deepEqual(task.timesLetGo, [1, 1, 1, 1, 1, 0])
  await task.finish()
  assert.deepEqual(
    task.read,
    range(0, 17).map(offset => (offset % 5 === 4 ? `${offset} needs 9` : offset % 5 === 1 ? 'garbage' : `${offset}`)),
  )
  assert.deepEqual(
    task.committer.records.filter(({ stage }) => stage === undefined),
    range(0, 17)
      .filter(offset => offset % 5 !== 1)
      .map(prediction),
  )
  assert.deepEqual(task.timesLetGo, [1, 1, 1, 1, 1, 1])
})

test('what a task held when it started over is let go of by nobody, whatever its sessions answer late', async () => {
  const task = await LentHarness.running({ bench: new Bench({ sessions: 4, slots: 4, capacity: 2 }) })
  await task.fetchBatches([2, 4, 9])
  await task.endRunWith(0)
  assert.deepEqual(task.timesLetGo, [1, 0, 0])
  await task.endCommit(new SluiceError('transaction-unknown', 'the connection was lost'))
  for (const run of [...task.pool.runs]) run.succeed()
  await task.waitForBackoff()
  assert.deepEqual(task.timesLetGo, [1, 0, 0])
  await task.fetchBatches([3])
  await task.finish()
  assert.deepEqual(task.timesLetGo, [1, 0, 0, 1])
  assert.deepEqual(task.committer.records, predictions(0, 3))
})

test('a task that drains keeps what it has decoded until that is in the output', async () => {
  const task = await LentHarness.running({ bench: new Bench({ sessions: 1, slots: 1, capacity: 2 }) })
  await task.fetchBatches([2, 4])
  task.task.drain()
  assert.deepEqual(task.timesLetGo, [0, 0])
  await task.finish()
  assert.deepEqual(task.committer.records, predictions(0, 2))
  assert.deepEqual(task.timesLetGo, [1, 0])
})

const values = fc.constantFrom<TestValue>('good', 'good', 'good', 'garbage', { needs: 1 }, { needs: 2 })
const steps = fc.array(
  fc.oneof(
    fc.record({ fetch: fc.array(fc.array(values, { minLength: 1, maxLength: 7 }), { minLength: 1, maxLength: 4 }) }),
    fc.record({ end: fc.nat() }),
    fc.record({ find: fc.constantFrom(1, 2) }),
    fc.constant('commit' as const),
  ),
  { maxLength: 40 },
)
const sessions = fc.integer({ min: 1, max: 3 })

test('whatever happens in whatever order, each batch is let go of once, and read by nobody afterwards', async () => {
  await fc.assert(
    fc.asyncProperty(steps, sessions, fc.integer({ min: 1, max: 5 }), async (steps, sessions, capacity) => {
      const task = await LentHarness.running({ bench: new Bench({ sessions, capacity }) })
      const waiting = new Map<number, () => void>()
      task.decoder.find = schemaId => new Promise(resolve => waiting.set(schemaId, resolve))
      const find = async (schemaId: number) => {
        waiting.get(schemaId)?.()
        waiting.delete(schemaId)
        await settle()
      }
      const content: TestValue[] = []
      for (const step of steps) {
        if (step === 'commit') {
          if (task.committer.underWay !== undefined) await task.endCommit()
        } else if ('end' in step) {
          task.pool.runs[step.end % task.pool.runs.length]?.succeed()
          await settle()
        } else if ('find' in step) await find(step.find)
        else if (task.task.position !== undefined) {
          content.push(...step.fetch.flat())
          await task.fetchBatches(
            step.fetch.map(batch => batch.length),
            offset => content[offset]!,
          )
        }
      }
      for (let left = 0; left < 3; left++) {
        await task.finish()
        for (const schemaId of [1, 2]) await find(schemaId)
      }
      await task.finish()
      assert.deepEqual(
        task.read,
        content.map((value, offset) =>
          typeof value === 'string' ? (value === 'good' ? `${offset}` : value) : `${offset} needs ${value.needs}`,
        ),
      )
      assert.deepEqual(
        task.committer.records.map(({ said }) => said),
        content.map((value, offset) => (value === 'garbage' ? 'invalid-avro' : prediction(offset).said)),
      )
      assert.ok(
        task.timesLetGo.every(times => times === 1),
        `${task.timesLetGo}`,
      )
    }),
    propertyOptions,
  )
})
