import type { Clock } from '../core/clock.ts'
import { asSluiceError, type SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import {
  type PreparedProposal,
  type Proposal,
  type ReplicaReport,
  type RolloutPlan,
  type RolloutState,
  versionsOf,
} from '../core/rollout.ts'
import type { Health } from '../ops/health.ts'
import type { LivePlan } from '../serving/served-versions.ts'
import type { VersionShelf } from '../serving/version-shelf.ts'

interface RolloutAgentOptions {
  readonly model: string
  readonly group: string
  readonly replica: string
  /** `host:pid`. */
  readonly place: string
  /** MODEL_VERSION is set: plans are heard, and not followed. */
  readonly pinned: boolean
  /** What answers at first. */
  readonly live: LivePlan
  readonly shelf: VersionShelf
  /** Why a version that is open cannot be trusted with records, or undefined. */
  readonly refuse: (version: string) => SluiceError | undefined
  /** This plan, whose versions are ready, answers from now on. */
  readonly adopt: (live: LivePlan) => void
  readonly publish: (report: ReplicaReport) => void
  readonly health: Health
  readonly log: Log
  readonly clock: Clock
}

interface Problem {
  readonly version: string
  readonly error: SluiceError
}

const CONDITION = 'rollout'
const AGAIN_MS = 5_000

/**
 * Follows the rollout of the worker's model: what operators propose is loaded, verified and made ready on every thread, and
 * answers when it becomes live. One thing at a time; of the states that are heard meanwhile only the last one counts.
 *
 *   SERVING ── proposed ──▶ PREPARING ──▶ PREPARED ── live ──▶ SERVING, with the next revision: versions of no plan are
 *      ▲                        └─ problem ─▶ REFUSED           retired
 *      └──── withdrawn ─────────┴──────────────┘
 *
 * A problem is told to whoever proposes, logged, and shown beside the health until another proposal fares better.
 * A live plan whose versions cannot be had (this replica was not asked, or has lost its device since) does not displace the
 * one that answers: the worker goes on with that, is not ready, and says why.
 */
export class RolloutAgent {
  readonly #options: RolloutAgentOptions
  #live: LivePlan
  #prepared: PreparedProposal | undefined
  /** By thread. */
  readonly #members = new Map<number, string>()
  #wanted: RolloutState | undefined
  #busy = false
  #closed = false
  /** Resolves when another state is heard. */
  #news = Promise.withResolvers<void>()

  constructor(options: RolloutAgentOptions) {
    this.#options = options
    this.#live = options.live
  }

  /** The plan that answers. */
  get live(): LivePlan {
    return this.#live
  }

  /** A thread is a member of the group, under this id. */
  joined(thread: number, memberId: string): void {
    if (this.#members.get(thread) === memberId) return
    this.#members.set(thread, memberId)
    this.#report()
  }

  /** What the rollout topic says now. */
  heard(state: RolloutState): void {
    if (this.#options.pinned) return
    this.#wanted = state
    this.#news.resolve()
    this.#news = Promise.withResolvers()
    if (!this.#busy) void this.#follow()
  }

  /** Nothing is followed any more. */
  close(): void {
    this.#closed = true
    this.#wanted = undefined
    this.#news.resolve()
  }

  async #follow(): Promise<void> {
    this.#busy = true
    let state = this.#wanted
    while (state !== undefined) {
      await this.#apply(state)
      if (this.#wanted === state) break
      state = this.#wanted
    }
    this.#busy = false
  }

  async #apply(state: RolloutState): Promise<void> {
    const { live, revision, proposed } = state
    if (live !== undefined && revision !== this.#live.revision) await this.#goLive({ plan: live, revision }, state)
    if (this.#wanted !== state) return
    if (proposed !== undefined && proposed.id !== this.#prepared?.proposal) await this.#propose(proposed, state)
    if (this.#wanted === state) this.#retireOthers(proposed?.plan)
  }

  async #goLive(next: LivePlan, state: RolloutState): Promise<void> {
    const { health, adopt, log } = this.#options
    const problem = await this.#prepare(next.plan, state)
    if (this.#wanted !== state) return
    if (problem !== undefined) {
      log.error({ ...next.plan, ...said(problem) }, 'the plan that is live cannot be followed: what answers goes on')
      health.set(CONDITION, problem.error)
      if (problem.error.response === 'retry') this.#tryAgain(state)
      return
    }
    health.clear(CONDITION)
    health.clearNote(CONDITION)
    adopt(next)
    this.#live = next
    this.#prepared = undefined
    this.#report()
  }

  async #propose({ id: proposal, plan }: Proposal, state: RolloutState): Promise<void> {
    const { log, health } = this.#options
    this.#prepared = undefined
    this.#report()
    const problem = await this.#prepare(plan, state)
    if (this.#wanted !== state) return
    if (problem === undefined) {
      log.info({ ...plan, proposal }, 'the versions that are proposed are ready to answer')
      health.clearNote(CONDITION)
    } else {
      log.warn({ ...plan, proposal, ...said(problem) }, 'what is proposed cannot answer here')
      health.note(CONDITION, problem.error)
    }
    this.#prepared = { proposal, problem: problem && said(problem) }
    this.#report()
  }

  /** Makes every version of a plan ready. Returns what stands in the way; does not wait for it once there are other news. */
  async #prepare(plan: RolloutPlan, state: RolloutState): Promise<Problem | undefined> {
    for (const version of versionsOf(plan)) {
      if (this.#wanted !== state) return undefined
      const ready = this.#options.shelf.open(version)
      // It may fail, or come about, when nobody waits for it any more.
      ready.then(
        () => this.#reviewShelf(),
        () => {},
      )
      try {
        await Promise.race([ready, this.#news.promise])
        const refusal = this.#wanted === state ? this.#options.refuse(version) : undefined
        if (refusal !== undefined) return { version, error: refusal }
      } catch (error) {
        return { version, error: asSluiceError(error, 'session-failed') }
      }
    }
    return undefined
  }

  /** The store is away, say. Other news come first. */
  #tryAgain(state: RolloutState): void {
    this.#options.clock.after(AGAIN_MS, () => {
      if (this.#wanted !== state) return
      if (this.#busy) this.#tryAgain(state)
      else void this.#follow()
    })
  }

  #reviewShelf(): void {
    if (!this.#busy && this.#wanted !== undefined) this.#retireOthers(this.#wanted.proposed?.plan)
  }

  #retireOthers(proposed: RolloutPlan | undefined): void {
    const { shelf } = this.#options
    const plans = [this.#live.plan, ...(proposed === undefined ? [] : [proposed])]
    const wanted = new Set(plans.flatMap(versionsOf))
    for (const version of shelf.versions) if (!wanted.has(version)) shelf.retire(version)
  }

  #report(): void {
    if (this.#closed) return
    const { publish, model, group, replica, place, pinned, clock } = this.#options
    publish({
      group,
      replica,
      place,
      members: [...this.#members.values()],
      model,
      serving: { ...this.#live, pinned },
      prepared: this.#prepared,
      at: clock.wallTime(),
    })
  }
}

function said({ version, error: { code, message } }: Problem) {
  return { version, code, message }
}
