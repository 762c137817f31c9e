import type { PreparedProposal, ReplicaReport } from './rollout.ts'

/** A member of a group that serves the model, and what the replica that it belongs to has said last. */
export interface Seat {
  readonly group: string
  readonly memberId: string
  readonly clientId: string
  readonly host: string
  /** Undefined until a replica has said that it is this member. */
  readonly report: ReplicaReport | undefined
}

interface Member {
  readonly memberId: string
  readonly clientId: string
  readonly host: string
}

/** Groups that serve a model: the one that is asked about, and those in which a replica says so. */
export function groupsOf(model: string, groupId: string, reports: readonly ReplicaReport[]): string[] {
  return [...new Set([groupId, ...reports.filter(report => report.model === model).map(({ group }) => group)])]
}

/**
 * Every member of the groups, with its report. Members are who counts: a report without one is of a replica that has died, or
 * has not joined yet, and gets the plan when it does.
 */
export function seatsOf(
  members: ReadonlyMap<string, readonly Member[]>,
  reports: readonly ReplicaReport[],
): readonly Seat[] {
  return [...members].flatMap(([group, ofGroup]) => {
    const own = reports.filter(report => report.group === group).sort((a, b) => b.at - a.at)
    return ofGroup.map(member => ({
      group,
      ...member,
      report: own.find(report => report.members.includes(member.memberId)),
    }))
  })
}

/** Where a seat stands in a rollout. */
export type Standing =
  /** No replica has said that it is this member. */
  | 'silent'
  /** Serves another model. */
  | 'other'
  /** Serves the version that its own settings name, whatever the plan says. */
  | 'pinned'
  /** Has not said yet that it has done what is asked for. */
  | 'pending'
  | 'done'
  /** Cannot do it. */
  | 'failed'

/** Whether a seat has prepared a proposal. */
export function preparation(seat: Seat, model: string, proposal: string): Standing {
  const prepared = preparedOf(seat, proposal)
  return standingOf(seat, model, prepared !== undefined && (prepared.problem === undefined ? 'done' : 'failed'))
}

/** Whether a seat serves a revision, or a later one. */
export function arrival(seat: Seat, model: string, revision: number): Standing {
  const there = seat.report !== undefined && seat.report.serving.revision >= revision
  return standingOf(seat, model, there && 'done')
}

/** What a seat says of a proposal, if it is the last it has heard of. */
export function preparedOf({ report }: Seat, proposal: string): PreparedProposal | undefined {
  return report?.prepared?.proposal === proposal ? report.prepared : undefined
}

function standingOf({ report }: Seat, model: string, said: Standing | false): Standing {
  if (report === undefined) return 'silent'
  if (report.model !== model) return 'other'
  if (report.serving.pinned) return 'pinned'
  return said === false ? 'pending' : said
}

/** A seat for people: where the replica is, as far as is known. */
export function placeOf({ group, memberId, clientId, host, report }: Seat): string {
  if (report !== undefined) return `${report.place} (group ${group})`
  return `member ${memberId} of group ${group}, client ${clientId} at ${host}`
}
