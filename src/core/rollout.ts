/** Which versions of a model are to answer: what an operator decides, and every replica follows. */
export interface RolloutPlan {
  /** Answers every record that no canary takes. */
  readonly stable: string
  /** Answers the records of `percent` of all keys instead, always the same keys (see `takesCanary`). */
  readonly canary?: CanaryPlan | undefined
  /** Predict every record too; their predictions go to a topic of their own. */
  readonly shadows: readonly string[]
}

export interface CanaryPlan {
  readonly version: string
  /** Above 0, at most 100. */
  readonly percent: number
}

/** A plan that replicas are to prepare: every version of it loaded, verified and warm, none of it answering yet. */
export interface Proposal {
  /** Names it in what the replicas report. */
  readonly id: string
  readonly plan: RolloutPlan
}

/** What the rollout topic says of one model. */
export interface RolloutState {
  readonly model: string
  /** Counts the plans that have become live, from 1. */
  readonly revision: number
  /** Undefined before the first plan has become live. */
  readonly live: RolloutPlan | undefined
  /** At most one at a time. */
  readonly proposed: Proposal | undefined
  /** Stable versions before the live one, the latest first, each once in a row. */
  readonly former: readonly string[]
  /** When it was written, in ms since the epoch. */
  readonly at: number
}

/** What a replica says of the rollout of its model. */
export interface ReplicaReport {
  readonly group: string
  /** Unique among all replicas. */
  readonly replica: string
  /** Where it runs, for people: `host:pid`. */
  readonly place: string
  /** The ids under which it is a member of the group, one for each I/O thread. */
  readonly members: readonly string[]
  readonly model: string
  /** The plan that answers there: a revision, 0 where the replica chose the version itself, or a version that it is pinned to. */
  readonly serving: { readonly plan: RolloutPlan; readonly revision: number; readonly pinned: boolean }
  /** What became of the proposal that it heard of last; undefined while it prepares, and before the first. */
  readonly prepared: PreparedProposal | undefined
  /** In ms since the epoch. */
  readonly at: number
}

/** A proposal that is ready to become live on a replica, or why it cannot. */
export interface PreparedProposal {
  readonly proposal: string
  /** Undefined where all went well. */
  readonly problem: { readonly version: string; readonly code: string; readonly message: string } | undefined
}

/** Every version that a plan names, each once. */
export function versionsOf({ stable, canary, shadows }: RolloutPlan): string[] {
  return [...new Set([stable, ...(canary === undefined ? [] : [canary.version]), ...shadows])]
}

/** Whether records are answered by a version, rather than shadowed at most. */
export function answers({ stable, canary }: RolloutPlan, version: string): boolean {
  return version === stable || version === canary?.version
}

/**
 * Whether a record's key belongs to the `percent` that a canary answers. The same for every record of a key, on every
 * replica and in every replay; a key that a canary of 5 percent takes one of 20 percent takes, too.
 * @param hash of the key's bytes, murmur2; of a record without a key, of its place (`hashOfPlace`)
 */
export function takesCanary(hash: number, percent: number): boolean {
  // Partitions were chosen by the same hash, so its low bits are alike within one: mixed anew.
  return mix(hash) < percent * (2 ** 32 / 100)
}

/** Stands in for the hash of a key where a record has none: its place in the input topic never changes. */
export function hashOfPlace(partition: number, offset: number): number {
  return mix(Math.imul(partition + 1, 0x9e3779b1) ^ mix(offset % 2 ** 32) ^ Math.floor(offset / 2 ** 32))
}

/** The finaliser of MurmurHash3 (Appleby, 2011): every bit of the input changes every bit of the output in half of all cases. */
function mix(hash: number): number {
  let mixed = hash ^ (hash >>> 16)
  mixed = Math.imul(mixed, 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
