/**
 * Who may take a session, the tasks of the stream or the requests of the API: pure functions of one number.
 *
 * `credit` is how many milliseconds of session time the guests (requests) may use while tasks wait. What the tasks use earns
 * them share/(1 − share) of it, so that of all time that both want the guests get `share`. Nothing is saved up while no
 * guest waits, and what guests use while no task waits costs nothing: idle sessions are free for all.
 */

/** Debt and credit end here, so that one slow run does not settle what happens for minutes. */
const MOST_MS = 10_000

/** Whether a guest goes before a task that waits. One run is enough to end it, and it may be a little too long. */
export function guestGoesFirst(credit: number, share: number): boolean {
  return share > 0 && credit >= 0
}

/** After tasks have used a session for `ms`. */
export function afterTaskRun(credit: number, ms: number, share: number, guestsWait: boolean): number {
  const earned = credit + (ms * share) / (1 - share)
  return Math.min(earned, guestsWait ? MOST_MS : 0)
}

/** After guests have used a session for `ms` that tasks would have wanted. */
export function afterGuestRun(credit: number, ms: number): number {
  return Math.max(-MOST_MS, credit - ms)
}
