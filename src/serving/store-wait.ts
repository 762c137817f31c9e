import { Backoff } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { HealthReporter } from '../ops/health.ts'

const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 5_000

const CONDITION = 'model-store'

interface WaitTools {
  readonly health: HealthReporter
  readonly clock: Clock
}

/**
 * Does what needs the model store, again while that is away, as health then says; undefined when `signal` came first.
 * Throws whatever else `work` throws.
 */
export async function whenStoreAnswers<T>(
  work: () => Promise<T>,
  { health, clock }: WaitTools,
  signal: AbortSignal,
): Promise<T | undefined> {
  const backoff = new Backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS)
  while (!signal.aborted) {
    try {
      const done = await work()
      health.clear(CONDITION)
      return done
    } catch (error) {
      if (!(error instanceof SluiceError && error.code === 'store-unreachable')) throw error
      health.set(CONDITION, error)
    }
    await clock.sleep(backoff.next(), signal)
  }
  return undefined
}
