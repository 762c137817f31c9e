import { FakeKafka } from './fake-kafka/fake-kafka.ts'
import { BreachError, type InputRecord, Oracle } from './oracle.ts'
import { randomFrom, seedFor } from './random.ts'
import { describeHappening, type Happening, MAX_REPLICAS, type RecordKind, type Schedule } from './schedule.ts'
import { SimClock } from './sim-clock.ts'
import { SETTINGS, SHADOW_TOPIC, SimReplica, VERSIONS } from './sim-replica.ts'
import { UpstreamProducer } from './upstream.ts'

type BrokersCrash = Happening & { readonly kind: 'brokers crash' }
type Trace = (event: string) => void

/** How long everything may take once nothing fails any more, in ms: several sessions, transactions and backoffs. */
const LIVENESS_MS = 60_000
/** How long after the end requests that are late may still arrive. */
const AFTERMATH_MS = 5_000

/** What may change the owners, and for how long: sessions end, and the group is complete again. */
const UPHEAVALS = new Set(['kill', 'drain', 'pause', 'fault'])
const UPHEAVAL_MS = 6_000

/** Requests by which a task starts. */
const STARTING = new Set(['describetransactions', 'initproducerid', 'addpartitionstotxn', 'addoffsetstotxn', 'endtxn'])

const { groupId, inputTopic, outputTopic, deadLetterTopic, timelineTopic } = SETTINGS
const TOPICS = [inputTopic, outputTopic, deadLetterTopic] as const

/**
 * Plays a schedule: its events, then a while in which everything goes well, until all input is accounted for and every
 * replica has drained. The same schedule always plays in the same way.
 * @param trace hears of what happens, with the time
 * @throws BreachError when the promise is broken
 */
export async function play(schedule: Schedule, trace?: Trace): Promise<void> {
  const { random } = Math
  Math.random = randomFrom(schedule.shape.seed) // jitter of backoffs, ids of members
  try {
    const world = new World(schedule, trace)
    for (const { after, what } of schedule.events) {
      await world.advance(after)
      world.let(what)
    }
    await world.finish()
  } finally {
    Math.random = random
  }
}

class World {
  readonly #schedule: Schedule
  readonly #trace: Trace
  readonly #time = new SimClock()
  readonly #kafka: FakeKafka
  readonly #oracle: Oracle
  readonly #upstream: UpstreamProducer
  readonly #replicas: SimReplica[] = []
  /** Is to happen at the next end of a transaction. */
  #crash: BrokersCrash | undefined
  /** Until when members may come and go. */
  #upheavalUntil = 0
  /** Whether the owners are to stay who they are. */
  #steady = false
  /** Which markers a crash loses. */
  readonly #luck: () => number
  readonly #poison = new Set<number>()
  #failure: BreachError | undefined
  #serial = 0
  /** Records that are yet to be appended. */
  #toCome = 0

  constructor(schedule: Schedule, trace: Trace | undefined) {
    const { shape, backlog } = schedule
    this.#schedule = schedule
    this.#trace = event => trace?.(`${this.#time.now().toFixed(2).padStart(10)} ms  ${event}`)
    this.#luck = randomFrom(seedFor(shape.seed, 'crashes'))
    const random = randomFrom(seedFor(shape.seed, 'markers'))
    const markerDelayMs = () => (random() < 0.8 ? 1 : 40 * random())
    this.#kafka = new FakeKafka({ clock: this.#time, brokers: shape.brokers, markerDelayMs })
    this.#kafka.createTopic(inputTopic, shape.partitions)
    this.#kafka.createTopic(outputTopic, shape.outputPartitions)
    this.#kafka.createTopic(deadLetterTopic, shape.outputPartitions)
    this.#kafka.createTopic(SHADOW_TOPIC, shape.outputPartitions)
    this.#kafka.createTopic(timelineTopic, 1)
    this.#oracle = new Oracle(this.#kafka, shape.partitions, shape.outputPartitions)
    this.#upstream = new UpstreamProducer(this.#kafka, () => this.#time.wallTime())
    backlog.slice(0, shape.partitions).forEach((kinds, partition) => {
      if (kinds.length > 0) this.let({ kind: 'append', partition, records: kinds, upstream: 'none', every: 0 })
    })
    for (let i = 0; i < shape.replicas; i++) this.let({ kind: 'start' })
  }

