import { SETTING_KEYS, settingOf } from '../../src/config/settings.ts'
import { Backoff } from '../../src/core/backoff.ts'
import type { SluiceError } from '../../src/core/errors.ts'
import type { Log } from '../../src/core/log.ts'
import type { BatcherTelemetry } from '../../src/core/telemetry.ts'
import type { ClusterTools } from '../../src/kafka/cluster.ts'
import { KafkaLinks } from '../../src/kafka/links.ts'
import { Health } from '../../src/ops/health.ts'
import type { Metrics } from '../../src/ops/metrics.ts'
import { Batcher } from '../../src/pipeline/batcher.ts'
import { shadowTopicOf } from '../../src/replica/committing.ts'
import { Replica, type WorkerSettings } from '../../src/replica/replica.ts'
import { FakeDecoder } from '../pipeline/fake-codec.ts'
import type { FakeKafka } from './fake-kafka/fake-kafka.ts'
import { randomFrom, seedFor } from './random.ts'
import { PLANS, type Shape } from './schedule.ts'
import type { SimClock } from './sim-clock.ts'
import { type Fault, SimNetwork } from './sim-network.ts'
import { SimPool } from './sim-pool.ts'
import { SimProcess } from './sim-process.ts'
import { SimVersions } from './sim-versions.ts'

/** Names and times that all replicas of the simulation share. Times are short: only how they compare matters. */
export const SETTINGS = {
  ...(Object.fromEntries(SETTING_KEYS.map(key => [key, settingOf(key).default])) as unknown as WorkerSettings),
  groupId: 'group',
  inputTopic: 'in',
  outputTopic: 'out',
  deadLetterTopic: 'dead',
  modelName: 'iris',
  requestTimeoutMs: 500,
  fetchMaxWaitMs: 200,
  sessionTimeoutMs: 1_000,
  rebalanceTimeoutMs: 2_000,
  transactionTimeoutMs: 2_500,
  drainTimeoutMs: 20_000,
} satisfies WorkerSettings

const MODEL = { name: 'iris', version: '3', sha256: '0123456789abcdef' }
export const VERSIONS = ['3', '4']
export const SHADOW_TOPIC = shadowTopicOf(SETTINGS.outputTopic)

export interface SimReplicaOptions {
  readonly name: string
  readonly time: SimClock
  readonly kafka: FakeKafka
  readonly shape: Shape
  readonly poisonous: (feature: number) => boolean
  readonly trace: (event: string) => void
  /** An error that would end the worker. */
  readonly onFailed: (error: SluiceError) => void
}

/**
 * One worker without its process: everything of `Replica` is the real thing, from the membership to the producers. Fake
 * are the brokers, the network, time, the sessions and the codec.
 */
export class SimReplica {
  readonly name: string
  readonly process: SimProcess
  readonly health: Health
  /** Loads of schemas that are yet to fail. */
  schemaFailures = 0
  readonly #network: SimNetwork
  /** One for each version. */
  readonly #pools: ReadonlyMap<string, SimPool>
  readonly #links: KafkaLinks
  readonly #replica: Replica
  readonly #stop = new AbortController()
  #ended: Promise<void> | undefined
  #state: 'serving' | 'draining' | 'gone' = 'serving'

