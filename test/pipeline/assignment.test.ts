import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SluiceError } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import { AssignedTasks } from '../../src/pipeline/assignment.ts'
import type { PartitionTask } from '../../src/pipeline/partition-task.ts'
import type { TaskEnd, TaskState } from '../../src/pipeline/task-contract.ts'
import { FakeClock, settle } from './fake-clock.ts'

/** A task that ends when the test says so. */
class FakeTask {
  readonly partition: number
  readonly calls: string[] = []
  state: TaskState = 'RUNNING'
  readonly #end = Promise.withResolvers<TaskEnd>()

  constructor(partition: number) {
    this.partition = partition
  }

  serve(): Promise<TaskEnd> {
    this.calls.push('serve')
    return this.#end.promise
  }

  drain(): void {
    this.calls.push('drain')
    this.state = 'DRAINING'
  }

  abort(): void {
    this.calls.push('abort')
  }

  async end(end: TaskEnd, state: TaskState = 'CLOSED'): Promise<void> {
    this.state = state
    this.#end.resolve(end)
    await settle()
  }
}

class Harness {
  readonly clock = new FakeClock()
  /** Every task ever made, in order. */
  readonly made: FakeTask[] = []
  /** Tasks that the fetcher serves. */
  readonly served = new Set<unknown>()
  readonly failures: SluiceError[] = []
  confirmations = 0
  member = true
  readonly tasks = new AssignedTasks({
    createTask: partition => {
      const task = new FakeTask(partition)
      this.made.push(task)
      return task as unknown as PartitionTask
    },
    onTask: task => this.served.add(task),
    onTaskGone: task => this.served.delete(task),
    confirm: async () => {
      this.confirmations++
      return this.member
    },
    onFailed: error => this.failures.push(error),
    log: silentLog,
    clock: this.clock,
  })

  /** What happened to each task, in the order in which they were made. */
  get calls(): string[] {
    return this.made.map(({ partition, calls }) => `${partition}: ${calls.join(' ')}`)
  }
}

const CLOSED: TaskEnd = { how: 'closed' }
const FENCED: TaskEnd = { how: 'fenced' }
const HALTED: TaskEnd = { how: 'halted', error: new SluiceError('offset-missing', 'gone') }

test('every assigned partition gets a task', () => {
  const harness = new Harness()
  harness.tasks.assign([0, 2], false)
  assert.deepEqual(harness.calls, ['0: serve', '2: serve'])
  assert.equal(harness.served.size, 2)
})

test('in a continuous rebalance tasks that stay go on, those that leave drain, new ones start', async () => {
  const harness = new Harness()
  harness.tasks.assign([0, 1], false)
  harness.tasks.assign([1, 2], true)
  assert.deepEqual(harness.calls, ['0: serve drain', '1: serve', '2: serve'])
  await harness.made[0]!.end(CLOSED)
  assert.deepEqual(
    harness.tasks.tasks.map(({ partition }) => partition),
    [1, 2],
  )
  assert.equal(harness.served.size, 2)
})

test('when somebody else may have owned the partitions every task starts anew, once the one before has ended', async () => {
  const harness = new Harness()
  harness.tasks.assign([0, 1], true)
  harness.tasks.assign([0], false)
  assert.deepEqual(harness.calls, ['0: serve abort', '1: serve drain'])
  await harness.made[0]!.end(CLOSED)
  assert.deepEqual(harness.calls, ['0: serve abort', '1: serve drain', '0: serve'])
})

test('a partition that is given back while its task drains is served again afterwards', async () => {
  const harness = new Harness()
  harness.tasks.assign([0], false)
  harness.tasks.assign([], true)
  harness.tasks.assign([0], true)
  assert.equal(harness.made.length, 1, 'never two tasks of a partition at once')
  await harness.made[0]!.end(CLOSED)
  assert.deepEqual(harness.calls, ['0: serve drain', '0: serve'])
})

test('a fenced task is reclaimed once the group confirms that the partition is ours', async () => {
  const harness = new Harness()
  harness.tasks.assign([0], false)
  harness.member = false
  await harness.made[0]!.end(FENCED, 'FENCED')
  assert.equal(harness.served.size, 0)
  await harness.clock.advance(500)
  assert.equal(harness.confirmations, 2)
  assert.equal(harness.made.length, 1)
  harness.member = true
  await harness.clock.advance(200)
  assert.equal(harness.made.length, 2)
  assert.equal(harness.clock.waiting, 0)
})

test('a fenced task is not reclaimed when the next assignment takes the partition away, or serves it already', async () => {
  const taken = new Harness()
  taken.tasks.assign([0], false)
  await taken.made[0]!.end(FENCED, 'FENCED')
  taken.tasks.assign([], true)
  await taken.clock.advance(1_000)
  assert.deepEqual([taken.made.length, taken.confirmations], [1, 0])

  const served = new Harness()
  served.tasks.assign([0], false)
  await served.made[0]!.end(FENCED, 'FENCED')
  served.tasks.assign([0], false)
  await served.clock.advance(1_000)
  assert.deepEqual([served.made.length, served.confirmations], [2, 0])
})

