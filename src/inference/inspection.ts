import { availableParallelism } from 'node:os'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { ExternalFile } from '../core/model.ts'
import type { ExternalReference } from './external-data.ts'
import type { SessionReply, TrialRequest } from './messages.ts'
import { type Placement, threadsPerSession } from './placement.ts'
import { availableProviders, usablePlacements } from './providers.ts'
import { openedTooLate, refusalOf } from './session.ts'
import type { GraphSignature } from './signature.ts'
import { Thread } from './thread.ts'
import { Watch } from './watch.ts'

/** How long the thread may take to end; one that does not is left behind. */
const CLOSE_PATIENCE_MS = 5_000

export interface InspectionOptions {
  /** Path of model.onnx. */
  readonly modelFile: string
  /** Of that file, 64 hex digits. */
  readonly sha256: string
  readonly external: readonly ExternalFile[]
  readonly placement: Placement
  /** For opening the model, and for each trial; 0 for any time. */
  readonly timeoutMs: number
  readonly clock: Clock
  /** What the thread runs instead of `session-thread.ts`. */
  readonly threadUrl?: URL
}

/** The graph refers to other files than `external` has: see `SessionPoolOptions` for the same error without the list. */
export class ExternalDataError extends SluiceError {
  readonly references: readonly ExternalReference[]

  constructor(message: string, references: readonly ExternalReference[]) {
    super('external-data', message)
    this.references = references
  }
}

type Awaited = Extract<SessionReply, { kind: 'opened' | 'tried' }>

/**
 * Looks at a model of which nothing is known yet: opens it in a thread of its own, as the pool does, says what the
 * runtime says of the graph, and runs rows that are made up. A model that hangs costs that thread, which is left behind.
 */
export class Inspection {
  readonly #options: InspectionOptions
  readonly #thread: Thread
  readonly #watch: Watch
  #waiting: PromiseWithResolvers<Awaited> | undefined
  #late = openedTooLate
  #signature!: GraphSignature
  #provider = ''

  /**
   * @throws SluiceError `provider-unavailable`, `session-failed`, `model-corrupt`, or `ExternalDataError`; the thread is
   *   gone then, or left behind.
   */
  static async open(options: InspectionOptions): Promise<Inspection> {
    const inspection = new Inspection(options)
    const opened = (await inspection.#answer()) as Extract<Awaited, { kind: 'opened' }>
    inspection.#signature = opened.signature
    inspection.#provider = opened.provider
    return inspection
  }

  private constructor(options: InspectionOptions) {
    const { modelFile, sha256, external, placement, clock } = options
    const { usable } = usablePlacements([placement], availableProviders())
    const nothing = { inputs: [], outputs: [], fixedBatch: null, capacity: 0, slots: [] }
    this.#options = options
    this.#watch = new Watch(clock, () => this.#giveUp())
    this.#thread = new Thread({
      setup: {
        ...nothing,
        modelFile,
        sha256,
        external,
        providers: usable[0]!,
        threads: threadsPerSession(1, usable, availableParallelism()),
      },
      url: options.threadUrl ?? new URL('./session-thread.ts', import.meta.url),
      onMessage: (_, message) => this.#onMessage(message),
      onExit: (_, code) => this.#onExit(code),
    })
  }

  get signature(): GraphSignature {
    return this.#signature
  }

  /** Label of the provider that opened the model. */
  get provider(): string {
    return this.#provider
  }

  /**
   * Runs the graph once; resolves with the shape of each output.
   * @throws SluiceError `inference-failed` when the runtime refuses the rows, `session-failed` when they take too long or
   *   cost the thread
   */
  async tryRows(inputs: TrialRequest['inputs'], outputs: readonly string[]): Promise<readonly (readonly number[])[]> {
    this.#late = ranTooLong
    this.#thread.run({ kind: 'try', inputs, outputs })
    return ((await this.#answer()) as Extract<Awaited, { kind: 'tried' }>).shapes
  }

  /** Ends the thread, after what it does. */
  async close(): Promise<void> {
    await this.#thread.end(this.#options.clock, CLOSE_PATIENCE_MS)
  }

  #answer(): Promise<Awaited> {
    this.#waiting = Promise.withResolvers<Awaited>()
    this.#watch.begin(this.#options.timeoutMs)
    return this.#waiting.promise
  }

  #onMessage(message: SessionReply): void {
    switch (message.kind) {
      case 'opened':
      case 'tried':
        this.#settle()?.resolve(message)
        break
      case 'refused':
        this.#thread.lastWords = refused(this.#options.modelFile, message)
        break
      case 'failed':
        this.#settle()?.reject(new SluiceError('inference-failed', message.reason))
    }
  }

  #onExit(code: number): void {
    const { modelFile } = this.#options
    const reason = this.#thread.lastWords?.message ?? `its thread ended with exit code ${code}`
    this.#settle()?.reject(
      this.#thread.lastWords ?? new SluiceError('session-failed', refusalOf(modelFile, 'session-failed', reason)),
    )
  }

  #giveUp(): void {
    const { modelFile, timeoutMs } = this.#options
    // False: the answer is on its way.
    if (this.#thread.giveUp()) this.#settle()?.reject(this.#late(modelFile, timeoutMs))
  }

  #settle(): PromiseWithResolvers<Awaited> | undefined {
    const waiting = this.#waiting
    this.#waiting = undefined
    this.#watch.end()
    return waiting
  }
}

function refused(modelFile: string, message: Extract<SessionReply, { kind: 'refused' }>): SluiceError {
  const { code, reason, references } = message
  const text = refusalOf(modelFile, code, reason)
  return references === undefined ? new SluiceError(code, text) : new ExternalDataError(text, references)
}

function ranTooLong(modelFile: string, timeoutMs: number): SluiceError {
  return new SluiceError('session-failed', `${modelFile} did not return from made-up rows within ${timeoutMs} ms`)
}
