import { Worker } from 'node:worker_threads'
import { Backoff } from '../core/backoff.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { RunTimings } from '../core/inference.ts'
import type { Log } from '../core/log.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { Occupied, SessionReply, SessionRequest, SessionSetup } from './messages.ts'
import { labelOf } from './placement.ts'
import type { GraphSignature } from './signature.ts'
import { putStrings, takeStrings } from './slots.ts'

type Reply<Kind extends SessionReply['kind']> = Extract<SessionReply, { kind: Kind }>

const FIRST_RESTART_MS = 100
const LONGEST_RESTART_MS = 30_000

type State = 'starting' | 'idle' | 'busy' | 'crashed' | 'closed'

export interface SessionOptions {
  readonly setup: Omit<SessionSetup, 'occupied'>
  readonly threadUrl: URL
  readonly log: Log
  readonly clock: Clock
  /** The session became idle. Called after the run's promise was settled, within the same turn. */
  readonly onIdle: () => void
  /** A restarted thread could not open the model; another attempt follows. */
  readonly onLost: () => void
}

interface Run {
  readonly slot: TensorSlot
  readonly first: number
  readonly handedOverAt: number
  readonly resolve: (timings: RunTimings) => void
  readonly reject: (error: SluiceError) => void
}

/**
 * One session: a worker thread that has the model open, replaced by a new one when it dies.
 *
 *                         ┌────── finished, failed ──────┐
 *                         ▼                              │
 *   STARTING ──opened──▶ IDLE ────────── run ─────────▶ BUSY
 *    │    ▲               │                              │
 *    │    │               └─────── the thread died ──────┤          from anywhere: close() ──▶ CLOSED
 *    │    └──────── backoff ──────── CRASHED ◀───────────┤
 *    └─ died or refused, having been open before ─▶──────┘
 *
 * A session that was never open does not restart: `start` rejects, and it is CLOSED. A run that is under way when the
 * thread dies is rejected, never repeated here: whether its rows are at fault is for the caller to find out.
 */
export class Session {
  readonly #options: SessionOptions
  readonly #backoff = new Backoff(FIRST_RESTART_MS, LONGEST_RESTART_MS)
  readonly #opened = Promise.withResolvers<GraphSignature>()
  readonly #occupied: Occupied = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  #state: State = 'starting'
  #worker: Worker | undefined
  #exited = Promise.resolve()
  #restart: Timer | undefined
  #run: Run | undefined
  #provider = ''
  #everOpened = false
  /** Why the thread is about to end, once it has said so. */
  #lastWords: SluiceError | undefined
  /** Why the last restart did not open the model; undefined while there is hope or a session. */
  #lost: string | undefined

  constructor(options: SessionOptions) {
    this.#options = options
  }

  get idle(): boolean {
    return this.#state === 'idle'
  }

  /** Why the session cannot be expected back soon, or undefined. */
  get lost(): string | undefined {
    return this.#lost
  }

  /** Label of the provider that took the model; empty before `start` resolves. */
  get provider(): string {
    return this.#provider
  }

  /**
   * Starts the thread; resolves with what the runtime says of the graph.
   * @throws SluiceError `session-failed` or `model-corrupt` when the model cannot be opened.
   */
  start(): Promise<GraphSignature> {
    this.#launch()
    return this.#opened.promise
  }

