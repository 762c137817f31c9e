import { asSluiceError, type ErrorCode, type RecordFault, SluiceError } from '../core/errors.ts'
import {
  type HungThreads,
  type Reservation,
  RunError,
  type RunTimings,
  type SessionChoice,
  tooManyHang,
} from '../core/inference.ts'

/** What isolation needs of the sessions. */
export interface IsolationPort {
  /** Runs rows [first, first + rows) of one batch. */
  run(first: number, rows: number, choice?: SessionChoice): Promise<RunTimings>
  /** Runs a row that is known to be good on this very session; rejects when it fails on it, too. */
  probe(session: number, by?: Reservation): Promise<void>
  /** Keeps a session for these rows alone. */
  reserve(choice?: SessionChoice): Promise<Reservation>
  /** The session fails on a good row: it is to be replaced. */
  distrust(session: number, reason: string): void
  /** Of the whole process, as of now. */
  hung(): HungThreads
}

export interface IsolatedRun {
  /**
   * Of the first run that succeeded, with the computing time of all, and the providers of all where they differ
   * (`cuda:0,cpu`); undefined when every row is bad.
   */
  readonly timings: RunTimings | undefined
  /** The bad rows; undefined when there are none. */
  readonly faults: Map<number, RecordFault> | undefined
}

/**
 * Runs a batch, so that a bad row never takes its neighbours with it and a bad session never takes good rows for bad. The
 * good rows' outputs are in the slot afterwards.
 *
 * - A batch that the runtime refuses is run once more, on another session where there is one, and then halved until the
 *   bad rows stand alone: about 2·b·log2(rows) runs for b bad rows.
 * - A batch that costs a thread, because it dies or hangs, is cut into 32 pieces at once. A run more costs little there, a
 *   thread more costs a restart or a time-out: a killing row among up to 1,024 costs four threads (the batch, a piece, the
 *   row twice), and another one in another piece three. For one that hangs it is one less, see below.
 * - A row is bad when it has failed alone twice, on two sessions where there are two, and the second time right after that
 *   session has run a row that is known to be good, with nobody else's rows between. (That matters: a row of another batch
 *   may make a session sick, and whoever comes next is refused.)
 * - Once a run has hung, every run is such a trial, right after a good row, and a row that hangs in one need hang only once.
 * - A session that refuses what another one takes has to run the good row; if it fails on that, it is distrusted.
 *
 * **Too many that hang.** A thread that hangs cannot be ended, and a process bears only so many. If a batch were given
 * back for that, the next process would meet the same rows and end in the same way, for ever. So a batch whose isolation
 * has begun is settled with the threads that there are:
 *
 * - First every piece runs once, and only then are those that hung cut further, one after the other. b hanging rows cost
 *   at most 1 + 2·b threads, and are found if one more may hang.
 * - While pieces wait and only one thread is to spare, all the rest is one piece.
 * - A group that hung and cannot be cut for want of threads is bad as a whole, and the message says so. All of its rows
 *   have hung together right after a good row; a row that was in no such run is never called bad.
 * - A batch that hangs where there is nothing to spare from the beginning is given back: other batches have used
 *   the threads up, and they are settled, so the next process is further on.
 *
 * @throws SluiceError when a session fails on the good row, or none can be had: the system is at fault, not a row;
 *   `sessions-hung` when the batch hangs and no thread is left to find out why
 */
export async function runIsolated(port: IsolationPort, rows: number): Promise<IsolatedRun> {
  const isolation = new Isolation(port)
  await isolation.run(rows)
  const { timings, faults } = isolation
  return { timings, faults: faults.size === 0 ? undefined : faults }
}

const PIECES = 32

/** Rows that hang in one run. */
interface HungGroup {
  readonly first: number
  readonly count: number
  readonly failure: RunError
}

class Isolation {
  readonly faults = new Map<number, RecordFault>()
  timings: RunTimings | undefined
  readonly #port: IsolationPort
  /** Have hung right after a good row. */
  readonly #groups: HungGroup[] = []
  /** Whether any run of this batch has hung. */
  #hangs = false

  constructor(port: IsolationPort) {
    this.#port = port
  }

  async run(rows: number): Promise<void> {
    await this.#isolate(0, rows)
    for (let group = this.#groups.shift(); group !== undefined; group = this.#groups.shift()) {
      const { first, count, failure } = group
      if (count > 1 && this.#spare > 1) await this.#divide(first, count, failure)
      else this.#blame(group)
    }
  }

  /** How many more threads may hang. */
  get #spare(): number {
    const { count, most } = this.#port.hung()
    return most - count
  }

