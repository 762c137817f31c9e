import { randomUUID } from 'node:crypto'
import type { Clock } from '../core/clock.ts'
import { asSluiceError, messageOf, SluiceError } from '../core/errors.ts'
import { type RolloutPlan, type RolloutState, versionsOf } from '../core/rollout.ts'
import {
  planAfter,
  planText,
  type RolloutChange,
  samePlan,
  withdrawn,
  withLive,
  withProposal,
} from '../core/rollout-changes.ts'
import { arrival, placeOf, preparation, preparedOf, type Seat, type Standing } from '../core/rollout-seats.ts'
import type { RolloutDesk } from './rollout-desk.ts'

export interface ChangeOptions {
  readonly desk: RolloutDesk
  readonly model: string
  readonly change: RolloutChange
  /** How long replicas may take to prepare, and then again to switch. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
  readonly clock: Clock
  /** Throws a SluiceError where the store does not have the version, or not whole. */
  readonly inStore: (version: string) => Promise<void>
  /** Loads a version here and lets it repeat its golden samples; throws a SluiceError where it does not. */
  readonly verify: (version: string) => Promise<void>
  readonly hear: ChangeEvents
}

/** Who tells people about it while it goes on. */
export interface ChangeEvents {
  /** Once each. */
  note(text: string): void
  /** What is waited for now, again and again. */
  waiting(text: string): void
}

/** What came of a change. */
export interface ChangeOutcome {
  readonly model: string
  readonly plan: RolloutPlan
  readonly revision: number
  /** False: the plan was live already, and nothing was written. */
  readonly changed: boolean
  /** From when the plan was live to when the last replica had switched, in ms. */
  readonly tookMs: number
  readonly replicas: readonly SwitchedReplica[]
  /** Places of replicas that go on with the version of their own settings. */
  readonly pinned: readonly string[]
}

export interface SwitchedReplica {
  readonly group: string
  readonly place: string
  /** After the plan was live, in ms. */
  readonly afterMs: number
}

/** Members come and go without the topic saying so. */
const LOOK_EVERY_MS = 500

/**
 * Changes a rollout in two phases:
 *
 *   CHECKED ──▶ PROPOSED ──every member has it ready──▶ LIVE ──every member has switched──▶ done
 *                   │
 *                   └── a problem, time is up, stopped ──▶ WITHDRAWN: nothing has changed
 *
 * The first phase is why the second cannot fail on a version that does not load; a replica that joins between the two
 * gets the new plan from the start. A command that is killed leaves its proposal there; the next one replaces it.
 * @throws SluiceError `rollout-invalid`, `rollout-refused`, `rollout-timeout`, `rollout-superseded`, `rollout-stopped`;
 *   `model-missing` or `model-corrupt` before anything is written; whatever brokers refuse
 */
export async function changeRollout(options: ChangeOptions): Promise<ChangeOutcome> {
  return new Change(options).run()
}

class Change {
  readonly #options: ChangeOptions
  /** Of what has been said, so that nothing is said twice. */
  readonly #noted = new Set<string>()

  constructor(options: ChangeOptions) {
    this.#options = options
  }

  async run(): Promise<ChangeOutcome> {
    const { desk, model, change, clock } = this.#options
    const plan = await this.#checkedPlan()
    const state = desk.state ?? emptyState(model)
    if (state.live !== undefined && samePlan(state.live, plan)) return this.#unchanged(state)
    const id = randomUUID()
    const proposed = withProposal(state, { id, plan }, clock.wallTime())
    await desk.write(proposed)
    const seats = await this.#prepared(proposed, id, plan)
    const reported = seats.flatMap(({ report }) => (report?.model === model ? [report.serving] : []))
    const live = withLive(proposed, plan, change, {
      revision: Math.max(state.revision, ...reported.map(({ revision }) => revision)) + 1,
      before: ownChoice(reported),
      at: clock.wallTime(),
    })
    await this.#goLive(live)
    return this.#switched(live, plan)
  }