  /** Lets time pass, and looks after each step whether all is well. */
  async advance(ms: number, until: () => boolean = () => false): Promise<void> {
    await this.#time.advance(ms, () => {
      this.#oracle.look()
      this.#crashAtEnd()
      if (this.#failure !== undefined) throw this.#failure
      return until()
    })
  }

  let(what: Happening): void {
    if (this.#steady && !leavesOwners(what)) return
    if (UPHEAVALS.has(what.kind)) this.#upheavalUntil = this.#time.now() + UPHEAVAL_MS
    this.#trace(describeHappening(what))
    if (what.kind === 'append') this.#append(what)
    else if (what.kind === 'start') this.#start()
    else if (what.kind === 'leader moves') this.#moveLeader(what)
    else if (what.kind === 'brokers crash') this.#letCrash(what)
    else {
      const replicas = this.#replicas.filter(({ gone }) => !gone)
      // A replica less is not for every schedule; trouble with those that are there is.
      const less = what.kind === 'kill' || what.kind === 'drain'
      const replica = replicas[less ? what.replica : what.replica % Math.max(1, replicas.length)]
      if (replica !== undefined) this.#letReplica(replica, what)
    }
  }

  #letReplica(replica: SimReplica, what: Happening & { replica: number }): void {
    switch (what.kind) {
      case 'fault':
        replica.arm(what.fault)
        break
      case 'plan':
        replica.process.post(() => replica.adopt(what.plan))
        break
      case 'kill':
        replica.process.kill()
        break
      case 'drain':
        replica.drain()
        break
      case 'pause':
        replica.process.pause()
        this.#time.after(what.ms, () => {
          this.#trace(`${replica.name} goes on`)
          replica.process.resume(what.timersFirst)
        })
        break
      case 'crash':
        replica.crash(what.runs)
        break
      case 'schema away':
        replica.schemaFailures += what.loads
    }
  }

  /** Everything goes well from here. */
  async finish(): Promise<void> {
    this.#trace('from here on nothing fails')
    this.#steady = false
    this.#crash = undefined
    for (const replica of this.#replicas) replica.heal()
    if (this.#schedule.events.some(({ what }) => what.kind === 'brokers crash')) this.#appendEverywhere()
    if (!this.#replicas.some(({ serving }) => serving)) this.#start()
    await this.#await('some input is not accounted for', () => this.#toCome === 0 && this.#oracle.complete)
    await this.#await('a transaction stays open', () => this.#kafka.openTransactions().length === 0)
    await this.#await('a replica does not recover', () => this.#replicas.every(isWell))
    this.#trace('all input is accounted for; the replicas drain')
    for (const replica of this.#replicas) replica.drain()
    await this.#await('a replica does not end', () => this.#replicas.every(({ gone }) => gone))
    await this.advance(AFTERMATH_MS)
    this.#oracle.requireAll()
    for (const replica of this.#replicas) requireNoLeak(replica)
  }

  async #await(otherwise: string, condition: () => boolean): Promise<void> {
    let met = false
    await this.advance(LIVENESS_MS, () => {
      met ||= condition()
      return met
    })
    if (!met) throw new BreachError('stuck', `${otherwise} after ${LIVENESS_MS} ms: ${this.#oracle.progress}`)
  }

  #start(): void {
    if (this.#replicas.filter(({ serving }) => serving).length >= MAX_REPLICAS) return // those that drain are no help
    const name = `replica-${this.#replicas.length}`
    this.#replicas.push(
      new SimReplica({
        name,
        time: this.#time,
        kafka: this.#kafka,
        shape: this.#schedule.shape,
        poisonous: serial => this.#poison.has(serial),
        trace: this.#trace,
        onFailed: error => {
          this.#failure ??= new BreachError('worker failed', `${name}: ${error.code}: ${error.message}`)
        },
      }),
    )
  }

  #append({ partition: drawn, records, upstream, every }: Happening & { kind: 'append' }): void {
    const partition = drawn % this.#schedule.shape.partitions
    const made = records.map(kind => this.#make(kind))
    const expect = (first: number, written = made) => {
      for (const [i, record] of written.entries()) this.#oracle.expect(partition, first + i, record)
    }
    if (upstream !== 'none') {
      void this.#upstream.write(inputTopic, partition, made, upstream === 'committed' ? expect : undefined)
    } else if (every === 0) expect(this.#kafka.append(inputTopic, partition, made))
    else {
      this.#toCome += made.length
      made.forEach((record, i) => {
        this.#time.after(i * every, () => {
          this.#toCome--
          expect(this.#kafka.append(inputTopic, partition, [record]), [record])
        })
      })
    }
  }

  /** An idle task does not hear that markers of its last transaction were lost: it is its next one that ends both. */
  #appendEverywhere(): void {
    for (let partition = 0; partition < this.#schedule.shape.partitions; partition++) {
      this.let({ kind: 'append', partition, records: ['good'], upstream: 'none', every: 0 })
    }
  }

  #make(kind: RecordKind): InputRecord {
    const serial = this.#serial++
    if (kind === 'poison') this.#poison.add(serial)
    const text = { good: `${serial}`, poison: `${serial}`, garbage: `garbage ${serial}`, schema: `${serial} needs 7` }
    return {
      serial,
      kind,
      key: Buffer.from(`key ${serial % 5}`),
      value: Buffer.from(text[kind]),
      timestamp: 1_600_000_000_000 + serial,
    }
  }

  /** Before the client hears that its transaction is decided, or right after. */
  #crashAtEnd(): void {
    const crash = this.#crash
    if (crash === undefined || !this.#kafka.endingTransactions().some(isOurs)) return
    this.#crash = undefined
    this.#time.after(6 * this.#luck(), () => this.#crashBrokers(crash))
  }

  #letCrash(crash: BrokersCrash): void {
    if (crash.soon) this.#crash = crash
    else this.#crashBrokers(crash)
  }

  /**
   * A transaction that lost some of its markers, but not all, is half visible until a start has ended it again. What
   * ADR 9 leaves open is that another owner starts meanwhile, when the coordinator has forgotten how the transaction
   * ended: so then the owners are to stay who they are.
   */
  #crashBrokers({ loses, leaderlessMs }: BrokersCrash): void {
    this.#trace('the brokers crash')
    const quiet = this.#time.now() >= this.#upheavalUntil && this.#replicas.every(isWell)
    this.#steady ||= loses === 'some' && quiet
    if (this.#steady) for (const replica of this.#replicas) replica.disarm()
    this.#kafka.crash({
      losesAll: id => isOurs(id) && (loses === 'all' || this.#luck() < 0.3),
      losesOne: id => isOurs(id) && loses === 'some' && quiet && this.#luck() < 0.5,
      leaderlessMs,
    })
    for (const replica of this.#replicas) replica.cut()
  }

  #moveLeader({ topic, partition, node }: Happening & { kind: 'leader moves' }): void {
    const name = TOPICS[topic]!
    const { brokers, partitions, outputPartitions } = this.#schedule.shape
    const count = name === inputTopic ? partitions : outputPartitions
    this.#kafka.moveLeader(name, partition % count, 1 + (node % brokers))
  }
}

/** Upstream uses each of its ids once: nobody would end what a crash left open there. */
const isOurs = (transactionalId: string) => transactionalId.startsWith(groupId)

/** Whether every partition keeps its owner, and the owner its task, whatever becomes of this. */
function leavesOwners(what: Happening): boolean {
  if (what.kind === 'append' || what.kind === 'plan') return true
  return what.kind === 'fault' && STARTING.has(what.fault.api) && what.fault.fate.kind !== 'doubled'
}

/** A replica that serves has nothing to complain of, and its tasks run. */
function isWell(replica: SimReplica): boolean {
  return !replica.serving || (replica.health.ready().ok && replica.tasks.every(isRunning))
}

const isRunning = ({ state }: { readonly state: string }) => state === 'RUNNING'

/** A drained replica has ended its tasks and given its slots back; one may be open in the batcher of each version, with no row in it. */
function requireNoLeak({ name, process, tasks, slotsInUse }: SimReplica): void {
  if (process.dead) return
  if (tasks.length > 0) throw new BreachError('leak', `${name} still has ${tasks.length} tasks`)
  if (slotsInUse > VERSIONS.length) throw new BreachError('leak', `${name} still holds ${slotsInUse} slots`)
}
