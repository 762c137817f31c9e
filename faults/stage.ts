import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../dev/demo/random.ts'
import { placeText, type Vanished, vanished } from '../src/audit/verdict.ts'
import type { AuditOptions, AuditVerdict } from '../src/auditing/audit-contract.ts'
import { auditTopics, type Following, followTopics } from '../src/auditing/auditing.ts'
import type { ErrorCode } from '../src/core/errors.ts'
import type { LogPosition } from '../src/core/log-position.ts'
import type { HealthReport } from '../src/ops/health.ts'
import { committedOffsets, endOffsets } from '../test/support/broker.ts'
import type { WorkerProcess } from '../test/support/sluice-process.ts'
import { Testbed } from '../test/support/testbed.ts'
import { Answers } from './answers.ts'
import type { Fault } from './fault.ts'
import { Generator } from './generator.ts'
import { PRELOAD } from './preload/arm.ts'
import type { KafkaProxy } from './proxy/kafka-proxy.ts'
import { RolloutWitness } from './rollout-witness.ts'
import type { Servers } from './servers.ts'
import { Tally } from './tally.ts'
import { Watch } from './watch.ts'

export const PARTITIONS = 4

/** Sessions are short, so that a dead worker is missed soon; batches small, so that results overtake one another. */
export const SESSION_TIMEOUT_MS = 3_000
const ENV = {
  SESSIONS: 'cpu*2',
  MAX_BATCH_SIZE: '64',
  SESSION_TIMEOUT_MS: String(SESSION_TIMEOUT_MS),
  TRANSACTION_TIMEOUT_MS: '20000',
  REQUEST_TIMEOUT_MS: '5000',
}

const REPLICAS = 2
const RECORDS_PER_SECOND = 1_500
const RECOVERY_PATIENCE_MS = 60_000
const CATCH_UP_PATIENCE_MS = 120_000
const EXAMPLES = 5
/** A paused broker must not hold the oracle back for long: it is who tells when all works again. */
const READER_PATIENCE_MS = 3_000

/** What the oracle found. */
export interface Outcome {
  /** Of everything, or of several ranges of it one after another; read when all was at rest. */
  readonly late: readonly AuditVerdict[]
  /** Of everything, read while it happened; undefined where a part of the output was deleted on purpose. */
  readonly early: AuditVerdict | undefined
  /** What a read_committed reader saw, and what was gone later. */
  readonly vanished: readonly Vanished[]
}

/** Topics, a group, workers at work on a steady stream of records, and an oracle that reads along. */
export class Stage {
  readonly servers: Servers
  readonly bed: Testbed
  readonly random: Random
  readonly generator: Generator
  readonly tally: Tally
  /** Workers that somebody has struck, or stops: not to be struck by others, nor waited for. Empty again after `restore`. */
  readonly struck = new Set<WorkerProcess>()
  readonly watch = new Watch(PARTITIONS)
  readonly answers = new Answers()
  readonly rollouts = new RolloutWitness()
  readonly #fault: Fault
  /** Workers whose end was seen and meant. */
  readonly #mourned = new Set<WorkerProcess>()
  #following: Following | undefined
  readonly #judged: AuditVerdict[] = []
  /** Where the next range begins, when former ones were judged already. */
  #from: LogPosition | undefined

  private constructor(fault: Fault, servers: Servers, random: Random, bed: Testbed) {
    this.#fault = fault
    this.servers = servers
    this.random = random
    this.bed = bed
    this.tally = new Tally(() => this.replicas)
    this.generator = new Generator({
      brokers: servers.bootstrap.split(','),
      topic: bed.input,
      partitions: PARTITIONS,
      recordsPerSecond: fault.recordsPerSecond ?? RECORDS_PER_SECOND,
    })
  }

