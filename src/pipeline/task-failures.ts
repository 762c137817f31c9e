import { asSluiceError, type ErrorCode } from '../core/errors.ts'
import { FencedError } from '../core/transaction.ts'
import type { TaskEnd, TaskOptions, TaskState } from './task-contract.ts'
import type { TaskShadows } from './task-shadows.ts'
import type { Trouble } from './trouble.ts'

interface TaskFailuresOptions extends Pick<TaskOptions, 'log' | 'telemetry' | 'onShadowsRefused'> {
  readonly trouble: Trouble
  readonly shadows: TaskShadows
}

/** What the failures of one task mean for it, and who hears of them. */
export class TaskFailures {
  readonly #options: TaskFailuresOptions
  /** Fetches in a row that found the log to be another than the start before them did. */
  #suspicions = 0

  constructor(options: TaskFailuresOptions) {
    this.#options = options
  }

  /** A fetch has succeeded. */
  fetched(): void {
    this.#suspicions = 0
  }

  /**
   * An end, or (undefined) a new initialisation. Only an initialisation halts a task: it compares the committed offset with the
   * log, so what a fetch complains of is looked at again there.
   * @param ofFetch whether a fetch, and no transaction, has failed
   */
  endAfter(error: unknown, state: TaskState, ofFetch: boolean): TaskEnd | undefined {
    const { log, telemetry, trouble } = this.#options
    if (error instanceof FencedError) {
      log.info({ reason: error.message }, 'partition task is fenced: another owner took over')
      telemetry.transaction('fenced', 0)
      return { how: 'fenced' }
    }
    const known = asSluiceError(error, 'internal')
    if (known.response === 'exit') return { how: 'failed', error: known }
    const initialising = state === 'INITIALISING'
    // What a fetch suspects is no condition yet: the next start says what is lost, if anything is. But one that no start
    // confirms, and every fetch repeats, keeps the partition from going on.
    const suspicion = known.response === 'halt' && !initialising && ++this.#suspicions <= MOST_SUSPICIONS
    const step = initialising || DECIDED_AT_START.has(known.code) ? 'start' : ofFetch ? 'fetch' : 'commit'
    const news = !suspicion && trouble.met(step, known)
    if (known.response === 'halt' && initialising) return { how: 'halted', error: known }
    if (!initialising) {
      this.#suspectShadows(known.code, known.message)
      telemetry.transaction('aborted', 0)
    }
    const fields = { code: known.code, reason: known.message }
    if (state === 'DRAINING') {
      log.warn(fields, 'partition task ends: the next owner does again what it had')
      return { how: 'closed' }
    }
    // What is refused all night long is said once.
    const level = news ? 'warn' : suspicion ? 'info' : 'debug'
    log[level](fields, 'partition task starts over from the committed offset')
    return undefined
  }

  /** A broker that refuses a transaction may refuse what shadows have added to it. */
  #suspectShadows(code: ErrorCode, reason: string): void {
    const { log, shadows, onShadowsRefused } = this.#options
    if (!shadows.any || !REFUSALS.has(code)) return
    shadows.pause()
    onShadowsRefused?.()
    log.warn({ code, reason }, 'nothing is shadowed for a while: it may be why the broker refuses')
  }
}

const MOST_SUSPICIONS = 3

/** After which nothing is shadowed for a while. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['output-refused', 'not-authorised', 'topic-missing'])

/** The outcome of a transaction: the next initialisation tells. */
const DECIDED_AT_START: ReadonlySet<ErrorCode> = new Set(['transaction-unknown'])
