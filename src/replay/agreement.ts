/** How predictions of one live version, and of one class of it where they have classes, fared. */
export interface Agreement {
  readonly version: string
  /** As the live version said; undefined for predictions without classes. */
  readonly class: string | undefined
  compared: number
  different: number
}

/** Counts, by live version and class, how often a replay differs from it. */
export class Agreements {
  readonly #counts = new Map<string, Agreement>()
  /** Predictions that were not compared. */
  missing = 0

  count(version: string, of: string | undefined, different: boolean): void {
    const key = JSON.stringify([version, of])
    let agreement = this.#counts.get(key)
    if (agreement === undefined) {
      agreement = { version, class: of, compared: 0, different: 0 }
      this.#counts.set(key, agreement)
    }
    agreement.compared++
    if (different) agreement.different++
  }

  /** By version, then by class. */
  get all(): Agreement[] {
    const order = new Intl.Collator('en', { numeric: true })
    return [...this.#counts.values()].sort(
      (a, b) => order.compare(a.version, b.version) || order.compare(a.class ?? '', b.class ?? ''),
    )
  }
}