  async #goLive(live: RolloutState): Promise<void> {
    try {
      await this.#options.desk.write(live)
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code === 'rollout-superseded') throw error
      const unknown = 'Whether the plan is live is not known: "sluice model status" shows it once brokers answer.'
      throw new SluiceError(error.code, `${error.message} ${unknown}`, { cause: error })
    }
  }

  /** The plan, with every version of it in the store, after the desk was taken. Nobody is fenced for a plan that is none. */
  async #checkedPlan(): Promise<RolloutPlan> {
    const { desk, change, inStore } = this.#options
    await desk.readToEnd()
    const plan = planAfter(desk.state, change)
    for (const version of versionsOf(plan)) await inStore(version)
    await desk.take()
    const now = planAfter(desk.state, change)
    if (!samePlan(now, plan)) for (const version of versionsOf(now)) await inStore(version)
    return now
  }

  async #unchanged(state: RolloutState): Promise<ChangeOutcome> {
    const { desk, model, clock } = this.#options
    if (state.proposed !== undefined) await desk.write(withdrawn(state, clock.wallTime()))
    const { live, revision } = state
    return { model, plan: live!, revision, changed: false, tookMs: 0, replicas: [], pinned: [] }
  }

  /** The first phase. Returns the seats as they were when all were ready; withdraws the proposal before it throws. */
  async #prepared(proposed: RolloutState, id: string, plan: RolloutPlan): Promise<readonly Seat[]> {
    const { model, timeoutMs, desk } = this.#options
    let verified = false
    try {
      const seats = await this.#wait(timeoutMs, async seats => {
        if (desk.state?.proposed?.id !== id) throw superseded(model)
        const standings = this.#standings(seats, seat => preparation(seat, model, id))
        const failed = standings.find(([, standing]) => standing === 'failed')
        if (failed !== undefined) throw refusedBy(failed[0], id)
        const waiting = unfinished(standings)
        const someone = standings.some(([, standing]) => standing === 'done')
        if (waiting.length === 0 && !someone && !verified) {
          await this.#verifyHere(plan)
          verified = true
          return 'look again'
        }
        return waiting.length === 0 ? 'done' : describeWaiting('prepared', standings, waiting)
      })
      return seats
    } catch (error) {
      throw await this.#withdraw(proposed, error)
    }
  }

  /** Nobody serves the model who could say whether it loads. */
  async #verifyHere(plan: RolloutPlan): Promise<void> {
    const { verify, hear, signal, model } = this.#options
    this.#note('No replica follows the plan now: the versions are loaded and verified here.')
    for (const version of versionsOf(plan)) {
      if (signal.aborted) return
      hear.waiting(`verifying version ${version}`)
      try {
        await verify(version)
      } catch (error) {
        const { code } = asSluiceError(error, 'session-failed')
        throw new SluiceError(
          'rollout-refused',
          `Version "${version}" of ${model} cannot serve on this machine (${code}): ${messageOf(error)}`,
          { cause: error },
        )
      }
    }
  }

  /** The second phase: the plan is live, whatever is thrown. */
  async #switched(live: RolloutState, plan: RolloutPlan): Promise<ChangeOutcome> {
    const { model, timeoutMs, clock, desk } = this.#options
    const { revision } = live
    const began = clock.now()
    const replicas = new Map<string, SwitchedReplica>()
    try {
      const seats = await this.#wait(timeoutMs, async seats => {
        // A later plan is live: whoever follows that has had this one, or never will.
        if ((desk.state?.revision ?? 0) > revision) throw superseded(model)
        const standings = this.#standings(seats, seat => arrival(seat, model, revision))
        for (const [{ group, report }, standing] of standings) {
          if (standing !== 'done' || replicas.has(report!.replica)) continue
          replicas.set(report!.replica, { group, place: report!.place, afterMs: Math.round(clock.now() - began) })
        }
        const waiting = unfinished(standings)
        return waiting.length === 0 ? 'done' : describeWaiting('switched', standings, waiting)
      })
      const pinned = seats.filter(({ report }) => report?.model === model && report.serving.pinned).map(placeOf)
      const tookMs = Math.max(0, ...[...replicas.values()].map(({ afterMs }) => afterMs))
      return { model, plan, revision, changed: true, tookMs, replicas: [...replicas.values()], pinned }
    } catch (error) {
      throw afterLive(error, `${planText(plan)} of ${model} is live as revision ${revision}`)
    }
  }

  /**
   * Looks at the seats after every piece of news, until `judge` says that all is done.
   * @throws SluiceError `rollout-timeout`, `rollout-stopped`, and whatever `judge` throws
   */
  async #wait(timeoutMs: number, judge: (seats: readonly Seat[]) => Promise<string>): Promise<readonly Seat[]> {
    const { desk, clock, signal, hear } = this.#options
    const deadline = clock.now() + timeoutMs
    let waitingFor = 'the brokers do not answer'
    for (;;) {
      if (signal.aborted) throw new SluiceError('rollout-stopped', 'The command was stopped.')
      const seats = await this.#seats()
      if (seats !== undefined) {
        waitingFor = await judge(seats)
        if (waitingFor === 'done') return seats
      }
      if (clock.now() >= deadline) {
        throw new SluiceError('rollout-timeout', `Not all is done after ${timeoutMs / 1000} s: ${waitingFor}.`)
      }
      if (waitingFor === 'look again') continue
      hear.waiting(waitingFor)
      await desk.news(Math.min(LOOK_EVERY_MS, deadline - clock.now()), signal)
    }
  }

  /** Undefined while brokers are away. */
  async #seats(): Promise<readonly Seat[] | undefined> {
    try {
      return await this.#options.desk.seats()
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'broker-unreachable') throw error
      this.#note(error.message)
      return undefined
    }
  }

  #standings(seats: readonly Seat[], judge: (seat: Seat) => Standing): Standings {
    const standings = seats.map(seat => [seat, judge(seat)] as const)
    for (const [seat, standing] of standings) {
      const { model, serving } = seat.report ?? {}
      const place = placeOf(seat)
      if (standing === 'pinned')
        this.#note(`${place} is pinned to version ${serving!.plan.stable}: it goes on with that.`)
      if (standing === 'other') this.#note(`${place} serves ${model}: it is not waited for.`)
    }
    return standings
  }

  /** What is thrown in the end: `error`, with what came of the proposal. */
  async #withdraw(proposed: RolloutState, error: unknown): Promise<unknown> {
    const { desk, clock } = this.#options
    if (!(error instanceof SluiceError) || error.code === 'rollout-superseded') return error
    const reason = error.message.replace(/[^.!?]$/, '$&.')
    try {
      await desk.write(withdrawn(proposed, clock.wallTime()))
    } catch (failure) {
      if (failure instanceof SluiceError && failure.code === 'rollout-superseded') return failure
      const left = `The proposal could not be withdrawn (${messageOf(failure)}); it is not live, and the next command replaces it.`
      return new SluiceError(error.code, `${reason} ${left}`, { cause: error })
    }
    return new SluiceError(error.code, `${reason} The proposal was withdrawn; what serves is unchanged.`, {
      cause: error,
    })
  }

  #note(text: string): void {
    if (this.#noted.has(text)) return
    this.#noted.add(text)
    this.#options.hear.note(text)
  }
}