  constructor(options: SimReplicaOptions) {
    const { name, time, shape, kafka, trace, poisonous } = options
    const { requestTimeoutMs, rebalanceTimeoutMs, groupId } = SETTINGS
    this.name = name
    this.process = new SimProcess(time)
    const seed = seedFor(shape.seed, name)
    this.#network = new SimNetwork({
      time,
      process: this.process,
      seed,
      requestTimeoutMs,
      joinTimeoutMs: rebalanceTimeoutMs + 5_000,
      trace,
    })
    const random = randomFrom(seed)
    const pool = () => new SimPool({ ...shape, time, process: this.process, random, poisonous })
    this.#pools = new Map(VERSIONS.map(version => [version, pool()]))
    const { clock } = this.process
    const log = logInto(event => trace(`${name}: ${event}`))
    this.health = new Health({ clock, log })
    this.#links = new KafkaLinks(clusterTools(name, kafka, this.#network), groupId, clock)
    this.#replica = new Replica({
      settings: {
        ...SETTINGS,
        maxInFlightRecords: shape.maxInFlight,
        maxInFlightRecordsTotal: shape.maxInFlightTotal,
        maxConcurrentCommits: shape.maxConcurrentCommits,
        commitIntervalMs: shape.commitIntervalMs,
      },
      tools: { log, clock, health: this.health, metrics: noMetrics },
      links: this.#links,
      versions: this.#versions(),
      onFailed: options.onFailed,
    })
    void this.#start()
  }

  /** Whether it has a say in the group, now or once it is resumed. */
  get serving(): boolean {
    return this.#state === 'serving' && !this.process.dead
  }

  /** Whether nothing of it is left: drained or killed. */
  get gone(): boolean {
    return this.#state === 'gone' || this.process.dead
  }

  get tasks() {
    return this.#replica.tasks
  }

  /** Slots of the pool that somebody still holds. */
  get slotsInUse(): number {
    return [...this.#pools.values()].reduce((sum, { slots, freeSlots }) => sum + slots.length - freeSlots, 0)
  }

  /** Hears of another plan, see `PLANS`. */
  adopt(plan: number): void {
    this.#replica.adopt({ plan: PLANS[plan]!, revision: plan })
  }

  arm(fault: Fault): void {
    this.#network.arm(fault)
  }

  /** The faults that are yet to come do not. */
  disarm(): void {
    this.#network.heal()
  }

  /** Its connections to the brokers close. */
  cut(): void {
    this.#network.cut()
  }

  crash(runs: number): void {
    for (const pool of this.#pools.values()) pool.crashes += runs
  }

  /** Nothing fails any more, except what is under way. */
  heal(): void {
    this.#network.heal()
    for (const pool of this.#pools.values()) pool.crashes = 0
    this.schemaFailures = 0
    this.process.resume(false)
  }

  /** SIGTERM. */
  drain(): void {
    if (!this.serving) return
    this.#state = 'draining'
    this.#stop.abort()
    this.#ended ??= this.#end()
  }

  /** As `Worker` does before it joins. */
  async #start(): Promise<void> {
    const { clock } = this.process
    const backoff = new Backoff(200, 5_000)
    const { inputTopic, outputTopic, deadLetterTopic, timelineTopic } = SETTINGS
    this.health.enter('STARTING')
    while (!this.#stop.signal.aborted) {
      try {
        await this.#links.connect([inputTopic, outputTopic, deadLetterTopic, timelineTopic, SHADOW_TOPIC], false)
        if (!this.#stop.signal.aborted) this.#replica.start()
        return
      } catch {
        await clock.sleep(backoff.next(), this.#stop.signal)
      }
    }
  }

  /** As `Worker` does when it is told to stop. */
  async #end(): Promise<void> {
    const { clock } = this.process
    const late = clock.sleep(SETTINGS.drainTimeoutMs).then(() => this.#replica.abort())
    await Promise.race([late, this.#replica.drain()])
    await this.#replica.close()
    this.#state = 'gone'
  }

  #versions(): SimVersions {
    const batcher = (version: string, pool: SimPool) =>
      new Batcher({
        pool,
        model: { ...MODEL, version },
        maxQueueDelayMs: SETTINGS.maxQueueDelayMs,
        targetLatencyMs: SETTINGS.targetLatencyMs,
        telemetry: noTelemetry as BatcherTelemetry,
        clock: this.process.clock,
        probe: async () => {},
        onCondition: error => {
          if (error === undefined) this.health.clear(`sessions-${version}`)
          else this.health.set(`sessions-${version}`, error)
        },
      })
    const batchers = [...this.#pools].map(([version, pool]) => [version, batcher(version, pool)] as const)
    const versions = new SimVersions(MODEL, new Map(batchers), this.#decoder())
    versions.adopt({ plan: PLANS[0]!, revision: 0 })
    return versions
  }

  #decoder(): FakeDecoder {
    const decoder = new FakeDecoder()
    decoder.find = async () => {
      await this.process.clock.sleep(5)
      if (this.schemaFailures === 0) return
      this.schemaFailures--
      throw new Error('connection refused')
    }
    return decoder
  }
}

const silentLogger = { namespace: () => silentLogger, debug() {}, info() {}, warn() {}, error() {} }

function clusterTools(name: string, kafka: FakeKafka, network: SimNetwork): ClusterTools {
  let made = 0
  return {
    create: () => kafka.cluster(`${name}.${made++}`, network.send),
    logger: silentLogger,
    // No retries: kafkajs would wait for them in real time; Membership tries again by itself.
    retry: { initialRetryTime: 1, maxRetryTime: 1, retries: 0 },
  }
}

function logInto(trace: (event: string) => void): Log {
  const logAs = (suffix: string) => (_fields: unknown, message: string) => trace(message + suffix)
  const logger = (suffix: string): Log => ({
    debug: logAs(suffix),
    info: logAs(suffix),
    warn: logAs(suffix),
    error: logAs(suffix),
    child: fields => logger(` ${JSON.stringify(fields)}`),
  })
  return logger('')
}

/** Takes every report. */
const noTelemetry: object = new Proxy({}, { get: () => () => noTelemetry })
const noMetrics = new Proxy({}, { get: () => () => noTelemetry }) as Metrics
