import type { CanaryPlan, PreparedProposal, Proposal, ReplicaReport, RolloutPlan, RolloutState } from './rollout.ts'

/**
 * The rollout topic's records: what is written, and what is believed of what was read. Anybody may have written to a
 * topic, and later releases will write more: a value that is not of this shape is refused as a whole, with the reason.
 */

/** Of the values: raised when a reader of this one would misunderstand them. */
const FORMAT = 1

/** A record as it lies in the topic. */
export interface KeyedRecord {
  readonly key: string
  readonly value: string
}

const STATE = 'model/'
const REPORT = 'replica/'

/** Equal states have equal values. */
export function stateRecord({ model, revision, live, proposed, former, at }: RolloutState): KeyedRecord {
  const fields = {
    format: FORMAT,
    model,
    revision,
    live: live && planFields(live),
    proposed: proposed && { id: proposed.id, plan: planFields(proposed.plan) },
    former,
    at,
  }
  return { key: `${STATE}${model}`, value: JSON.stringify(fields) }
}

/** In a fixed order. */
function planFields({ stable, canary, shadows }: RolloutPlan): RolloutPlan {
  return { stable, canary: canary && { version: canary.version, percent: canary.percent }, shadows }
}

export function reportRecord(report: ReplicaReport): KeyedRecord {
  return { key: reportKey(report.group, report.replica), value: JSON.stringify({ format: FORMAT, ...report }) }
}

/** The key under which a replica reports; without a value it has left. */
export function reportKey(group: string, replica: string): string {
  return `${REPORT}${group}/${replica}`
}

/** What a record says; a value is undefined where it is a tombstone. */
export type RolloutRecord =
  | { readonly kind: 'state'; readonly model: string; readonly state: RolloutState | undefined }
  | { readonly kind: 'report'; readonly key: string; readonly report: ReplicaReport | undefined }

/** Reads a record. Throws an Error that says what is wrong with it. */
export function parseRolloutRecord(key: string, value: string | null): RolloutRecord {
  const json = value === null ? undefined : parseValue(value)
  if (key.startsWith(STATE)) {
    const state = json && stateOf(json)
    if (state !== undefined && stateRecord(state).key !== key) throw new Error(`it is about model "${state.model}"`)
    return { kind: 'state', model: key.slice(STATE.length), state }
  }
  if (key.startsWith(REPORT)) {
    const report = json && reportOf(json)
    if (report !== undefined && reportRecord(report).key !== key) {
      throw new Error(`it is about replica "${report.replica}" of group "${report.group}"`)
    }
    return { kind: 'report', key, report }
  }
  throw new Error(`its key begins with neither ${STATE} nor ${REPORT}`)
}

type Fields = Readonly<Record<string, unknown>>

function parseValue(text: string): Fields {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error('its value is not JSON')
  }
  const fields = object(value, 'value')
  if (fields.format !== FORMAT) {
    throw new Error(`its format is ${JSON.stringify(fields.format)}, and this release reads format ${FORMAT}`)
  }
  return fields
}

function stateOf(fields: Fields): RolloutState {
  return {
    model: text(fields.model, 'model'),
    revision: count(fields.revision, 'revision'),
    live: optional(fields.live, 'live', planOf),
    proposed: optional(fields.proposed, 'proposed', proposalOf),
    former: list(fields.former, 'former'),
    at: number(fields.at, 'at'),
  }
}

function reportOf(fields: Fields): ReplicaReport {
  const serving = object(fields.serving, 'serving')
  return {
    group: text(fields.group, 'group'),
    replica: text(fields.replica, 'replica'),
    place: text(fields.place, 'place'),
    members: list(fields.members, 'members'),
    model: text(fields.model, 'model'),
    serving: {
      plan: planOf(serving.plan, 'serving.plan'),
      revision: count(serving.revision, 'serving.revision'),
      pinned: serving.pinned === true,
    },
    prepared: optional(fields.prepared, 'prepared', preparedOf),
    at: number(fields.at, 'at'),
  }
}

function planOf(value: unknown, what: string): RolloutPlan {
  const fields = object(value, what)
  const canary = optional(fields.canary, `${what}.canary`, canaryOf)
  const stable = text(fields.stable, `${what}.stable`)
  return { stable, ...(canary && { canary }), shadows: list(fields.shadows, `${what}.shadows`) }
}

function canaryOf(value: unknown, what: string): CanaryPlan {
  const fields = object(value, what)
  const percent = number(fields.percent, `${what}.percent`)
  if (!(percent > 0 && percent <= 100)) throw wrong(`${what}.percent`, percent, 'a number above 0, at most 100')
  return { version: text(fields.version, `${what}.version`), percent }
}

function proposalOf(value: unknown, what: string): Proposal {
  const fields = object(value, what)
  return { id: text(fields.id, `${what}.id`), plan: planOf(fields.plan, `${what}.plan`) }
}

function preparedOf(value: unknown, what: string): PreparedProposal {
  const fields = object(value, what)
  const problem = optional(fields.problem, `${what}.problem`, (problem, what) => {
    const { version, code, message } = object(problem, what)
    return {
      version: text(version, `${what}.version`),
      code: text(code, `${what}.code`),
      message: text(message, `${what}.message`),
    }
  })
  return { proposal: text(fields.proposal, `${what}.proposal`), problem }
}

/** JSON has no undefined: what is left out, or null, is not there. */
function optional<T>(value: unknown, what: string, read: (value: unknown, what: string) => T): T | undefined {
  return value === undefined || value === null ? undefined : read(value, what)
}

function object(value: unknown, what: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw wrong(what, value, 'an object')
}

function text(value: unknown, what: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw wrong(what, value, 'a text')
}

function number(value: unknown, what: string): number {
  if (typeof value === 'number') return value
  throw wrong(what, value, 'a number')
}

function count(value: unknown, what: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number
  throw wrong(what, value, 'a whole number from 0')
}

function list(value: unknown, what: string): string[] {
  if (Array.isArray(value) && value.every(each => typeof each === 'string' && each !== '')) return value as string[]
  throw wrong(what, value, 'a list of texts')
}

function wrong(what: string, value: unknown, expected: string): Error {
  return new Error(`its field ${what} is ${JSON.stringify(value)?.slice(0, 80) ?? 'missing'}, expected ${expected}`)
}
