import { Backoff } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import type { RolloutState } from '../core/rollout.ts'
import { stateRecord } from '../core/rollout-records.ts'
import { groupsOf, type Seat, seatsOf } from '../core/rollout-seats.ts'
import { RolloutView } from '../core/rollout-view.ts'
import { Signal } from '../core/signal.ts'
import { FencedError } from '../core/transaction.ts'
import { within } from '../core/waiting.ts'
import { type ConnectionOptions, clusterTools } from '../kafka/cluster.ts'
import { Coordinator } from '../kafka/coordinator.ts'
import { type GroupMember, groupMembers } from '../kafka/group-view.ts'
import { endOffsets } from '../kafka/log-offsets.ts'
import { partitionCount } from '../kafka/offsets.ts'
import { translate } from '../kafka/protocol-errors.ts'
import { TopicFollower } from '../kafka/topic-follower.ts'
import { TransactionalWriter } from '../kafka/transactional-writer.ts'

export interface RolloutDeskOptions {
  readonly connection: ConnectionOptions
  /** ROLLOUT_TOPIC. */
  readonly topic: string
  readonly model: string
  /** GROUP_ID: a group that serves the model, whether or not it says so. */
  readonly groupId: string
  readonly clock: Clock
  /** Hears, once each, of what is odd but stops nothing. */
  readonly note: (text: string) => void
}

/** How long brokers may be away before a command gives up. */
const PATIENCE_MS = 30_000
const LOOK_EVERY_MS = 100

/**
 * An operator's side of the rollout topic: all that it says, and the one who may change what it says of a model. Whoever
 * comes later fences who was there before (`take`), so that a change is always made to the state that was read.
 */
export class RolloutDesk {
  readonly #options: RolloutDeskOptions
  readonly #cluster: KafkajsCluster
  readonly #view: RolloutView
  readonly #follower: TopicFollower
  readonly #writer: TransactionalWriter
  readonly #coordinators = new Map<string, Coordinator>()
  readonly #news = new Signal()
  /** What keeps it from reading. */
  #away: SluiceError | undefined

