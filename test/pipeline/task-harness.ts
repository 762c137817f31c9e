import type { SluiceError } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import type { TensorSlot } from '../../src/core/tensor.ts'
import { Batcher } from '../../src/pipeline/batcher.ts'
import { CommitLoop } from '../../src/pipeline/commit-loop.ts'
import { CommitTurns } from '../../src/pipeline/commit-turns.ts'
import { InFlightBudget } from '../../src/pipeline/in-flight.ts'
import { PartitionTask } from '../../src/pipeline/partition-task.ts'
import { type ServedVersion, type Serving, servingOf } from '../../src/pipeline/serving.ts'
import type { TaskEnd, TaskOptions } from '../../src/pipeline/task-contract.ts'
import { FakeClock, settle } from './fake-clock.ts'
import { batchOf, FakeDecoder, fetched, range, type TestValue, textEncoder } from './fake-codec.ts'
import { FakeCommitter } from './fake-committer.ts'
import { FakePool, type FakePoolOptions } from './fake-pool.ts'
import { FakeBatcherTelemetry, FakePartitionTelemetry } from './fake-telemetry.ts'

export const MODEL = { name: 'iris', version: '3', sha256: '0123456789abcdef' }

/** A budget of which one partition may take all. */
export function inFlightLimits({ records = 100, bytes = 1 << 20 }): InFlightBudget {
  const limits = { records, bytes }
  return new InFlightBudget({ records: 2 * records, bytes: 2 * bytes }, limits)
}

/** The loop of a run that nobody serves. */
export function commitLoop(start = 0): CommitLoop {
  const clock = new FakeClock()
  const options = { committer: new FakeCommitter(), turns: new CommitTurns(1, clock), clock, commitIntervalMs: 0 }
  return new CommitLoop(options, start, inFlightLimits({}).open())
}

interface BenchOptions extends FakePoolOptions {
  readonly maxQueueDelayMs?: number
  readonly targetLatencyMs?: number
  readonly clock?: FakeClock
  readonly onGood?: (slot: TensorSlot) => void
}

/** The sessions that tasks share, and the batcher in front of them. */
export class Bench {
  readonly clock: FakeClock
  readonly pool: FakePool
  readonly telemetry = new FakeBatcherTelemetry()
  readonly conditions: (string | undefined)[] = []
  probe: (session: number) => Promise<void> = async () => {}
  readonly batcher: Batcher

  constructor(options: BenchOptions = {}) {
    this.clock = options.clock ?? new FakeClock()
    this.pool = new FakePool(options)
    this.batcher = new Batcher({
      pool: this.pool,
      model: MODEL,
      maxQueueDelayMs: options.maxQueueDelayMs ?? 0,
      targetLatencyMs: options.targetLatencyMs ?? 0,
      telemetry: this.telemetry,
      clock: this.clock,
      probe: session => this.probe(session),
      ...(options.onGood === undefined ? {} : { onGood: options.onGood }),
      onCondition: error => this.conditions.push(error?.code),
    })
  }
}

/** That `stable` answers, beside others. */
export function servingBy(
  stable: ServedVersion,
  others: Partial<Pick<Serving, 'canary' | 'shadows' | 'until'>> = {},
): Serving {
  const { canary, shadows = [], until } = others
  const versions = [stable, ...(canary === undefined ? [] : [canary.version]), ...shadows]
  const plan = {
    stable: stable.name,
    canary: canary && { version: canary.version.name, percent: canary.percent },
    shadows: shadows.map(({ name }) => name),
  }
  const named = { group: 'group', model: MODEL.name, revision: 0 }
  return servingOf(plan, named, name => versions.find(version => version.name === name)!, until)
}

/** A partition task with a test on every side of it. */
export class TaskHarness {
  readonly bench: Bench
  readonly committer: FakeCommitter
  readonly decoder = new FakeDecoder()
  readonly telemetry = new FakePartitionTelemetry()
  readonly conditions: (SluiceError | undefined)[] = []
  /** Times that the fetcher was asked to look again. */
  wanted = 0
  #version: ServedVersion | undefined
  /** What the task asks for; replace it and call `task.switched()`. */
  serving: Serving
  readonly task: PartitionTask
  end: TaskEnd | undefined

  constructor(options: Partial<TaskOptions> & { bench?: Bench; start?: number } = {}) {
    this.bench = options.bench ?? new Bench()
    this.committer = new FakeCommitter(options.start)
    this.serving = servingBy(this.version)
    this.task = new PartitionTask({
      topic: 'features',
      partition: 0,
      committer: this.committer,
      serving: () => this.serving,
      telemetry: this.telemetry,
      log: silentLog,
      clock: this.bench.clock,
      inFlight: inFlightLimits({}),
      turns: new CommitTurns(100, this.bench.clock),
      maxOutputBytes: 1_000,
      commitIntervalMs: 0,
      limit: initialise => initialise(),
      onCondition: error => this.conditions.push(error),
      onWanted: () => this.wanted++,
      ...options,
    })
  }

  /** The version that the bench runs. */
  get version(): ServedVersion {
    const { batcher } = this.bench
    this.#version ??= {
      name: MODEL.version,
      sha256: MODEL.sha256,
      decoder: this.decoder,
      encoder: textEncoder,
      batcher,
    }
    return this.#version
  }

  get clock(): FakeClock {
    return this.bench.clock
  }

  get pool(): FakePool {
    return this.bench.pool
  }

  /** Starts serving; the task is running afterwards, unless its committer has other plans. */
  async serve(): Promise<this> {
    void this.task.serve().then(end => {
      this.end = end
    })
    await settle()
    return this
  }

  /** Hands the task the records [position, to), in one batch, as the fetcher would. */
  async fetch(to: number, valueAt?: (offset: number) => TestValue): Promise<void> {
    await this.fetchOffsets(range(this.task.position!, to), to, valueAt)
  }

  async fetchOffsets(offsets: readonly number[], next: number, valueAt?: (offset: number) => TestValue): Promise<void> {
    this.task.accept(fetched(offsets.length === 0 ? [] : [batchOf(offsets, valueAt, this.task.partition)], next))
    await settle()
  }

  /** Ends runs, oldest first, and transactions, until nothing is under way. */
  async finish(): Promise<void> {
    while (this.pool.runs.length > 0 || this.committer.underWay !== undefined) {
      this.pool.runs[0]?.succeed()
      await settle()
      this.committer.underWay?.succeed()
      await settle()
    }
  }

  /** Ends the run of those under way that has `feature` among its rows. */
  async endRunWith(feature: number): Promise<void> {
    this.pool.runs.find(run => run.features.includes(feature))!.succeed()
    await settle()
  }

  async endCommit(error?: Error): Promise<void> {
    if (error === undefined) this.committer.underWay!.succeed()
    else this.committer.underWay!.fail(error)
    await settle()
  }

  /** Lets more time pass than any backoff takes. */
  async waitForBackoff(): Promise<void> {
    await this.clock.advance(6_001)
  }
}