  /** Everything at work. The caller closes it. */
  static async open(fault: Fault, servers: Servers, random: Random): Promise<Stage> {
    process.env.KAFKA_BROKERS = servers.bootstrap // for what the tests share
    const env = { ...(fault.defaults ? {} : ENV), ...servers.workerEnv, ...fault.env }
    const bed = await Testbed.create(fault.name, { partitions: PARTITIONS, env })
    const stage = new Stage(fault, servers, random, bed)
    try {
      await fault.prepare?.(stage)
      stage.#following = await followTopics({ ...stage.#audit(), witness: stage.#witness() })
      await stage.generator.start()
      await stage.restore()
    } catch (error) {
      await stage.close()
      throw error
    }
    return stage
  }

  /** Workers that run, and that nobody has struck. */
  get replicas(): readonly WorkerProcess[] {
    return this.bed.workers.filter(worker => !worker.over && !this.struck.has(worker))
  }

  /** One of them to strike, at random; it is the caller's until `restore`. */
  take(): WorkerProcess {
    const { replicas } = this
    const taken = replicas[this.random.below(replicas.length)]
    if (taken === undefined) throw new Error('No worker is left to be struck.')
    this.struck.add(taken)
    return taken
  }

  /** Starts another replica; does not wait for it. */
  join(env: Readonly<Record<string, string>> = {}): WorkerProcess {
    return this.bed.startWorker(env, [PRELOAD])
  }

  /** Stops a replica in good order. Throws if it does not end well. */
  async leave(replica: WorkerProcess): Promise<void> {
    this.struck.add(replica)
    await this.tally.look([replica])
    const end = await replica.stop()
    if (end !== 0) throw new Error(`A worker that was told to stop ended with ${end}.\n${replica.describe()}`)
  }

  /**
   * Resolves when every partition has answered a record that was published after `since` (ms since the epoch).
   * @throws Error with the workers' logs when it takes too long
   */
  async answered(since: number): Promise<void> {
    // Reading along ends by failing only.
    await this.#explained(Promise.race([this.watch.answered(since, RECOVERY_PATIENCE_MS), this.#following!.done]))
  }

