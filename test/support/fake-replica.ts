import { systemClock } from '../../src/core/clock.ts'
import type { PreparedProposal, ReplicaReport, RolloutPlan, RolloutState } from '../../src/core/rollout.ts'
import { clusterTools } from '../../src/kafka/cluster.ts'
import { Membership } from '../../src/kafka/membership.ts'
import { RolloutFollower } from '../../src/kafka/rollout-topic.ts'
import { brokers } from './broker.ts'
import { keptLog } from './rollout.ts'

export interface ReplicaScript {
  readonly rolloutTopic: string
  readonly group: string
  readonly input: string
  readonly model: string
  readonly name: string
  /** The version that its settings name. */
  readonly pinned?: string
  /** Never reports. */
  readonly silent?: boolean
  /** What comes of preparing a plan; all goes well unless given. */
  readonly prepare?: (plan: RolloutPlan) => Promise<PreparedProposal['problem']> | PreparedProposal['problem']
  /** Resolves when it may switch to a plan that is live. */
  readonly maySwitch?: () => Promise<void>
}

/** A real member of a real group that follows the rollout topic and reports, and serves nothing. */
export class FakeReplica {
  readonly #script: ReplicaScript
  readonly #follower: RolloutFollower
  readonly #membership: Membership
  #members: string[] = []
  #serving: ReplicaReport['serving']
  #prepared: PreparedProposal | undefined

  private constructor(script: ReplicaScript, joined: () => void) {
    this.#script = script
    this.#serving = { plan: { stable: script.pinned ?? '1', shadows: [] }, revision: 0, pinned: 'pinned' in script }
    const { rolloutTopic: topic, group, input, model, name } = script
    const options = { brokers: brokers(), clientId: name, requestTimeoutMs: 10_000, metadataMaxAgeMs: 60_000 }
    const log = keptLog()
    const tools = clusterTools(options, log)
    const clock = systemClock
    this.#follower = new RolloutFollower({
      tools,
      topic,
      model,
      group,
      replica: name,
      clock,
      log,
      onState: state => void this.#follow(state),
      onTrouble: () => {},
    })
    this.#membership = new Membership({
      tools,
      groupId: group,
      topic: input,
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      clock,
      log,
      onAssigned: ({ memberId }) => {
        this.#members = [memberId]
        this.#report()
        joined()
      },
      onCondition: () => {},
    })
  }

  /** Resolves when it is a member. It may still be preparing what it heard of as it came. */
  static async join(script: ReplicaScript): Promise<FakeReplica> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const replica = new FakeReplica(script, resolve)
    const state = await replica.#follower.start()
    if (state !== undefined) void replica.#follow(state)
    replica.#membership.start()
    await promise
    return replica
  }

  async close(): Promise<void> {
    await this.#membership.close()
    await this.#follower.close()
  }

  async #follow({ live, revision, proposed }: RolloutState): Promise<void> {
    const { prepare, maySwitch, pinned } = this.#script
    if (pinned !== undefined) return
    if (live !== undefined && revision !== this.#serving.revision) {
      await maySwitch?.()
      this.#serving = { plan: live, revision, pinned: false }
      this.#report()
    }
    if (proposed === undefined || this.#prepared?.proposal === proposed.id) return
    const problem = await prepare?.(proposed.plan)
    this.#prepared = { proposal: proposed.id, problem }
    this.#report()
  }

  #report(): void {
    const { group, model, name, silent } = this.#script
    if (silent || this.#members.length === 0) return
    this.#follower.report({
      group,
      replica: name,
      place: `${name}.host:42`,
      members: this.#members,
      model,
      serving: this.#serving,
      prepared: this.#prepared,
      at: Date.now(),
    })
  }
}
