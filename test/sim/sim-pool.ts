import { FakePool, type FakePoolOptions, type FakeRun } from '../pipeline/fake-pool.ts'
import type { SimClock } from './sim-clock.ts'
import type { SimProcess } from './sim-process.ts'

export interface SimPoolOptions extends FakePoolOptions {
  readonly time: SimClock
  readonly process: SimProcess
  readonly random: () => number
  /** Whether the model refuses a row with this feature. */
  readonly poisonous: (feature: number) => boolean
}

/** Sessions that take some milliseconds for a run, in which others may overtake them. */
export class SimPool extends FakePool {
  readonly #options: SimPoolOptions
  readonly #underWay = new Set<FakeRun>()
  /** Runs that are yet to crash. */
  crashes = 0

  constructor(options: SimPoolOptions) {
    super(options)
    this.#options = options
  }

  override run(...run: Parameters<FakePool['run']>): ReturnType<FakePool['run']> {
    const outcome = super.run(...run)
    this.#start()
    return outcome
  }

  #start(): void {
    const { time, process, random } = this.#options
    for (const run of this.runs) {
      if (this.#underWay.has(run)) continue
      this.#underWay.add(run)
      time.after(0.5 + random() * random() * 30, () => process.post(() => this.#end(run)))
    }
  }

  #end(run: FakeRun): void {
    this.#underWay.delete(run)
    // A row that is alone and meets two crashes in a row is rightly called bad: not what is looked at here.
    const crashed = run.rows > 1 && this.crashes > 0
    if (crashed) this.crashes--
    if (crashed || run.features.some(this.#options.poisonous)) run.fail()
    else run.succeed()
    this.#start()
  }
}
