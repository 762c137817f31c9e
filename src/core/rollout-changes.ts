import { SluiceError } from './errors.ts'
import type { Proposal, RolloutPlan, RolloutState } from './rollout.ts'

/** What an operator asks for. */
export type RolloutChange =
  /** The version answers everything that no canary takes; it is no canary or shadow any more. */
  | { readonly kind: 'promote'; readonly version: string }
  /** The version answers `percent` of all keys, in place of another canary if there is one; it is no shadow any more. */
  | { readonly kind: 'canary'; readonly version: string; readonly percent: number }
  /** No canary any more. */
  | { readonly kind: 'canary-off'; readonly version?: string | undefined }
  /** The version predicts every record besides. */
  | { readonly kind: 'shadow'; readonly version: string }
  | { readonly kind: 'shadow-off'; readonly version: string }
  /** The stable version before the live one, or an earlier one, answers again; there is no canary any more. */
  | { readonly kind: 'rollback'; readonly to?: string | undefined }

/** Stable versions that are remembered besides the live one. */
export const MOST_FORMER = 20

/**
 * The plan after a change. In every plan a version has one role: stable, canary or shadow.
 * @throws SluiceError `rollout-invalid` where the change makes no sense after what is live
 */
export function planAfter(state: RolloutState | undefined, change: RolloutChange): RolloutPlan {
  const live = state?.live
  if (change.kind === 'promote') return promoted(live, change.version)
  if (live === undefined) {
    throw invalid(
      'no version has been promoted yet: the workers choose by themselves. Promote the one that is to be stable',
    )
  }
  switch (change.kind) {
    case 'canary':
      return withCanary(live, change.version, change.percent)
    case 'canary-off':
      return withoutCanary(live, change.version)
    case 'shadow':
      return withShadow(live, change.version)
    case 'shadow-off':
      return withoutShadow(live, change.version)
    case 'rollback':
      return promoted({ ...live, canary: undefined }, earlier(state!.former, live, change.to))
  }
}

/** The state with a proposal in place of the one that may have been left there. */
export function withProposal(state: RolloutState, proposal: Proposal, at: number): RolloutState {
  return { ...state, proposed: proposal, at }
}

/** The state without a proposal; what is live stays. */
export function withdrawn(state: RolloutState, at: number): RolloutState {
  return { ...state, proposed: undefined, at }
}

/**
 * The state once a plan is live.
 *
 * A rollback goes back in history and forgets what it left: the next one goes further back, and not to the version that
 * somebody has just got away from.
 * @param revision above the one of `state`
 * @param before what the replicas served by their own choice, where no plan was live before
 */
export function withLive(
  state: RolloutState,
  plan: RolloutPlan,
  change: RolloutChange,
  { revision, before, at }: { readonly revision: number; readonly before?: string | undefined; readonly at: number },
): RolloutState {
  const { model, live, former } = state
  const left = live?.stable ?? before
  const back = change.kind === 'rollback' ? former.indexOf(plan.stable) : -1
  const history = back >= 0 ? former.slice(back + 1) : left === undefined ? former : [left, ...former]
  return { model, revision, live: plan, proposed: undefined, former: distinct(plan.stable, history), at }
}

/** Whether two plans have the same versions in the same roles. */
export function samePlan(a: RolloutPlan, b: RolloutPlan): boolean {
  return (
    a.stable === b.stable &&
    a.canary?.version === b.canary?.version &&
    a.canary?.percent === b.canary?.percent &&
    a.shadows.length === b.shadows.length &&
    a.shadows.every(version => b.shadows.includes(version))
  )
}

/** A plan for people: `version 3, canary 4 for 5 % of the keys, shadow 5`. */
export function planText({ stable, canary, shadows }: RolloutPlan): string {
  const parts = [`version ${stable}`]
  if (canary !== undefined) parts.push(`canary ${canary.version} for ${canary.percent} % of the keys`)
  if (shadows.length > 0) parts.push(`${shadows.length === 1 ? 'shadow' : 'shadows'} ${shadows.join(', ')}`)
  return parts.join(', ')
}

function promoted(live: RolloutPlan | undefined, version: string): RolloutPlan {
  const canary = live?.canary?.version === version ? undefined : live?.canary
  return planOf(
    version,
    canary,
    (live?.shadows ?? []).filter(shadow => shadow !== version),
  )
}

function withCanary({ stable, shadows }: RolloutPlan, version: string, percent: number): RolloutPlan {
  if (!(percent > 0 && percent <= 100)) {
    throw new SluiceError('invalid-config', `--percent is ${percent}; a number above 0 and up to 100 is allowed`)
  }
  if (version === stable) throw invalid(`version "${version}" is the stable one: it answers all keys already`)
  return planOf(
    stable,
    { version, percent },
    shadows.filter(shadow => shadow !== version),
  )
}

function withoutCanary({ stable, canary, shadows }: RolloutPlan, version: string | undefined): RolloutPlan {
  if (canary === undefined) throw invalid('there is no canary')
  if (version !== undefined && version !== canary.version) {
    throw invalid(`the canary is version "${canary.version}", not "${version}"`)
  }
  return planOf(stable, undefined, shadows)
}

function withShadow({ stable, canary, shadows }: RolloutPlan, version: string): RolloutPlan {
  if (version === stable)
    throw invalid(`version "${version}" is the stable one: as a shadow it would say the same again`)
  if (version === canary?.version) throw invalid(`version "${version}" is the canary: end that first`)
  return planOf(stable, canary, [...new Set([...shadows, version])])
}

function withoutShadow({ stable, canary, shadows }: RolloutPlan, version: string): RolloutPlan {
  if (!shadows.includes(version)) {
    const there = shadows.length === 0 ? 'there is none' : `there is ${shadows.join(', ')}`
    throw invalid(`version "${version}" is no shadow; ${there}`)
  }
  return planOf(
    stable,
    canary,
    shadows.filter(shadow => shadow !== version),
  )
}

function earlier(former: readonly string[], { stable }: RolloutPlan, to: string | undefined): string {
  const found = to ?? former[0]
  if (found === undefined) throw invalid(`version "${stable}" is the first stable one: there is nothing to go back to`)
  if (former.includes(found)) return found
  const known = former.length === 0 ? 'there is none' : `there were ${former.join(', ')} (the latest first)`
  throw invalid(`version "${found}" was not stable before "${stable}"; ${known}. Promote it instead`)
}

function planOf(stable: string, canary: RolloutPlan['canary'], shadows: readonly string[]): RolloutPlan {
  return canary === undefined ? { stable, shadows } : { stable, canary, shadows }
}

/** No version twice in a row, nor the one that is live at the front. */
function distinct(stable: string, history: readonly string[]): string[] {
  return history.filter((version, i) => version !== (history[i - 1] ?? stable)).slice(0, MOST_FORMER)
}

function invalid(why: string): SluiceError {
  return new SluiceError('rollout-invalid', `The plan does not change: ${why}.`)
}
