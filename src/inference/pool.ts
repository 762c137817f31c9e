import { availableParallelism } from 'node:os'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { RunTimings, SessionPool } from '../core/inference.ts'
import type { Log } from '../core/log.ts'
import type { ModelSpec } from '../core/model.ts'
import type { TensorSlot } from '../core/tensor.ts'
import { type Placement, threadsPerSession } from './placement.ts'
import { availableProviders, usablePlacements } from './providers.ts'
import { Session } from './session.ts'
import { checkSignature, type GraphSignature } from './signature.ts'
import { slotCapacity, TensorSlots } from './slots.ts'

const THREAD_URL = new URL('./session-thread.ts', import.meta.url)

/** How long the end of the process may wait for runs in the runtime; a GPU that hangs must not hold it for ever. */
const EXIT_PATIENCE_MS = 5_000

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
  /** Default: two for each session. */
  readonly slots?: number
  /** Shared memory of one slot at most, in bytes. Default: 64 MiB. */
  readonly slotBytes?: number
  readonly log: Log
  readonly clock: Clock
  /** What the threads run instead of `session-thread.ts`. */
  readonly threadUrl?: URL
}

/** A `SessionPool`, and what is known of it once it is open. */
export interface OnnxSessionPool extends SessionPool {
  /** Rows that each slot holds. */
  readonly slotCapacity: number
  /** Where the sessions run, in the order of `sessions`: `['cuda:0', 'cpu']`. */
  readonly providers: readonly string[]
}

/**
 * Opens a model in as many threads as there are placements, all at once.
 * @throws SluiceError `provider-unavailable`, `session-failed`, `model-corrupt` (model.onnx is missing or has another
 *   hash than `spec`) or `model-signature`; no thread is left then.
 */
export async function createSessionPool(options: SessionPoolOptions): Promise<OnnxSessionPool> {
  const { spec, modelFile, log } = options
  const { usable, leftOut } = usablePlacements(options.sessions, availableProviders())
  if (leftOut.length > 0) log.warn({ leftOut }, 'Providers of SESSIONS that are not installed here were left out')
  const threads = threadsPerSession(options.intraOpThreads, usable, availableParallelism())
  const pool = new Pool(options, usable, threads)
  try {
    checkSignature(modelFile, spec, await pool.start())
  } catch (error) {
    await pool.close()
    throw error
  }
  const { size, providers, slotCapacity: rows } = pool
  log.info({ model: spec.name, version: spec.version, size, providers, threads, rows }, 'The session pool is open')
  return pool
}

interface Waiting {
  readonly slot: TensorSlot
  readonly first: number
  readonly rows: number
  readonly resolve: (timings: Promise<RunTimings>) => void
  readonly reject: (error: SluiceError) => void
}

/**
 * The pool: slots, sessions, and the runs that wait for a session, first come first served. What one session goes
 * through is drawn at `Session`. Of several idle sessions the first in the order of SESSIONS takes the run.
 *
 * Runs wait while a session can be expected, a crashed one that restarts too. They are rejected once the last session
 * has failed to open the model again, so that the caller can tell people; restarts go on meanwhile.
 */
class Pool implements OnnxSessionPool {
  readonly #slots: TensorSlots
  readonly #sessions: readonly Session[]
  readonly #waiting: Waiting[] = []
  #listener = () => {}
  #closing: Promise<void> | undefined
  /** `process.exit` amid a run would abort the process instead (see `Session.close`), with another exit code. */
  readonly #onProcessExit = () => {
    const deadline = performance.now() + EXIT_PATIENCE_MS
    for (const session of this.#sessions) session.awaitRuntime(Math.max(0, deadline - performance.now()))
  }

  constructor(options: SessionPoolOptions, placements: readonly Placement[], threads: number) {
    const { modelFile, spec, log, clock } = options
    const capacity = slotCapacity(spec, options.maxBatchSize, options.slotBytes)
    this.#slots = new TensorSlots(spec, options.slots ?? SLOTS_PER_SESSION * placements.length, capacity)
    this.#sessions = placements.map(providers => {
      const { sha256, inputs, outputs, fixedBatch } = spec
      const { shared: slots } = this.#slots
      const setup = {
        modelFile,
        sha256,
        inputs,
        outputs,
        fixedBatch,
        capacity,
        slots,
        providers,
        threads,
      }
      const threadUrl = options.threadUrl ?? THREAD_URL
      const onIdle = () => this.#onIdle()
      return new Session({ setup, threadUrl, log, clock, onIdle, onLost: () => this.#onLost() })
    })
  }

  get idle(): number {
    return this.#closing ? 0 : this.#sessions.filter(session => session.idle).length
  }

  get size(): number {
    return this.#sessions.length
  }

  get slotCapacity(): number {
    return this.#slots.capacity
  }

  get providers(): string[] {
    return this.#sessions.map(session => session.provider)
  }

  /** Resolves when all sessions have the model open, with what the runtime says of it. */
  async start(): Promise<GraphSignature> {
    process.once('exit', this.#onProcessExit)
    const [signature] = await Promise.all(this.#sessions.map(session => session.start()))
    return signature!
  }

  acquire(): TensorSlot | undefined {
    return this.#closing ? undefined : this.#slots.acquire()
  }

  release(slot: TensorSlot): void {
    this.#slots.release(slot)
    this.#listener()
  }

  run(slot: TensorSlot, first: number, rows: number): Promise<RunTimings> {
    if (this.#closing) return Promise.reject(closed())
    if (!this.#slots.isLent(slot) || !(first >= 0 && rows >= 1 && first + rows <= slot.capacity)) {
      const range = `rows ${first} to ${first + rows} of slot ${slot.id}, which holds ${slot.capacity}`
      return Promise.reject(new SluiceError('internal', `cannot run ${range}: out of range, or the slot is not lent`))
    }
    const lost = this.#lost()
    if (lost !== undefined) return Promise.reject(lost)
    const session = this.#sessions.find(candidate => candidate.idle)
    if (session !== undefined) return session.run(slot, first, rows)
    return new Promise((resolve, reject) => this.#waiting.push({ slot, first, rows, resolve, reject }))
  }

  onAvailable(listener: () => void): void {
    this.#listener = listener
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeSessions()
    this.#rejectWaiting(closed())
    return this.#closing
  }

  async #closeSessions(): Promise<void> {
    await Promise.all(this.#sessions.map(session => session.close()))
    process.off('exit', this.#onProcessExit)
  }

  #onIdle(): void {
    if (this.#closing) return
    const next = this.#waiting.shift()
    if (next === undefined) this.#listener()
    else next.resolve(this.run(next.slot, next.first, next.rows))
  }

  #onLost(): void {
    const lost = this.#lost()
    if (lost !== undefined) this.#rejectWaiting(lost)
  }

  /** The reason when no session can be expected soon. */
  #lost(): SluiceError | undefined {
    const reasons = this.#sessions.map(session => session.lost)
    if (reasons.includes(undefined)) return undefined
    return new SluiceError('session-crashed', `no session is left, and restarts fail: ${reasons[0]}`)
  }

  #rejectWaiting(error: SluiceError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }
}

function closed(): SluiceError {
  return new SluiceError('session-crashed', 'the session pool was closed')
}
