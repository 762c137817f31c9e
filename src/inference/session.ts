import { Backoff } from '../core/backoff.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { RunError, type RunTimings } from '../core/inference.ts'
import type { Log } from '../core/log.ts'
import type { SessionEvent } from '../core/telemetry.ts'
import type { TensorSlot } from '../core/tensor.ts'
import type { SessionReply, SessionSetup } from './messages.ts'
import { OpeningWatch } from './opening-watch.ts'
import { labelOf } from './placement.ts'
import type { GraphSignature } from './signature.ts'
import { putStrings, takeStrings } from './slots.ts'
import { Thread } from './thread.ts'
import { Watch } from './watch.ts'

type Reply<Kind extends SessionReply['kind']> = Extract<SessionReply, { kind: Kind }>

/**
 * Until a thread that was lost in a run is replaced. Always the same: rows that kill threads are found by running them,
 * so many threads may die in a row, and what bounds their number is the isolation (`runIsolated`), not a delay.
 */
const REPLACE_MS = 100
/** Until one that was lost in another way is: there, only waiting helps. */
const FIRST_RESTART_MS = 100
const LONGEST_RESTART_MS = 30_000
/** How long `close` waits for the thread; one that computes for longer is left behind, as if it hung. */
const CLOSE_PATIENCE_MS = 5_000

type State = 'starting' | 'idle' | 'busy' | 'down' | 'closed'

export interface SessionOptions {
  /** Its place in SESSIONS. */
  readonly index: number
  readonly setup: Omit<SessionSetup, 'phase'>
  readonly threadUrl: URL
  /** After this a run is given up; 0 for never. */
  readonly runTimeoutMs: number
  readonly log: Log
  readonly clock: Clock
  /** The session became idle. Called after the run's promise was settled, within the same turn. */
  readonly onIdle: () => void
  /** The session is down, or could not be started again. */
  readonly onDown: () => void
  readonly onEvent: (event: SessionEvent) => void
  /** The first opening of the model takes long. */
  readonly onSlowStart: (message: string) => void
  /** A thread hangs, in a run of `slot` or, where that is undefined, while it opens the model. It may end later, or never. */
  readonly onHung: (thread: Thread, slot: TensorSlot | undefined) => void
  /** A thread that was idle was replaced, and is about to end. */
  readonly onDismissed: (thread: Thread) => void
}

interface Run {
  readonly slot: TensorSlot
  readonly first: number
  readonly rows: number
  readonly handedOverAt: number
  readonly resolve: (timings: RunTimings) => void
  readonly reject: (error: SluiceError) => void
}

/**
 * One session: a worker thread that has the model open, replaced by a new one when it is lost.
 *
 *                         ┌────── finished, failed ──────┐
 *                         ▼                              │
 *   STARTING ──opened──▶ IDLE ────────── run ─────────▶ BUSY
 *    │    ▲               │                              │
 *    │    │               └── died, is not trusted ──┐   │ died, hangs, is not trusted
 *    │    └──── delay ──── DOWN ◀────────────────────┴───┘
 *    └─ died, hangs, refused ▲                                   from anywhere: close() ──▶ CLOSED
 *
 * A session that was never open does not restart: `start` rejects, and it is CLOSED; nor is it ever given up. A run that is under way when the
 * thread is lost is rejected, never repeated here: whether its rows are at fault is for the caller to find out. A thread
 * that hangs cannot be ended, see `Thread.dismiss`: it is left behind, and `run-phase.ts` keeps it from doing harm.
 */
export class Session {
  readonly #options: SessionOptions
  readonly #backoff = new Backoff(FIRST_RESTART_MS, LONGEST_RESTART_MS)
  readonly #opened = Promise.withResolvers<GraphSignature>()
  readonly #watch: Watch
  readonly #opening: OpeningWatch
  #state: State = 'starting'
  /** The thread that serves or is to serve; undefined while down. */
  #thread: Thread | undefined
  #restart: Timer | undefined
  #run: Run | undefined
  #provider = ''
  #everOpened = false
  /** Why it is to be replaced once its run has ended. */
  #distrusted: string | undefined
  #lost: string | undefined

