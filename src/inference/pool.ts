import { availableParallelism } from 'node:os'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import {
  type HungThreads,
  type Reservation,
  type RunTimings,
  type SessionChoice,
  tooManyHang,
} from '../core/inference.ts'
import type { Log } from '../core/log.ts'
import type { ModelSpec } from '../core/model.ts'
import type { PoolTelemetry } from '../core/telemetry.ts'
import type { TensorSlot } from '../core/tensor.ts'
import { LeftBehind, MOST_HUNG } from './left-behind.ts'
import { type Placement, threadsPerSession } from './placement.ts'
import type { LendablePool } from './pool-server.ts'
import { availableProviders, usablePlacements } from './providers.ts'
import { openedTooLate, Session } from './session.ts'
import { checkSignature, type GraphSignature } from './signature.ts'
import { type SharedSlot, slotCapacity, TensorSlots } from './slots.ts'

const THREAD_URL = new URL('./session-thread.ts', import.meta.url)

/** One batch in the runtime and one being packed, for each session. */
export const SLOTS_PER_SESSION = 2

export interface SessionPoolOptions {
  /** Path of model.onnx. */
  readonly modelFile: string
  readonly spec: ModelSpec
  /** One for each session, see `parseSessions`; not empty. */
  readonly sessions: readonly Placement[]
  /** Threads of one session; 0 divides the cores among the sessions. */
  readonly intraOpThreads: number
  /** The most rows a slot holds; fewer where `slotBytes` allows no more. */
  readonly maxBatchSize: number
  /** A run that takes longer is given up; 0 for never. */
  readonly runTimeoutMs: number
  /** Default: two for each session. */
  readonly slots?: number
  /** Within this all sessions must have the model open; 0, the default, for any time. */
  readonly openTimeoutMs?: number | undefined
  /** Shared memory of one slot at most, in bytes. Default: 64 MiB. */
  readonly slotBytes?: number
  readonly log: Log
  readonly clock: Clock
  readonly telemetry?: PoolTelemetry | undefined
  /**
   * For people: no session is open, or the first opening takes long; undefined when that is over. An error with response
   * `exit`: so many threads hang, the last one while it opened the model, that the process should end.
   */
  readonly onCondition?: ((error: SluiceError | undefined) => void) | undefined
  /** What the threads run instead of `session-thread.ts`. */
  readonly threadUrl?: URL | undefined
}

/** A `SessionPool`, and what is known of it once it is open. */
export interface OnnxSessionPool extends LendablePool {
  /** Where the sessions run, in the order of `sessions`: `['cuda:0', 'cpu']`. */
  readonly providers: readonly string[]
}

/**
 * Opens a model in as many threads as there are placements, all at once. Waits as long as they take, which is said in the
 * log and to `onCondition`; but not for the others once one has failed.
 * @throws SluiceError `provider-unavailable`, `session-failed`, `model-corrupt` (a file is missing, or has another hash
 *   than `spec` says), `external-data` or `model-signature`; within seconds, and no thread is left then but those that hang.
 */
export async function createSessionPool(options: SessionPoolOptions): Promise<OnnxSessionPool> {
  const { spec, modelFile, log } = options
  const { usable, leftOut } = usablePlacements(options.sessions, availableProviders())
  if (leftOut.length > 0) log.warn({ leftOut }, 'Providers of SESSIONS that are not installed here were left out')
  const threads = threadsPerSession(options.intraOpThreads, usable, availableParallelism())
  const pool = new Pool(options, usable, threads)
  try {
    checkSignature(modelFile, spec, await within(options, pool.start()))
  } catch (error) {
    await pool.close()
    throw error
  }
  const { size, providers, slotCapacity: rows } = pool
  for (const provider of providers) options.telemetry?.sessionOpened(provider)
  log.info({ model: spec.name, version: spec.version, size, providers, threads, rows }, 'The session pool is open')
  return pool
}

/** What opening the sessions came to, unless that takes longer than `openTimeoutMs`. */
function within(options: SessionPoolOptions, opening: Promise<GraphSignature>): Promise<GraphSignature> {
  const { openTimeoutMs = 0, modelFile, clock } = options
  if (openTimeoutMs === 0) return opening
  return new Promise((resolve, reject) => {
    const timer = clock.after(openTimeoutMs, () => reject(openedTooLate(modelFile, openTimeoutMs)))
    opening.then(resolve, reject).finally(() => timer.cancel())
  })
}