type Standings = readonly (readonly [Seat, Standing])[]

function emptyState(model: string): RolloutState {
  return { model, revision: 0, live: undefined, proposed: undefined, former: [], at: 0 }
}

/** The version that all replicas have chosen by themselves, if they agree. */
function ownChoice(serving: readonly { plan: RolloutPlan; revision: number; pinned: boolean }[]): string | undefined {
  const chosen = serving.filter(({ revision, pinned }) => revision === 0 && !pinned)
  const [version, ...others] = new Set(chosen.map(({ plan }) => plan.stable))
  return others.length === 0 ? version : undefined
}

function unfinished(standings: Standings): Standings {
  return standings.filter(([, standing]) => standing === 'silent' || standing === 'pending')
}

function describeWaiting(done: string, standings: Standings, waiting: Standings): string {
  const followers = standings.filter(([, standing]) => standing !== 'pinned' && standing !== 'other')
  const places = [...new Set(waiting.map(([seat, standing]) => `${placeOf(seat)}${WHY[standing] ?? ''}`))]
  const named = places.slice(0, 3).join('; ')
  const more = places.length > 3 ? `; and ${places.length - 3} more` : ''
  return `${followers.length - waiting.length} of ${followers.length} members have ${done}; missing: ${named}${more}`
}

const WHY: Partial<Record<Standing, string>> = { silent: ', which has said nothing of this model' }

function refusedBy(seat: Seat, id: string): SluiceError {
  const { version, code, message } = preparedOf(seat, id)!.problem!
  return new SluiceError('rollout-refused', `${placeOf(seat)} cannot serve version "${version}" (${code}): ${message}`)
}

function superseded(model: string): SluiceError {
  return new SluiceError(
    'rollout-superseded',
    `Another command is changing the rollout of ${model}; this one has ended.`,
  )
}

/** An error of the second phase, with what is true in any case. */
function afterLive(error: unknown, what: string): unknown {
  if (!(error instanceof SluiceError)) return error
  return new SluiceError(error.code, `${what}, but it is not known that every replica has switched. ${error.message}`, {
    cause: error,
  })
}
