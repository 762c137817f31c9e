import { Worker } from 'node:worker_threads'
import type { Clock } from '../core/clock.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { RunRequest, SessionReply, SessionRequest, SessionSetup, TrialRequest } from './messages.ts'
import { labelOf } from './placement.ts'
import { threadBegins, threadEnded, threadHangs } from './process-end.ts'
import { abandon, enter, leave, newPhase } from './run-phase.ts'

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
    threadBegins(this.#phase)
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
      threadEnded(this.#phase)
      exited.resolve()
      onExit(this, code)
    })
  }

  run(request: RunRequest | TrialRequest): void {
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

  /** Asks the thread to end and waits for that, but not for ever; returns whether it did, or else leaves it behind. */
  async end(clock: Clock, patienceMs: number): Promise<boolean> {
    this.dismiss()
    const cut = new AbortController()
    const late = clock.sleep(patienceMs, cut.signal).then(() => false)
    const ended = await Promise.race([late, this.exited.then(() => true)])
    cut.abort()
    if (!ended) this.leaveBehind()
    return ended
  }

  /**
   * Gives up what the thread does, a run or the opening of the model: see `leaveBehind`. False when it was faster: then its
   * answer is on the way.
   */
  giveUp(): boolean {
    if (!abandon(this.#phase)) return false
    this.leaveBehind()
    return true
  }

  /** From now on the thread writes no outputs, ends should it ever come back, and neither keeps the process alive nor holds up its end. */
  leaveBehind(): void {
    abandon(this.#phase)
    this.dismiss()
    this.#worker.unref()
    threadHangs(this.#phase)
  }

  #send(request: SessionRequest): void {
    this.#worker.postMessage(request)
  }
}
