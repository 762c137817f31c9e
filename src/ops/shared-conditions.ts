import type { SluiceError } from '../core/errors.ts'
import type { Health } from './health.ts'

/**
 * Conditions of several threads as those of one worker: a condition begins with the first thread that has it and ends with
 * the last, so that a night without a broker still costs two lines. Whose it is does not matter to people; what is shown is
 * what the thread says that has it longest.
 */
export class SharedConditions {
  readonly #health: Health
  /** By key, the errors of the threads that have it, in the order in which they began. */
  readonly #holders = new Map<string, Map<number, SluiceError>>()

  constructor(health: Health) {
    this.#health = health
  }

  set(thread: number, key: string, error: SluiceError): void {
    const holders = this.#holders.get(key) ?? new Map<number, SluiceError>()
    this.#holders.set(key, holders)
    holders.set(thread, error)
    this.#show(key, holders)
  }

  /** Harmless where the thread has set nothing. */
  clear(thread: number, key: string): void {
    const holders = this.#holders.get(key)
    if (!holders?.delete(thread)) return
    if (holders.size > 0) this.#show(key, holders)
    else {
      this.#holders.delete(key)
      this.#health.clear(key)
    }
  }

  #show(key: string, holders: ReadonlyMap<number, SluiceError>): void {
    const [first] = holders.values()
    this.#health.set(key, first!)
  }
}
