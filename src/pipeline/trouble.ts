import type { ErrorCode, SluiceError } from '../core/errors.ts'

/** What a partition task does over and over. */
type Step = 'start' | 'fetch' | 'decode' | 'commit'

/**
 * What keeps one partition from going on. It is over when the step that met it succeeds, and not before: a task whose
 * every transaction is refused starts over well each time, and must not look well each time.
 */
export class Trouble {
  readonly #onCondition: (error: SluiceError | undefined) => void
  #step: Step | undefined
  #code: ErrorCode | undefined

  /** @param onCondition hears of trouble as often as it is met, and undefined once when it is over */
  constructor(onCondition: (error: SluiceError | undefined) => void) {
    this.#onCondition = onCondition
  }

  /** @returns whether it is news, rather than the same again */
  met(step: Step, error: SluiceError): boolean {
    const news = this.#step !== step || this.#code !== error.code
    this.#step = step
    this.#code = error.code
    this.#onCondition(error)
    return news
  }

  /** Whether something is not over yet. */
  get lasts(): boolean {
    return this.#step !== undefined
  }

  /** Says that these steps have succeeded. */
  passed(...steps: readonly Step[]): void {
    if (this.#step === undefined || !steps.includes(this.#step)) return
    this.#step = undefined
    this.#onCondition(undefined)
  }
}
