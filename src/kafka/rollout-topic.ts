import type { Clock } from '../core/clock.ts'
import type { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { ReplicaReport, RolloutState } from '../core/rollout.ts'
import { reportKey, reportRecord, stateRecord } from '../core/rollout-records.ts'
import { RolloutView } from '../core/rollout-view.ts'
import type { ClusterTools } from './cluster.ts'
import { RecordKeeper } from './record-keeper.ts'
import { TopicFollower } from './topic-follower.ts'

export interface RolloutFollowerOptions {
  readonly tools: ClusterTools
  /** ROLLOUT_TOPIC. */
  readonly topic: string
  readonly model: string
  /** Who reports: named as in the reports. */
  readonly group: string
  readonly replica: string
  readonly clock: Clock
  readonly log: Log
  /**
   * Hears of every change after `start` has resolved; of several that come at once, of the last one. Never that there is no
   * state any more: where the topic or the record was deleted, what serves goes on serving. Must not throw.
   */
  readonly onState: (state: RolloutState) => void
  /** What keeps it from hearing, again with every attempt; undefined when nothing does any more. */
  readonly onTrouble: (error: SluiceError | undefined) => void
}

const TOMBSTONE_MS = 1_500

/** A replica's side of the rollout topic: what it is to serve, and what it says of that. */
export class RolloutFollower {
  readonly #options: RolloutFollowerOptions
  readonly #view: RolloutView
  readonly #topic: TopicFollower
  readonly #keeper: RecordKeeper
  readonly #key: string
  /** As text: the topic may be read again, and tell the same again. Undefined until `start` has resolved. */
  #told: { readonly text: string | undefined } | undefined
  #there = false
  #closing = false

  constructor(options: RolloutFollowerOptions) {
    const { tools, topic, group, replica, clock, log } = options
    this.#options = options
    this.#key = reportKey(group, replica)
    this.#view = new RolloutView((key, why) => {
      log.warn(
        { topic, key, why },
        'a record of the rollout topic cannot be used: what was known before it still holds',
      )
    })
    this.#keeper = new RecordKeeper({ topic, key: this.#key, clock, log })
    this.#topic = new TopicFollower({
      tools,
      topic,
      clock,
      onRecord: (key, value, offset) => {
        this.#view.apply(key, value)
        if (key === this.#key) this.#keeper.noticed(value, offset)
      },
      onCaughtUp: () => this.#tell(),
      onLink: cluster => this.#link(cluster),
      onTrouble: options.onTrouble,
    })
  }

  /**
   * Resolves with the state that was there when it began: undefined where there was none, or no topic. Waits for brokers
   * as long as it takes, or until it is closed.
   */
  async start(): Promise<RolloutState | undefined> {
    await this.#topic.start()
    const state = this.state
    this.#told = { text: textOf(state) }
    return state
  }

  /** As last heard. */
  get state(): RolloutState | undefined {
    return this.#view.state(this.#options.model)
  }

  /**
   * Publishes what this replica says, when it can, and never creates the topic. One request at a time; of several reports
   * that come meanwhile the last one counts. It is published again where the topic was made anew.
   */
  report(report: ReplicaReport): void {
    this.#keeper.put(reportRecord(report).value)
  }

  /** Says that the replica has left, and ends. Takes no longer than five seconds, however the brokers are. Never throws. */
  async close(): Promise<void> {
    this.#closing = true
    await this.#keeper.close(TOMBSTONE_MS)
    await this.#topic.close()
  }

  #tell(): void {
    const state = this.state
    const text = textOf(state)
    if (this.#told === undefined || state === undefined || text === this.#told.text) return
    this.#told = { text }
    this.#options.onState(state)
  }

  #link(cluster: KafkajsCluster | undefined): void {
    const { log, topic } = this.#options
    if (this.#there && cluster === undefined && !this.#closing)
      log.info({ topic }, 'lost sight of the rollout topic: what serves goes on')
    this.#there = cluster !== undefined
    this.#keeper.attach(cluster)
  }
}

function textOf(state: RolloutState | undefined): string | undefined {
  return state === undefined ? undefined : stateRecord(state).value
}