  private constructor(options: RolloutDeskOptions) {
    const { connection, topic, model, clock, note } = options
    const tools = clusterTools(connection, silentLog)
    this.#options = options
    this.#cluster = tools.create()
    this.#view = new RolloutView((key, why) => note(`the record ${key} of ${topic} cannot be used: ${why}`))
    this.#follower = new TopicFollower({
      tools,
      topic,
      clock,
      onRecord: (key, value) => this.#view.apply(key, value),
      onCaughtUp: () => this.#news.notify(),
      onTrouble: error => this.#trouble(error),
    })
    this.#writer = new TransactionalWriter({
      cluster: this.#cluster,
      topic,
      transactionalId: `sluice.rollout.${topic}.${model}`,
      clock,
      requestTimeoutMs: connection.requestTimeoutMs,
    })
  }

  /**
   * Reads the topic. The caller closes the desk.
   * @throws SluiceError `broker-unreachable` when brokers are away for half a minute, or what they refuse
   */
  static async open(options: RolloutDeskOptions): Promise<RolloutDesk> {
    const desk = new RolloutDesk(options)
    try {
      await desk.#connect()
      await desk.#inTime(desk.#follower.start())
      return desk
    } catch (error) {
      await desk.close()
      throw error
    }
  }

  /** Whether the topic is there; nobody can have said anything before. Throws a SluiceError. */
  async exists(): Promise<boolean> {
    const { topic } = this.#options
    try {
      return (await partitionCount(this.#cluster, topic)) !== undefined
    } catch (error) {
      throw translate(error, `looking for ${topic}`, 'broker-unreachable')
    }
  }

  /** What the topic says of the model, as far as it was read. */
  get state(): RolloutState | undefined {
    return this.#view.state(this.#options.model)
  }

  /**
   * Becomes the one who may change the state: fences who was it before, and reads all that they have written.
   * @throws SluiceError
   */
  async take(): Promise<void> {
    await this.#writer.initialise()
    await this.readToEnd()
  }

  /**
   * Reads all that the topic has now, which must have been created; brokers may hear of that a moment later.
   * @throws SluiceError
   */
  async readToEnd(): Promise<void> {
    const { topic, clock } = this.#options
    await this.#awaitTopic()
    const [end] = await endOffsets({ cluster: this.#cluster, topic, partitions: 1, clock })
    await this.#inTime(this.#follower.reached(end!))
  }

  /**
   * Replaces the state that was read by `next`, and has read it when it resolves. What got no answer is settled: by taking the
   * desk again, which ends it, and reading what came of it.
   * @throws SluiceError `rollout-superseded` when somebody else has taken the desk; `broker-unreachable` when it is not
   *   known within half a minute what came of it
   */
  async write(next: RolloutState): Promise<void> {
    const { clock } = this.#options
    const before = textOf(this.state)
    const backoff = new Backoff(100, 1_000)
    const deadline = clock.now() + PATIENCE_MS
    for (let known = true; ; ) {
      try {
        if (!known) await this.take()
        known = true
        if (textOf(this.state) === textOf(next)) return
        if (textOf(this.state) !== before) throw this.#superseded()
        known = false
        await this.#writer.write({ ...stateRecord(next), timestamp: clock.wallTime() })
        await this.readToEnd()
        known = true
        if (textOf(this.state) !== textOf(next)) throw this.#superseded()
        return
      } catch (error) {
        if (error instanceof FencedError) throw this.#superseded()
        const mayPass = error instanceof SluiceError && PASSING.has(error.code) && clock.now() < deadline
        if (!mayPass) throw error
        await clock.sleep(backoff.next())
        await this.#cluster.refreshMetadata().catch(() => {})
      }
    }
  }

  /**
   * The members of all groups that serve the model as their coordinators know them now, each with its report.
   * @throws SluiceError
   */
  async seats(): Promise<readonly Seat[]> {
    const { model, groupId } = this.#options
    const groups = groupsOf(model, groupId, this.#view.reports)
    const members = await Promise.all(groups.map(async group => [group, await this.#membersOf(group)] as const))
    return seatsOf(new Map(members), this.#view.reports)
  }

  /** Resolves when the topic has said something new, after `ms`, or when `signal` is aborted. */
  async news(ms: number, signal: AbortSignal): Promise<void> {
    const cut = new AbortController()
    const either = AbortSignal.any([signal, cut.signal])
    await Promise.race([this.#news.wait(), this.#options.clock.sleep(ms, either)])
    cut.abort()
  }

  /** Never throws. */
  async close(): Promise<void> {
    await this.#follower.close()
    await this.#cluster.disconnect().catch(() => {})
  }

  async #connect(): Promise<void> {
    try {
      await this.#cluster.connect()
    } catch (error) {
      throw translate(error, 'connecting to the brokers', 'broker-unreachable')
    }
  }

  async #membersOf(group: string): Promise<GroupMember[]> {
    const { clock } = this.#options
    let coordinator = this.#coordinators.get(group)
    if (coordinator === undefined) {
      coordinator = new Coordinator(this.#cluster, 'group', group, clock)
      this.#coordinators.set(group, coordinator)
    }
    try {
      return await groupMembers(coordinator, group)
    } catch (error) {
      throw translate(error, `asking for the members of group ${group}`, 'broker-unreachable')
    }
  }

  async #awaitTopic(): Promise<void> {
    const { topic, clock } = this.#options
    const deadline = clock.now() + PATIENCE_MS
    while (!(await this.exists())) {
      if (clock.now() >= deadline) throw new SluiceError('topic-missing', `Topic ${topic} does not exist.`)
      await clock.sleep(LOOK_EVERY_MS)
    }
  }

  async #inTime(reading: Promise<void>): Promise<void> {
    const { clock, topic } = this.#options
    if (await within(clock, PATIENCE_MS, reading)) return
    if (this.#away !== undefined) throw this.#away
    const what = `${topic} could not be read to its end within ${PATIENCE_MS / 1000} s`
    throw new SluiceError(
      'broker-unreachable',
      `${what}: somebody’s transaction is open there, or the topic was made anew.`,
    )
  }

  #trouble(error: SluiceError | undefined): void {
    if (error !== undefined && this.#away === undefined) this.#options.note(error.message)
    this.#away = error
  }

  #superseded(): SluiceError {
    const { model } = this.#options
    return new SluiceError(
      'rollout-superseded',
      `Another command is changing the rollout of ${model}; this one has ended.`,
    )
  }
}

/** Waiting may mend these, and taking the desk again settles what came of a write. */
const PASSING: ReadonlySet<string> = new Set(['transaction-unknown', 'broker-unreachable'])

function textOf(state: RolloutState | undefined): string | undefined {
  return state === undefined ? undefined : stateRecord(state).value
}
