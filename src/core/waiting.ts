import type { Clock } from './clock.ts'

/** Waits for `work`, but no longer than `limitMs`. Returns whether it was done in time; throws what it throws until then. */
export async function within(clock: Clock, limitMs: number, work: Promise<unknown>): Promise<boolean> {
  const cut = new AbortController()
  const late = clock.sleep(limitMs, cut.signal).then(() => false)
  const inTime = await Promise.race([late, work.then(() => true)])
  cut.abort()
  return inTime
}

/** Resolves when `signal` is aborted, at once if it is already. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