interface Waiting {
  readonly slot: TensorSlot
  readonly first: number
  readonly rows: number
  readonly choice: SessionChoice | undefined
  readonly resolve: (timings: Promise<RunTimings>) => void
  readonly reject: (error: SluiceError) => void
}

interface HeldReservation extends Reservation {
  readonly released: Promise<void>
}

/**
 * The pool: slots, sessions, and the runs that wait for a session, first come first served. What one session goes
 * through is drawn at `Session`. Of several idle sessions the first in the order of SESSIONS takes the run.
 *
 * Runs wait while a session can be expected, one that restarts too. They are rejected once the last session that may
 * take them has failed to open the model again, so that the caller can tell people; restarts go on meanwhile.
 */
class Pool implements OnnxSessionPool {
  readonly #options: SessionPoolOptions
  readonly #slots: TensorSlots
  readonly #sessions: readonly Session[]
  readonly #waiting: Waiting[] = []
  readonly #reserved = new Map<Session, HeldReservation>()
  readonly #leftBehind: LeftBehind
  #listener = () => {}
  #closing: Promise<void> | undefined
  #slowStart = false
  #down = false

  constructor(options: SessionPoolOptions, placements: readonly Placement[], threads: number) {
    const { modelFile, spec, log, clock, runTimeoutMs, telemetry, threadUrl = THREAD_URL } = options
    const capacity = slotCapacity(spec, options.maxBatchSize, options.slotBytes)
    const count = options.slots ?? SLOTS_PER_SESSION * placements.length
    this.#options = options
    this.#slots = new TensorSlots(spec, count, capacity, MOST_HUNG)
    this.#leftBehind = new LeftBehind({
      slots: this.#slots,
      log,
      clock,
      telemetry,
      onTooMany: () => options.onCondition?.(tooManyHang(this.hung)),
    })
    this.#sessions = placements.map((providers, index): Session => {
      const { sha256, external = [], inputs, outputs, fixedBatch } = spec
      const { shared: slots } = this.#slots
      const session = new Session({
        index,
        setup: { modelFile, sha256, external, inputs, outputs, fixedBatch, capacity, slots, providers, threads },
        threadUrl,
        runTimeoutMs,
        log,
        clock,
        onIdle: () => this.#onIdle(),
        onDown: () => this.#onDown(),
        onEvent: event => telemetry?.sessionEvent(session.provider, event),
        onSlowStart: message => this.#onSlowStart(message),
        onHung: (thread, slot) => this.#leftBehind.addHung(thread, slot),
        onDismissed: thread => this.#leftBehind.addDismissed(thread),
      })
      return session
    })
  }

  get idle(): number {
    return this.#closing ? 0 : this.#sessions.filter(session => this.#isFree(session)).length
  }

  get busy(): number {
    return this.size - this.idle
  }

  get size(): number {
    return this.#sessions.length
  }

  get hung(): HungThreads {
    return this.#leftBehind.hung
  }

  get slotCapacity(): number {
    return this.#slots.capacity
  }

  get slotMemory(): readonly SharedSlot[] {
    return this.#slots.shared
  }

  get providers(): string[] {
    return this.#sessions.map(session => session.provider)
  }

  /** Resolves when all sessions have the model open, with what the runtime says of it. */
  async start(): Promise<GraphSignature> {
    const [signature] = await Promise.all(this.#sessions.map(session => session.start()))
    if (this.#slowStart) this.#options.onCondition?.(undefined)
    return signature!
  }

  acquire(): TensorSlot | undefined {
    return this.#closing ? undefined : this.#slots.acquire()
  }

  release(slot: TensorSlot): void {
    this.#slots.release(slot)
    this.#listener()
  }

  run(slot: TensorSlot, first: number, rows: number, choice?: SessionChoice): Promise<RunTimings> {
    if (!this.#slots.isLent(slot) || !(first >= 0 && rows >= 1 && first + rows <= slot.capacity)) {
      const range = `rows ${first} to ${first + rows} of slot ${slot.id}, which holds ${slot.capacity}`
      return Promise.reject(new SluiceError('internal', `cannot run ${range}: out of range, or the slot is not lent`))
    }
    const refusal = this.#refusal(choice)
    if (refusal !== undefined) return Promise.reject(refusal)
    const session = this.#candidates(choice).find(candidate => this.#isFree(candidate, choice))
    if (session !== undefined) return session.run(slot, first, rows)
    return new Promise((resolve, reject) => this.#waiting.push({ slot, first, rows, choice, resolve, reject }))
  }

  async reserve(choice?: SessionChoice): Promise<Reservation> {
    const session = this.#candidates(choice).toSorted((a, b) => this.#distance(a) - this.#distance(b))[0]!
    for (let held = this.#reserved.get(session); held !== undefined; held = this.#reserved.get(session)) {
      await held.released
    }
    const { promise: released, resolve } = Promise.withResolvers<void>()
    const release = () => {
      this.#reserved.delete(session)
      resolve()
      this.#onIdle()
    }
    const reservation = { session: this.#sessions.indexOf(session), released, release }
    this.#reserved.set(session, reservation)
    return reservation
  }

  distrust(session: number, reason: string): void {
    this.#sessions[session]!.distrust(reason)
  }

  onAvailable(listener: () => void): void {
    this.#listener = listener
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeSessions()
    this.#serveWaiting()
    return this.#closing
  }

  async #closeSessions(): Promise<void> {
    this.#leftBehind.close()
    await Promise.all(this.#sessions.map(session => session.close()))
  }

  /** Whether the session could take a run of this choice now. */
  #isFree(session: Session, choice?: SessionChoice): boolean {
    const by = choice !== undefined && 'only' in choice ? choice.by : undefined
    return session.idle && this.#reserved.get(session) === by
  }

  /**
   * How far a session is from taking a run: free, serving others, not open but expected soon, lost. One that opens the
   * model may hang in there, so it is reserved only where no other is to be had.
   */
  #distance(session: Session): number {
    if (this.#isFree(session)) return 0
    if (session.serving) return 1
    return session.lost === undefined ? 2 : 3
  }

  /** The sessions that may take a run. Where all others are lost, the one that the caller would rather avoid may. */
  #candidates(choice: SessionChoice | undefined): readonly Session[] {
    if (choice === undefined) return this.#sessions
    if ('only' in choice) return [this.#sessions[choice.only]!]
    const others = this.#sessions.filter((_, index) => index !== choice.not)
    return others.some(session => session.lost === undefined) ? others : this.#sessions
  }

  /** Why a run cannot be expected to be taken soon, or undefined. */
  #refusal(choice: SessionChoice | undefined): SluiceError | undefined {
    if (this.#closing) return new SluiceError('session-crashed', 'the session pool was closed')
    const reasons = this.#candidates(choice).map(session => session.lost)
    if (reasons.includes(undefined)) return undefined
    return new SluiceError('session-crashed', `no session is left, and restarts fail: ${reasons[0]}`)
  }

  #onIdle(): void {
    if (this.#closing) return
    this.#reviewCondition()
    this.#serveWaiting()
    if (this.idle > 0) this.#listener()
  }

  #onDown(): void {
    this.#reviewCondition()
    this.#serveWaiting()
  }

  /** Starts the runs that a session is there for, rejects those that none can be expected for, and keeps the others. */
  #serveWaiting(): void {
    for (const waiting of this.#waiting.splice(0)) {
      const { slot, first, rows, choice } = waiting
      const refusal = this.#refusal(choice)
      const session = this.#candidates(choice).find(candidate => this.#isFree(candidate, choice))
      if (refusal !== undefined) waiting.reject(refusal)
      else if (session !== undefined) waiting.resolve(session.run(slot, first, rows))
      else this.#waiting.push(waiting)
    }
  }

  /** The condition is over when all sessions have the model open. */
  #onSlowStart(message: string): void {
    this.#slowStart = true
    this.#options.onCondition?.(new SluiceError('session-opening', message))
  }

  /** Tells people when the last session goes down, and when the first is back. */
  #reviewCondition(): void {
    const down = !this.#sessions.some(session => session.serving)
    if (down === this.#down || this.#closing !== undefined) return
    this.#down = down
    const message = `no session is open: ${this.size === 1 ? 'it starts' : `all ${this.size} start`} again, and records wait`
    this.#options.onCondition?.(down ? new SluiceError('session-crashed', message) : undefined)
  }
}