  /** Runs rows of a slot. Only for an idle session. */
  run(slot: TensorSlot, first: number, rows: number): Promise<RunTimings> {
    this.#state = 'busy'
    Atomics.store(this.#occupied, 0, 1)
    return new Promise((resolve, reject) => {
      this.#run = { slot, first, handedOverAt: this.#options.clock.now(), resolve, reject }
      this.#send({ kind: 'run', slot: slot.id, first, rows, strings: takeStrings(slot.inputs, first, rows) })
    })
  }

  /**
   * Ends the thread, after what it is doing; a run under way is rejected. Resolves when the thread is gone.
   * Asks rather than terminates, because a thread that is terminated inside the runtime's native code takes the whole
   * process with it ("terminate called after throwing an instance of 'Napi::Error'").
   */
  close(): Promise<void> {
    this.#state = 'closed'
    this.#restart?.cancel()
    this.#send({ kind: 'close' })
    return this.#exited
  }

  /**
   * Blocks until the thread is out of the runtime, at most `timeoutMs`. For the end of the process alone, which tears
   * threads down wherever they are: `close` has the reason why that must not be inside the runtime.
   */
  awaitRuntime(timeoutMs: number): void {
    Atomics.wait(this.#occupied, 0, 1, timeoutMs)
  }

  #send(request: SessionRequest): void {
    this.#worker?.postMessage(request)
  }

  #launch(): void {
    const { setup, threadUrl } = this.#options
    const exited = Promise.withResolvers<void>()
    this.#exited = exited.promise
    this.#state = 'starting'
    this.#lastWords = undefined
    Atomics.store(this.#occupied, 0, 1)
    const worker = new Worker(threadUrl, {
      workerData: { ...setup, occupied: this.#occupied } satisfies SessionSetup,
      name: `session ${setup.providers.map(labelOf).join('|')}`,
    })
    worker.on('message', (message: SessionReply) => this.#onMessage(message))
    worker.on('error', error => {
      this.#lastWords ??= new SluiceError('session-failed', messageOf(error), { cause: error })
    })
    worker.on('exit', code => {
      exited.resolve()
      this.#onExit(code)
    })
    this.#worker = worker
  }

  #onMessage(message: SessionReply): void {
    if (this.#state === 'closed') return
    switch (message.kind) {
      case 'opened':
        this.#onOpened(message)
        break
      case 'refused':
        this.#lastWords = new SluiceError(message.code, this.#refusal(message))
        break
      case 'finished':
        this.#onRunEnd(run => this.#resolveRun(run, message))
        break
      case 'failed':
        this.#onRunEnd(run => run.reject(new SluiceError('inference-failed', message.reason)))
    }
  }

  #onOpened({ provider, passedOver, signature }: Reply<'opened'>): void {
    const { log } = this.#options
    for (const reason of passedOver)
      log.warn({ provider, reason }, 'A provider could not open the model; used the next')
    if (this.#everOpened) log.info({ provider }, 'A session is back')
    this.#provider = provider
    this.#everOpened = true
    this.#lost = undefined
    this.#state = 'idle'
    this.#opened.resolve(signature)
    this.#options.onIdle()
  }

  #onRunEnd(settle: (run: Run) => void): void {
    const run = this.#run!
    this.#run = undefined
    this.#state = 'idle'
    settle(run)
    this.#options.onIdle()
  }

  #resolveRun(run: Run, { computeMs, strings }: Reply<'finished'>): void {
    putStrings(run.slot.outputs, run.first, strings)
    this.#backoff.reset()
    const waitMs = Math.max(0, this.#options.clock.now() - run.handedOverAt - computeMs)
    run.resolve({ computeMs, waitMs, provider: this.#provider })
  }

  #onExit(code: number): void {
    const reason = this.#lastWords?.message ?? `its thread ended with exit code ${code}`
    this.#worker = undefined
    Atomics.store(this.#occupied, 0, 0)
    this.#rejectRun(reason)
    if (this.#state === 'closed') {
      this.#opened.reject(new SluiceError('session-failed', 'the session was closed before the model was open'))
    } else if (this.#everOpened) {
      this.#scheduleRestart(reason)
    } else {
      this.#state = 'closed'
      this.#opened.reject(this.#lastWords ?? new SluiceError('session-failed', this.#startFailure(reason)))
    }
  }

  #rejectRun(reason: string): void {
    const closed = this.#state === 'closed'
    const where = `session ${this.#provider}`
    const message = closed ? `${where} was closed during a run` : `${where} died during a run: ${reason}`
    this.#run?.reject(new SluiceError('session-crashed', message))
    this.#run = undefined
  }

  #scheduleRestart(reason: string): void {
    const { clock, log, onLost } = this.#options
    const failedToOpen = this.#state === 'starting'
    const delayMs = this.#backoff.next()
    this.#state = 'crashed'
    log.error({ provider: this.#provider, reason, restartMs: Math.round(delayMs) }, 'A session died; it starts again')
    this.#restart = clock.after(delayMs, () => this.#launch())
    if (!failedToOpen) return
    this.#lost = reason
    onLost()
  }

  #refusal({ code, reason }: Reply<'refused'>): string {
    const { modelFile } = this.#options.setup
    return code === 'model-corrupt' ? `${modelFile} cannot be used: ${reason}` : this.#startFailure(reason)
  }

  #startFailure(reason: string): string {
    return `ONNX Runtime could not open ${this.#options.setup.modelFile}: ${reason}`
  }
}
