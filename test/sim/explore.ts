import fc from 'fast-check'
import { KNOWN } from './known-schedules.ts'
import { BreachError } from './oracle.ts'
import { describe, type Schedule, schedules } from './schedule.ts'
import { play } from './world.ts'

export interface Exploration {
  readonly seed: number
  /** How many schedules to play. */
  readonly schedules: number
  /** Whether those that once failed come first. */
  readonly known: boolean
  /** Whether to look for the shortest schedule that fails, rather than to stop at the first. */
  readonly shrink: boolean
}

/** A schedule that breaks the promise. */
export interface Finding {
  /** What is broken, or the name of an error that is none of the oracle's. */
  readonly breach: string
  readonly error: Error
  readonly schedule: Schedule
  /** Schedules played before it, this one included. */
  readonly after: number
  readonly seed: number
}

/** Plays schedules until one fails. Undefined when none does. The same seed plays the same schedules. */
export async function explore(exploration: Exploration): Promise<Finding | undefined> {
  const { seed, schedules: numRuns, known, shrink } = exploration
  const examples = known ? KNOWN.map(({ schedule }): [Schedule] => [schedule]) : []
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0 // a schedule throws hundreds of errors that nobody reads; `tell` plays it again
  const details = await fc.check(
    fc.asyncProperty(schedules, schedule => play(schedule)),
    { seed, numRuns, examples, endOnFailure: !shrink },
  )
  Error.stackTraceLimit = stackTraceLimit
  if (!details.failed) return undefined
  const error = details.errorInstance as Error
  return {
    breach: error instanceof BreachError ? error.breach : error.name,
    error,
    schedule: details.counterexample![0],
    after: details.numRuns,
    seed,
  }
}

/** How much of what happened is told; the end is what matters. */
const TOLD_EVENTS = 150

/** What went wrong, for people: the schedule, what happened in it, and how to see it again. */
export async function tell({ error, schedule, seed, after }: Finding): Promise<string> {
  const events: string[] = []
  const again = await play(schedule, event => events.push(event)).catch((other: Error) => other)
  const same = again?.message === error.message
  return [
    (same ? again : error).stack,
    `Schedule ${after} of FC_SEED=${seed}, made shorter where that was asked for:`,
    describe(schedule),
    `As data: ${JSON.stringify(schedule)}`,
    same ? 'What happened:' : `Played again it ends otherwise (${again?.message ?? 'well'}):`,
    ...(events.length > TOLD_EVENTS ? [`  … ${events.length - TOLD_EVENTS} events before`] : []),
    ...events.slice(-TOLD_EVENTS),
  ].join('\n')
}
