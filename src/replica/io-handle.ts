import { Worker } from 'node:worker_threads'
import type { Clock } from '../core/clock.ts'
import { unpackError } from '../core/error-transfer.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import { within } from '../core/waiting.ts'
import type { WorkerState } from '../ops/health.ts'
import type { LivePlan } from '../serving/served-versions.ts'
import type { IoReply, IoReports, IoRequest, IoThreadSetup, LentModel } from './io-messages.ts'

/** What a thread that is asked for its numbers may take; then its last ones stand in. */
const REPORT_PATIENCE_MS = 1_000

const THREAD_URL = new URL('./io-thread.ts', import.meta.url)

export interface IoHandleOptions {
  readonly setup: IoThreadSetup
  readonly clock: Clock
  readonly onState: (state: WorkerState) => void
  readonly onJoined: (generation: number, memberId: string) => void
  readonly onCondition: (key: string, error: SluiceError | undefined) => void
  /** An error that ends the worker: one that the thread met and drains for, or the one that it died of. */
  readonly onFailed: (error: Error) => void
  /** Nothing of the thread waits for the version any more. */
  readonly onLeft: (version: string) => void
}

/** One I/O thread, as the main thread sees it. */
export class IoHandle {
  /** Resolves when the thread is gone. Never rejects. */
  readonly ended: Promise<void>
  readonly #options: IoHandleOptions
  readonly #worker: Worker
  readonly #last: { -readonly [What in keyof IoReports]: IoReports[What] } = {
    status: { totals: { recordsIn: 0, predictions: 0, deadLetters: 0 }, partitions: [] },
    metrics: [],
  }
  readonly #asked = new Map<keyof IoReports, PromiseWithResolvers<void>>()
  /** Versions that the thread is to make ready. */
  readonly #preparing = new Map<string, PromiseWithResolvers<void>>()
  #done = false

  constructor(options: IoHandleOptions) {
    const { setup } = options
    const ended = Promise.withResolvers<void>()
    this.#options = options
    this.ended = ended.promise
    this.#worker = new Worker(THREAD_URL, {
      workerData: setup,
      transferList: setup.models.map(({ pool }) => pool.port),
      name: `io ${setup.thread}`,
    })
    this.#worker.on('message', (reply: IoReply) => this.#onReply(reply))
    this.#worker.on('error', error => this.#onDeath(`died of a defect: ${messageOf(error)}`, error))
    this.#worker.on('exit', code => {
      if (!this.#done) this.#onDeath(`ended by itself, with code ${code}`)
      ended.resolve()
    })
  }

  /** Lets the thread work on what the group assigns to it. */
  begin(): void {
    this.#send({ kind: 'begin' })
  }

  /**
   * Makes a version ready to answer there. The loan's port goes over to the thread.
   * @throws SluiceError why it cannot, or that the thread has ended
   */
  prepare(model: LentModel): Promise<void> {
    const prepared = Promise.withResolvers<void>()
    if (this.#done) prepared.reject(threadEnded())
    else {
      this.#preparing.set(model.spec.version, prepared)
      this.#worker.postMessage({ kind: 'prepare', model } satisfies IoRequest, [model.pool.port])
    }
    return prepared.promise
  }

  adopt(live: LivePlan): void {
    this.#send({ kind: 'adopt', live })
  }

  /** Answered by `onLeft`, also where the thread has ended. */
  retire(version: string): void {
    if (this.#done) this.#options.onLeft(version)
    else this.#send({ kind: 'retire', version })
  }

  /** Asks the thread to commit what is in its pipeline, to leave the group, and to end. */
  drain(): void {
    this.#send({ kind: 'drain' })
  }

  /** The thread's numbers as of now, or the last ones that it gave where it is busy for long or gone. */
  async report<What extends keyof IoReports>(what: What): Promise<IoReports[What]> {
    if (!this.#done) await within(this.#options.clock, REPORT_PATIENCE_MS, this.#ask(what))
    return this.#last[what]
  }

  #ask(what: keyof IoReports): Promise<void> {
    let asked = this.#asked.get(what)
    if (asked === undefined) {
      asked = Promise.withResolvers()
      this.#asked.set(what, asked)
      this.#send({ kind: 'report', what })
    }
    return asked.promise
  }

  #onReply(reply: IoReply): void {
    const { onState, onJoined, onCondition, onFailed } = this.#options
    switch (reply.kind) {
      case 'state':
        onState(reply.state)
        break
      case 'joined':
        onJoined(reply.generation, reply.memberId)
        break
      case 'condition':
        onCondition(reply.key, reply.error && (unpackError(reply.error) as SluiceError))
        break
      case 'failed':
        onFailed(unpackError(reply.error))
        break
      case 'report':
        this.#onReport(reply)
        break
      case 'prepared':
        this.#onPrepared(reply)
        break
      case 'left':
        this.#options.onLeft(reply.version)
        break
      case 'done':
        this.#end()
    }
  }

  #onReport(reply: Extract<IoReply, { kind: 'report' }>): void {
    if (reply.what === 'status') this.#last.status = reply.status
    else this.#last.metrics = reply.metrics
    this.#asked.get(reply.what)?.resolve()
    this.#asked.delete(reply.what)
  }

  #onPrepared({ version, error }: Extract<IoReply, { kind: 'prepared' }>): void {
    const prepared = this.#preparing.get(version)
    this.#preparing.delete(version)
    if (error === undefined) prepared?.resolve()
    else prepared?.reject(unpackError(error))
  }

  /** Its transactions are aborted by whoever takes its partitions over; nothing is lost. */
  #onDeath(how: string, cause?: Error): void {
    if (this.#done) return
    this.#end()
    const error = new SluiceError('internal', `I/O thread ${this.#options.setup.thread} ${how}`, { cause })
    if (cause?.stack !== undefined) error.stack = cause.stack
    this.#options.onFailed(error)
  }

  /** Nothing more is to be heard of it. */
  #end(): void {
    this.#done = true
    for (const { resolve } of this.#asked.values()) resolve()
    this.#asked.clear()
    for (const { reject } of this.#preparing.values()) reject(threadEnded())
    this.#preparing.clear()
  }

  #send(request: IoRequest): void {
    this.#worker.postMessage(request)
  }
}

function threadEnded(): SluiceError {
  return new SluiceError('session-crashed', 'The I/O thread has ended.')
}
