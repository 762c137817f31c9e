import { FencedError } from '../core/transaction.ts'
import { isFenced, protocolType } from './protocol-errors.ts'

/**
 * Waits for every request, also when one fails: none of an epoch may still be under way when the next begins, and none
 * may still read a batch that is reused. Of several failures a fence is the one that is thrown.
 */
export async function allOf<T>(requests: readonly Promise<T>[]): Promise<T[]> {
  const answers: T[] = []
  const failures: unknown[] = []
  for (const outcome of await Promise.allSettled(requests)) {
    if (outcome.status === 'fulfilled') answers.push(outcome.value)
    else failures.push(outcome.reason)
  }
  if (failures.length === 0) return answers
  throw failures.find(reason => reason instanceof FencedError || isFenced(protocolType(reason))) ?? failures[0]
}
