import { Worker } from 'node:worker_threads'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { RunRequest, SessionReply, SessionRequest, SessionSetup } from './messages.ts'
import { labelOf } from './placement.ts'
import { abandon, awaitOutside, enter, leave, newPhase } from './run-phase.ts'

export interface ThreadOptions {
  readonly setup: Omit<SessionSetup, 'phase'>
  readonly url: URL
  readonly onMessage: (thread: Thread, message: SessionReply) => void
  /** The thread has ended; called once. */
  readonly onExit: (thread: Thread, code: number) => void
}

/** One thread of a session, from its birth to its end. */
export class Thread {
  /** Resolves when the thread is gone. */
  readonly exited: Promise<void>
  /** What it died of, once that is known. */
  lastWords: SluiceError | undefined
  readonly #worker: Worker
  readonly #phase = newPhase()

  constructor({ setup, url, onMessage, onExit }: ThreadOptions) {
    const exited = Promise.withResolvers<void>()
    this.exited = exited.promise
    this.#worker = new Worker(url, {
      workerData: { ...setup, phase: this.#phase } satisfies SessionSetup,
      name: `session ${setup.providers.map(labelOf).join('|')}`,
    })
    this.#worker.on('message', (message: SessionReply) => onMessage(this, message))
    this.#worker.on('error', error => {
      this.lastWords ??= new SluiceError('session-failed', messageOf(error), { cause: error })
    })
    this.#worker.on('exit', code => {
      leave(this.#phase)
      exited.resolve()
      onExit(this, code)
    })
  }

  run(request: RunRequest): void {
    enter(this.#phase)
    this.#send(request)
  }

  /**
   * Asks the thread to end, after what it is doing. It is never terminated, because a thread that is torn down inside the
   * runtime's native code takes the whole process with it ("terminate called after throwing an instance of 'Napi::Error'").
   */
  dismiss(): void {
    this.#send({ kind: 'close' })
  }

  /**
   * Gives up the run that the thread is in: it will write no outputs any more, and ends should it ever come back. It no
   * longer keeps the process alive. False when it was faster: then its answer is on the way.
   */
  giveUp(): boolean {
    if (!abandon(this.#phase)) return false
    this.dismiss()
    this.#worker.unref()
    return true
  }

  /** Blocks until the thread is out of the runtime, at most `timeoutMs`; returns whether it is. */
  awaitRuntime(timeoutMs: number): boolean {
    return awaitOutside(this.#phase, timeoutMs)
  }

  #send(request: SessionRequest): void {
    this.#worker.postMessage(request)
  }
}
