import type { Clock } from '../core/clock.ts'
import type { MicroBatch } from './micro-batch.ts'

/** Something with records to decode: a partition task. */
export interface RowSource {
  /**
   * Decodes its next records into rows of `batch`, until the batch is full or it has no more for now.
   * @returns whether more records wait; a source that says no offers itself again when it has some
   */
  pack(batch: MicroBatch): boolean
  /** Records that wait undecoded, in the worker or in the log. Asked only where there is a target for the latency. */
  readonly backlog: number
}

/** The sources of a batcher. Those with records take turns, a batch each, so that none starves the others. */
export class RowSources {
  readonly #clock: Clock
  readonly #turns: RowSource[] = []
  /** All that have offered anything and were not withdrawn. */
  readonly #known = new Set<RowSource>()
  /** When the first of the records that wait was offered, or earlier; undefined when none waits. */
  #since: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether any has records. */
  get waiting(): boolean {
    return this.#turns.length > 0
  }

  get backlog(): number {
    let records = 0
    for (const source of this.#known) records += source.backlog
    return records
  }

  /** The source has records. Harmless when it said so before. */
  offer(source: RowSource): void {
    if (!this.#turns.includes(source)) this.#turns.push(source)
    this.#known.add(source)
    this.#since ??= this.#clock.now()
  }

  withdraw(source: RowSource): void {
    const at = this.#turns.indexOf(source)
    if (at >= 0) this.#turns.splice(at, 1)
    this.#known.delete(source)
  }

  /** Has the next in turn pack into `batch`. Call it while any is waiting. */
  pack(batch: MicroBatch): void {
    const source = this.#turns.shift()!
    const startedAt = this.#clock.now()
    if (batch.rows === 0) {
      batch.openedAt = startedAt
      batch.arrivedAt = this.#since ?? startedAt
    }
    if (source.pack(batch)) this.#turns.push(source)
    else if (this.#turns.length === 0) this.#since = undefined
    batch.inputMs += this.#clock.now() - startedAt
  }
}