  /** @param company how the last run failed that had these rows among others */
  async #isolate(first: number, count: number, company?: RunError): Promise<void> {
    const afterGood = this.#hangs
    const failure = afterGood ? await this.#try(first, count) : await this.#attempt(first, count)
    if (failure === undefined) return
    if (failure.code === 'session-hung') {
      if (afterGood) this.#groups.push({ first, count, failure })
      else await this.#beginHunt(first, count, failure)
      return
    }
    if (count === 1) return this.#judge(first, failure)
    if (company === undefined && failure.code === 'inference-failed') {
      const again = await this.#attempt(first, count, { not: failure.session })
      if (again === undefined) return this.#overturn(failure)
    }
    await this.#divide(first, count, failure)
  }

  /** The first run of this batch that hangs. */
  async #beginHunt(first: number, count: number, failure: RunError): Promise<void> {
    if (this.#spare < 2) throw tooManyHang(this.#port.hung())
    if (count === 1) await this.#isolate(first, 1, failure)
    else await this.#divide(first, count, failure)
  }

  async #divide(first: number, count: number, failure: RunError): Promise<void> {
    const size = Math.ceil(count / (failure.code === 'inference-failed' ? 2 : PIECES))
    const end = first + count
    for (let at = first; at < end; ) {
      const scarce = this.#hangs && at > first && this.#spare <= 1
      const next = scarce ? end : Math.min(at + size, end)
      await this.#isolate(at, next - at, failure)
      at = next
    }
  }

  #blame({ first, count, failure }: HungGroup): void {
    const { code, what } = VERDICTS['session-hung']
    const others = count - 1
    const which =
      count === 1
        ? `this row: ${failure.message}`
        : `this row or ${others === 1 ? 'the one' : `one of the ${others}`} that ran with it: ${failure.message}. ` +
          `Which one was not found out, because ${this.#port.hung().count} session threads hang already`
    for (let row = first; row < first + count; row++) this.faults.set(row, { code, message: `${what} ${which}` })
  }

  /** How a session failed these rows, or undefined when it did not. */
  async #attempt(first: number, count: number, choice?: SessionChoice): Promise<RunError | undefined> {
    try {
      this.#add(await this.#port.run(first, count, choice))
      return undefined
    } catch (error) {
      if (!(error instanceof RunError)) throw asSluiceError(error, 'session-crashed')
      if (error.code === 'session-hung') this.#hangs = true
      return error
    }
  }

  #add(done: RunTimings): void {
    const { timings } = this
    if (timings === undefined) this.timings = done
    else {
      const known = timings.provider.split(',').includes(done.provider)
      const provider = known ? timings.provider : `${timings.provider},${done.provider}`
      this.timings = { ...timings, provider, computeMs: timings.computeMs + done.computeMs }
    }
  }

  /** Another session took the rows that one refused. A session whose thread was lost has a new one by now. */
  async #overturn(refusal: RunError): Promise<void> {
    if (refusal.code === 'inference-failed') await this.#examine(refusal.session)
  }

  /**
   * Has the session run the good row, and replaces it if it fails.
   * @returns why it is not to be trusted, undefined when it is
   * @throws SluiceError when it did not take the row at all, which says nothing of it
   */
  async #examine(session: number, by?: Reservation): Promise<string | undefined> {
    try {
      await this.#port.probe(session, by)
      return undefined
    } catch (error) {
      if (!(error instanceof RunError)) throw asSluiceError(error, 'session-crashed')
      const reason = `it fails on a row that is known to be good: ${error.message}`
      // The thread of one that died or hangs is being replaced already.
      if (error.code === 'inference-failed') this.#port.distrust(session, reason)
      return reason
    }
  }

  /** Runs rows on a session that has shown right before that it is well. */
  async #try(first: number, count: number, choice?: SessionChoice): Promise<RunError | undefined> {
    const by = await this.#port.reserve(choice)
    try {
      await this.#requireGood(by)
      const failure = await this.#attempt(first, count, { only: by.session, by })
      // It may be these rows that made the session sick: nobody else shall meet it so.
      if (failure?.code === 'inference-failed') await this.#examine(by.session, by)
      return failure
    } finally {
      by.release()
    }
  }

  /** @param before how the row failed alone */
  async #judge(row: number, before: RunError): Promise<void> {
    const failure = await this.#try(row, 1, { not: before.session })
    if (failure === undefined) return this.#overturn(before)
    const { code, what } = VERDICTS[failure.code]
    this.faults.set(row, { code, message: `${what} this row: ${failure.message}` })
  }

  /** A session that is found sick gets one new thread here, and that one must be well. */
  async #requireGood(by: Reservation): Promise<void> {
    const { session } = by
    if ((await this.#examine(session, by)) === undefined) return
    if (this.#spare <= 0) throw tooManyHang(this.#port.hung())
    const sick = await this.#examine(session, by)
    if (sick !== undefined) throw new SluiceError('session-crashed', `Session ${session} is not to be trusted: ${sick}`)
  }
}

const VERDICTS: Record<RunError['code'], { readonly code: ErrorCode; readonly what: string }> = {
  'inference-failed': { code: 'inference-failed', what: 'The model fails on' },
  'session-crashed': { code: 'inference-crashed', what: 'The session thread dies on' },
  'session-hung': { code: 'inference-hung', what: 'The model does not return from' },
}