  /**
   * What `step` resolves to.
   * @param name of the step, for people
   * @throws what it throws, and Error when it takes longer than `ms`; both with the workers' logs
   */
  within<T>(ms: number, name: string, step: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => late.reject(new Error(`The ${name} did not end within ${ms / 1000} s.`)), ms)
    return this.#explained(Promise.race([step, late.promise])).finally(() => clearTimeout(timer))
  }

  async #explained<T>(step: Promise<T>): Promise<T> {
    try {
      return await step
    } catch (error) {
      const logs = this.bed.workers.filter(worker => !worker.over).map(worker => worker.describe())
      const whereabouts = await this.#whereabouts().catch(String)
      throw new Error([(error as Error).message, whereabouts, ...logs].join('\n'), { cause: error })
    }
  }

  /** Who got how far, for the one who has to find out why nothing moves. */
  async #whereabouts(): Promise<string> {
    const { bed } = this
    const [input, output, committed] = await Promise.all([
      endOffsets(bed.input),
      endOffsets(bed.output),
      committedOffsets(bed.group, bed.input),
    ])
    const open = await auditTopics({ ...this.#audit(), patienceMs: 0 }).catch(String)
    const ends = `input ends at ${input}, the group is at ${committed}, the output ends at ${output}`
    return `${this.generator.published} records published; ${ends}; an audit now: ${JSON.stringify(open)}`
  }

  /**
   * As many replicas as there should be, all ready, every partition at work.
   * @throws Error when a worker has ended that nobody had struck, or has complained on standard error
   */
  async restore(): Promise<void> {
    await this.#mourn()
    this.struck.clear()
    const { replicas = REPLICAS } = this.#fault
    while (this.replicas.length > replicas) await this.leave(this.take())
    while (this.replicas.length < replicas) this.join()
    await Promise.all(this.replicas.map(replica => replica.ready(RECOVERY_PATIENCE_MS)))
    await this.answered(Date.now())
  }

  async #mourn(): Promise<void> {
    for (const worker of this.bed.workers) {
      if (worker.stderr !== '') throw new Error(`A worker wrote to standard error.\n${worker.describe()}`)
      if (!worker.over || this.#mourned.has(worker)) continue
      const end = await worker.exited
      const meant = this.struck.has(worker) || end === this.#fault.mayEndWith
      if (!meant) throw new Error(`A worker ended by itself, with ${end}.\n${worker.describe()}`)
      this.#mourned.add(worker)
    }
  }

  /** Why a worker says that it is not ready: codes of the table of errors; none when it is, or does not answer. */
  async reasons(replica: WorkerProcess): Promise<readonly ErrorCode[]> {
    const response = await fetch(await replica.url('/health/ready')).catch(() => undefined)
    const { reasons } = ((await response?.json()) ?? { reasons: [] }) as Pick<HealthReport, 'reasons'>
    return reasons.map(({ code }) => code)
  }

  /** Judges what there is now, all of it answered. */
  async judge(): Promise<void> {
    this.#judged.push(await auditTopics({ ...this.#audit(), from: this.#from }))
  }

  /** What is below these offsets, by partition, was judged, and its output may be gone. */
  judgeFrom(offsets: readonly number[]): void {
    this.#from = { kind: 'offsets', offsets: new Map(offsets.entries()) }
  }

  /** Publishes no more, waits until all is answered, stops the workers, and lets the oracle speak. */
  async conclude(): Promise<Outcome> {
    await this.generator.stop()
    await this.bed.caughtUp(CATCH_UP_PATIENCE_MS)
    await this.tally.look(this.replicas)
    await this.#mourn()
    await Promise.all(this.replicas.map(replica => this.leave(replica)))
    const following = this.#following!
    this.#following = undefined
    const early = await following.stop()
    await this.judge()
    const late = this.#judged
    if (this.#from !== undefined) return { late, early: undefined, vanished: [] }
    return { late, early, vanished: vanished(early, late.at(-1)!) }
  }

  /** Leaves nothing running; the servers stay. */
  async close(): Promise<void> {
    await this.tally.close()
    await this.generator.stop().catch(() => {})
    await this.#following?.stop().catch(() => {})
    await this.bed.close()
  }

  anyProxy(): KafkaProxy {
    const { proxies } = this.servers
    return proxies[this.random.below(proxies.length)]!
  }

  /** A moment of at most `ms`, so that strikes fall anywhere. */
  moment(ms: number): Promise<void> {
    return this.forMs(this.random.below(ms))
  }

  /** Lets a fault last this long. */
  async forMs(ms: number): Promise<void> {
    await delay(ms)
  }

  #audit(): AuditOptions {
    return {
      brokers: this.servers.bootstrap.split(','),
      groupId: this.bed.group,
      inputTopic: this.bed.input,
      outputTopic: this.bed.output,
      deadLetterTopic: this.bed.deadLetter,
      examples: EXAMPLES,
      requestTimeoutMs: READER_PATIENCE_MS,
    }
  }

  #witness(): NonNullable<AuditOptions['witness']> {
    return {
      range: () => {},
      input: () => {},
      prediction: batch => {
        this.watch.saw(batch)
        this.answers.prediction(batch)
        if (this.#fault.judge !== undefined) this.rollouts.prediction(batch)
      },
      deadLetter: batch => {
        this.watch.saw(batch)
        this.answers.deadLetter(batch)
      },
      room: async () => {},
    }
  }
}

/** The faults of a verdict in words, for people; empty when it is clean. */
export function complaints({ faults, openTransactions, unread, gaps, trimmed, strayOffsets }: AuditVerdict): string[] {
  const named = Object.entries(faults).flatMap(([kind, { examples }]) =>
    examples.map(({ input, seen, detail }) => {
      const places = [input, seen].filter(place => place !== undefined).map(placeText)
      return [kind, places.join(' in '), detail].filter(Boolean).join(' ')
    }),
  )
  const left = openTransactions.map(id => `left open: transaction of ${id}`)
  const stray = strayOffsets.map(offset => `stray offset: ${JSON.stringify(offset)}`)
  const hidden = [...unread, ...gaps, ...trimmed].map(place => `not read: ${JSON.stringify(place)}`)
  return [...named, ...left, ...stray, ...hidden]
}