test('an assignment that comes while the group is asked wins', async () => {
  const harness = new Harness()
  harness.tasks.assign([0], false)
  await harness.made[0]!.end(FENCED, 'FENCED')
  const advancing = harness.clock.advance(200)
  harness.tasks.assign([], true)
  await advancing
  assert.equal(harness.made.length, 1)
})

test('a fenced task of a partition that is no longer ours is just gone', async () => {
  const harness = new Harness()
  harness.tasks.assign([0], false)
  harness.tasks.assign([], true)
  await harness.made[0]!.end(FENCED, 'FENCED')
  assert.deepEqual(harness.tasks.tasks, [])
  assert.equal(harness.clock.waiting, 0)
})

test('a halted task stays, and is not gone, until the group moves the partition', async () => {
  const harness = new Harness()
  harness.tasks.assign([0], false)
  await harness.made[0]!.end(HALTED, 'HALTED')
  assert.equal(harness.served.size, 1, 'gone would clear the condition that tells people')
  harness.tasks.assign([0], true)
  assert.equal(harness.made.length, 1, 'a rebalance of others does not try again')
  harness.tasks.assign([], true)
  assert.equal(harness.served.size, 0)
  assert.deepEqual(harness.tasks.tasks, [])
  harness.tasks.assign([0], true)
  assert.equal(harness.made.length, 2)
})

test('a halted task tries again when the membership was not continuous', async () => {
  const harness = new Harness()
  harness.tasks.assign([0], false)
  await harness.made[0]!.end(HALTED, 'HALTED')
  harness.tasks.assign([0], false)
  assert.deepEqual(harness.calls, ['0: serve', '0: serve'])
})

test('a task that halts after its partition was taken away does not block it for later', async () => {
  const harness = new Harness()
  harness.tasks.assign([0], false)
  harness.tasks.assign([], true)
  await harness.made[0]!.end(HALTED, 'HALTED')
  assert.deepEqual(harness.tasks.tasks, [])
  harness.tasks.assign([0], true)
  assert.equal(harness.made.length, 2)
})

test('a failure is handed up, and the partition is not served again', async () => {
  const harness = new Harness()
  harness.tasks.assign([0], false)
  const error = new SluiceError('internal', 'a defect')
  await harness.made[0]!.end({ how: 'failed', error })
  assert.deepEqual(harness.failures, [error])
  assert.equal(harness.made.length, 1)
})

test('drain ends every task, resolves when the last has ended, and lets none start again', async () => {
  const harness = new Harness()
  harness.tasks.assign([0, 1, 2], false)
  await harness.made[2]!.end(FENCED, 'FENCED')
  let ended = false
  const ending = harness.tasks.drain().then(() => {
    ended = true
  })
  harness.tasks.assign([0, 1, 2, 3], false)
  await harness.made[0]!.end(CLOSED)
  assert.equal(ended, false)
  await harness.made[1]!.end(FENCED, 'FENCED')
  await ending
  await harness.clock.advance(1_000)
  assert.deepEqual(harness.calls, ['0: serve drain', '1: serve drain', '2: serve'])
  assert.equal(harness.served.size, 0)
})

test('abort ends every task, those that a drain still waits for too, and lets none start again', async () => {
  const harness = new Harness()
  harness.tasks.assign([0, 1], false)
  const drained = harness.tasks.drain()
  harness.tasks.abort()
  harness.tasks.assign([0, 1, 2], false)
  await harness.made[0]!.end(CLOSED)
  await harness.made[1]!.end(CLOSED)
  await drained
  assert.deepEqual(harness.calls, ['0: serve drain abort', '1: serve drain abort'])
})

test('tasks share a limit on initialisations under way', async () => {
  let underWay = 0
  let most = 0
  const ends: (() => void)[] = []
  const initialise = async () => {
    most = Math.max(most, ++underWay)
    await new Promise<void>(resolve => ends.push(resolve))
    underWay--
  }
  const harness = new Harness()
  const tasks = new AssignedTasks({
    createTask: (partition, limit) => {
      void limit(initialise)
      return new FakeTask(partition) as unknown as PartitionTask
    },
    onTask: () => {},
    onTaskGone: () => {},
    confirm: async () => true,
    onFailed: () => {},
    log: silentLog,
    clock: harness.clock,
  })
  tasks.assign(
    Array.from({ length: 50 }, (_, partition) => partition),
    false,
  )
  for (let done = 0; done < 50; done++) {
    await settle()
    ends.shift()!()
  }
  await settle()
  assert.equal(underWay, 0)
  assert.ok(most > 1 && most <= 16, `${most} at once`)
})