  constructor(options: SessionOptions) {
    this.#options = options
    this.#watch = new Watch(options.clock, () => this.#giveUpRun())
    this.#opening = new OpeningWatch({
      clock: options.clock,
      onSlow: ms => this.#onSlow(ms),
      onTooLong: ms => this.#giveUpOpening(ms),
    })
  }

  get idle(): boolean {
    return this.#state === 'idle'
  }

  /** Whether the model is open: the session runs something, or could. */
  get serving(): boolean {
    return this.#state === 'idle' || this.#state === 'busy'
  }

  /** Why the session cannot be expected back soon, or undefined. */
  get lost(): string | undefined {
    return this.#lost
  }

  /** Label of the provider that took the model; empty before `start` resolves. */
  get provider(): string {
    return this.#provider
  }

  /** For people. */
  get title(): string {
    return `session ${this.#options.index} (${this.#provider})`
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
    return new Promise((resolve, reject) => {
      this.#run = { slot, first, rows, handedOverAt: this.#options.clock.now(), resolve, reject }
      this.#watch.begin(this.#options.runTimeoutMs)
      this.#thread!.run({ kind: 'run', slot: slot.id, first, rows, strings: takeStrings(slot.inputs, first, rows) })
    })
  }

  /** Has the thread replaced, after its run if it is in one: the session fails where it should not. */
  distrust(reason: string): void {
    if (this.#state === 'busy') this.#distrusted = reason
    else if (this.#state === 'idle') this.#replace(reason)
  }

  /**
   * Ends the thread, after what it is doing; a run under way is rejected. Resolves when the thread is gone, or after five
   * seconds: native code cannot be interrupted, and may never return. The thread is left behind then.
   */
  async close(): Promise<void> {
    const { clock, log, index } = this.#options
    const thread = this.#thread
    this.#state = 'closed'
    this.#watch.end()
    this.#opening.end()
    this.#restart?.cancel()
    if (thread === undefined) return
    if (await thread.end(clock, CLOSE_PATIENCE_MS)) return
    log.warn({ session: index, patienceMs: CLOSE_PATIENCE_MS }, 'A session thread does not end and was left behind')
    this.#thread = undefined
    this.#onClosedThread()
  }

  #launch(): void {
    const { setup, threadUrl: url } = this.#options
    this.#state = 'starting'
    this.#thread = new Thread({
      setup,
      url,
      // A thread that was left behind may still say something: nobody asks it any more.
      onMessage: (thread, message) => thread === this.#thread && this.#onMessage(message),
      onExit: (thread, code) => thread === this.#thread && this.#onExit(thread, code),
    })
    this.#opening.begin()
  }

  #onMessage(message: SessionReply): void {
    if (this.#state === 'closed') return
    switch (message.kind) {
      case 'opened':
        this.#onOpened(message)
        break
      case 'refused':
        this.#thread!.lastWords = new SluiceError(message.code, this.#refusal(message))
        break
      case 'finished':
        this.#onRunEnd(run => this.#resolveRun(run, message))
        break
      case 'failed':
        this.#onRunEnd(run => run.reject(this.#runError('inference-failed', message.reason)))
    }
  }

  #onOpened({ provider, passedOver, signature }: Reply<'opened'>): void {
    const { log, onEvent, onIdle } = this.#options
    for (const reason of passedOver)
      log.warn({ provider, reason }, 'A provider could not open the model; used the next')
    this.#opening.opened()
    this.#provider = provider
    if (this.#everOpened) {
      log.info({ session: this.#options.index, provider }, 'A session is back')
      onEvent('restarted')
    }
    this.#everOpened = true
    this.#lost = undefined
    this.#state = 'idle'
    this.#opened.resolve(signature)
    onIdle()
  }

  #onRunEnd(settle: (run: Run) => void): void {
    this.#state = 'idle'
    settle(this.#takeRun()!)
    if (this.#distrusted !== undefined) this.#replace(this.#distrusted)
    else this.#options.onIdle()
  }

  #takeRun(): Run | undefined {
    const run = this.#run
    this.#run = undefined
    this.#watch.end()
    return run
  }

  #resolveRun(run: Run, { computeMs, strings }: Reply<'finished'>): void {
    putStrings(run.slot.outputs, run.first, strings)
    this.#backoff.reset()
    const waitMs = Math.max(0, this.#options.clock.now() - run.handedOverAt - computeMs)
    run.resolve({ computeMs, waitMs, provider: this.#provider, session: this.#options.index })
  }

  #giveUpRun(): void {
    const { runTimeoutMs, onEvent, onHung } = this.#options
    const thread = this.#thread!
    if (!thread.giveUp()) {
      this.#watch.begin(runTimeoutMs)
      return
    }
    const run = this.#takeRun()!
    const rows = run.rows === 1 ? 'one row' : `${run.rows} rows`
    const reason = `a run of ${rows} did not return within RUN_TIMEOUT_MS (${runTimeoutMs} ms)`
    onEvent('hung')
    onHung(thread, run.slot)
    this.#goDown(reason, REPLACE_MS)
    run.reject(this.#runError('session-hung', `${this.title} hangs: ${reason}`))
  }

  /** From now on nobody should wait for this session; at its first start, somebody must, and is told. */
  #onSlow(ms: number): void {
    const { log, index, setup, onDown, onSlowStart } = this.#options
    const provider = setup.providers.map(labelOf).join('|')
    const reason = `session ${index} (${provider}) is still opening the model after ${Math.round(ms / 1000)} s`
    log.warn({ session: index, provider, afterMs: Math.round(ms) }, 'A session is still opening the model')
    if (this.#everOpened) {
      this.#lost = reason
      onDown()
    } else onSlowStart(reason)
  }

  #giveUpOpening(ms: number): void {
    const { onEvent, onHung } = this.#options
    const thread = this.#thread!
    if (!thread.giveUp()) {
      this.#opening.extend()
      return
    }
    this.#lost = `it did not open the model within ${Math.round(ms / 1000)} s`
    onEvent('hung')
    onHung(thread, undefined)
    this.#goDown(this.#lost, this.#backoff.next())
  }

  /** Asks an idle thread to end; another takes its place. */
  #replace(reason: string): void {
    const { onEvent, onDismissed } = this.#options
    const thread = this.#thread!
    onEvent('distrusted')
    thread.dismiss()
    onDismissed(thread)
    this.#goDown(reason, this.#backoff.next())
  }

  #onExit(thread: Thread, code: number): void {
    const reason = thread.lastWords?.message ?? `its thread ended with exit code ${code}`
    this.#opening.end()
    if (this.#state === 'closed') this.#onClosedThread()
    else if (!this.#everOpened) {
      this.#state = 'closed'
      this.#opened.reject(thread.lastWords ?? new SluiceError('session-failed', this.#startFailure(reason)))
    } else {
      const run = this.#takeRun()
      if (this.#state === 'starting') this.#lost = reason
      else this.#options.onEvent('crashed')
      this.#goDown(reason, run === undefined ? this.#backoff.next() : REPLACE_MS)
      run?.reject(this.#runError('session-crashed', `${this.title} died during a run: ${reason}`))
    }
  }

  /** The thread of a session that was closed is gone, or was left behind. */
  #onClosedThread(): void {
    this.#takeRun()?.reject(new SluiceError('session-crashed', `${this.title} was closed during a run`))
    this.#opened.reject(new SluiceError('session-failed', 'the session was closed before the model was open'))
  }

  #goDown(reason: string, delayMs: number): void {
    const { clock, log, index, onDown } = this.#options
    this.#state = 'down'
    this.#thread = undefined
    this.#distrusted = undefined
    const fields = { session: index, provider: this.#provider, reason, restartMs: Math.round(delayMs) }
    log.error(fields, 'A session is down; it starts again')
    this.#restart = clock.after(delayMs, () => this.#launch())
    onDown()
  }

  #runError(code: RunError['code'], message: string): RunError {
    return new RunError(code, message, this.#options.index)
  }

  #refusal({ code, reason }: Reply<'refused'>): string {
    const { modelFile } = this.#options.setup
    return refusalOf(modelFile, code, reason)
  }

  #startFailure(reason: string): string {
    return refusalOf(this.#options.setup.modelFile, 'session-failed', reason)
  }
}

/** Why a thread did not open the model, for people. */
export function refusalOf(modelFile: string, code: Reply<'refused'>['code'], reason: string): string {
  return code === 'session-failed'
    ? `ONNX Runtime could not open ${modelFile}: ${reason}`
    : `${modelFile} cannot be used: ${reason}`
}

/** The error of an opening that was given a limit and took longer. Its thread is left behind. */
export function openedTooLate(modelFile: string, timeoutMs: number): SluiceError {
  const message =
    `ONNX Runtime did not open ${modelFile} within ${timeoutMs} ms; it was given up. ` +
    'If it is only slow (an engine that TensorRT builds, a very large graph), allow it more time'
  return new SluiceError('session-failed', message)
}
