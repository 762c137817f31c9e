import { asSluiceError, type ErrorCode, messageOf, type RecordFault, SluiceError } from '../core/errors.ts'
import { type Reservation, RunError, type RunTimings, type SessionChoice } from '../core/inference.ts'

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
 *   may make a session sick, and whoever comes next is refused.) One that hangs after its batch has hung need hang only once.
 * - A session that refuses what another one takes has to run the good row; if it fails on that, it is distrusted.
 *
 * @throws SluiceError when a session fails on the good row, or none can be had: the system is at fault, not a row
 */
export async function runIsolated(port: IsolationPort, rows: number): Promise<IsolatedRun> {
  const isolation = new Isolation(port)
  await isolation.isolate(0, rows)
  const { timings, faults } = isolation
  return { timings, faults: faults.size === 0 ? undefined : faults }
}

const PIECES = 32

class Isolation {
  readonly faults = new Map<number, RecordFault>()
  timings: RunTimings | undefined
  readonly #port: IsolationPort

  constructor(port: IsolationPort) {
    this.#port = port
  }

  /** @param company how the last run failed that had these rows among others */
  async isolate(first: number, count: number, company?: RunError): Promise<void> {
    if (count === 1 && company?.code === 'session-hung') return this.#judge(first)
    const failure = await this.#attempt(first, count)
    if (failure === undefined) return
    if (count === 1) return this.#judge(first, failure)
    if (company === undefined && failure.code === 'inference-failed') {
      const again = await this.#attempt(first, count, { not: failure.session })
      if (again === undefined) return this.#overturn(failure)
    }
    const size = Math.ceil(count / (failure.code === 'inference-failed' ? 2 : PIECES))
    const end = first + count
    for (let at = first; at < end; at += size) await this.isolate(at, Math.min(size, end - at), failure)
  }

  /** How a session failed these rows, or undefined when it did not. */
  async #attempt(first: number, count: number, choice?: SessionChoice): Promise<RunError | undefined> {
    try {
      this.#add(await this.#port.run(first, count, choice))
      return undefined
    } catch (error) {
      if (error instanceof RunError) return error
      throw asSluiceError(error, 'session-crashed')
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
   */
  async #examine(session: number, by?: Reservation): Promise<string | undefined> {
    try {
      await this.#port.probe(session, by)
      return undefined
    } catch (error) {
      const reason = `it fails on a row that is known to be good: ${messageOf(error)}`
      this.#port.distrust(session, reason)
      return reason
    }
  }

  /**
   * Runs a row alone on a session that has shown right before that it is well.
   * @param before how it failed alone before; left out where it is enough that its batch has hung
   */
  async #judge(row: number, before?: RunError): Promise<void> {
    const by = await this.#port.reserve(before && { not: before.session })
    let failure: RunError | undefined
    try {
      await this.#requireGood(by)
      failure = await this.#attempt(row, 1, { only: by.session, by })
      // It may be the row that made the session sick: nobody else shall meet it so.
      if (failure?.code === 'inference-failed') await this.#examine(by.session, by)
    } finally {
      by.release()
    }
    if (failure === undefined) return before && this.#overturn(before)
    if (before === undefined && failure.code !== 'session-hung') return this.#judge(row, failure)
    const { code, what } = VERDICTS[failure.code]
    this.faults.set(row, { code, message: `${what} this row: ${failure.message}` })
  }

  /** A session that is found sick gets one new thread here, and that one must be well. */
  async #requireGood(by: Reservation): Promise<void> {
    const { session } = by
    if ((await this.#examine(session, by)) === undefined) return
    const sick = await this.#examine(session, by)
    if (sick !== undefined) throw new SluiceError('session-crashed', `Session ${session} is not to be trusted: ${sick}`)
  }
}

const VERDICTS: Record<RunError['code'], { readonly code: ErrorCode; readonly what: string }> = {
  'inference-failed': { code: 'inference-failed', what: 'The model fails on' },
  'session-crashed': { code: 'inference-crashed', what: 'The session thread dies on' },
  'session-hung': { code: 'inference-hung', what: 'The model does not return from' },
}
