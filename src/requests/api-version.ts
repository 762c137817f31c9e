import { InferAnswerWriter } from '../api/infer-answer.ts'
import type { InferRequest } from '../api/infer-request.ts'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { InferAnswer } from '../core/inference-api.ts'
import { identityOf, type ModelSpec } from '../core/model.ts'
import type { RowRequest } from '../core/row-request.ts'
import type { BatcherTelemetry } from '../core/telemetry.ts'
import type { TensorColumn } from '../core/tensor.ts'
import type { LendablePool } from '../inference/pool-server.ts'
import { SessionShares } from '../inference/session-shares.ts'
import { Batcher } from '../pipeline/batcher.ts'
import { RequestLane } from '../pipeline/request-lane.ts'
import { Probe } from '../serving/probe.ts'
import type { ServedModel } from '../serving/serving.ts'

interface ApiVersionOptions {
  readonly model: ServedModel
  readonly clock: Clock
  readonly share: number
  readonly maxQueueDelayMs: number
  readonly telemetry: BatcherTelemetry
  /** See `SessionShares`. */
  readonly mostHung: number | undefined
  /**
   * Why requests wait for the sessions; undefined when they do not any more. `requests-hung`, at most once: `mostHung` threads
   * hang, or a batch hangs and the threads that are left are too few to find the row. None is answered any more.
   */
  readonly onCondition: (error: SluiceError | undefined) => void
}

/** What became of a request. */
export interface Outcome {
  readonly answer: (answer: InferAnswer) => void
  readonly refuse: (error: SluiceError) => void
  readonly abandoned: () => boolean
}

/** A model version that answers requests, beside the stream or alone: its lane, its batcher, its part of the sessions. */
export class ApiVersion {
  readonly spec: ModelSpec
  /** What is left of the sessions for the stream. */
  readonly tasks: LendablePool
  readonly #shares: SessionShares
  readonly #lane: RequestLane
  readonly #batcher: Batcher
  readonly #mostHung: number | undefined
  readonly #tell: ApiVersionOptions['onCondition']
  #underWay = 0
  #offering = false
  #idle = Promise.withResolvers<void>()
  /** Why nothing is taken any more. */
  #closed: SluiceError | undefined

  /** Takes `slotsOfGuests` of the pool's slots. */
  constructor(options: ApiVersionOptions) {
    const { model, clock, share, maxQueueDelayMs, telemetry, mostHung } = options
    const { spec, pool, sample } = model
    this.spec = spec
    this.#mostHung = mostHung
    this.#tell = options.onCondition
    this.#lane = new RequestLane({ clock, onWaiting: () => this.#offerSoon() })
    const guestsWait = () => this.#lane.waiting
    this.#shares = new SessionShares({ pool, clock, share, guestSlots: pool.size + 1, guestsWait, mostHung })
    // The runs that find out which row is bad are the guests', too.
    const probe = new Probe(spec, pool, sample, this.#shares.guests)
    this.tasks = this.#shares.tasks
    this.#batcher = new Batcher({
      pool: this.#shares.guests,
      model: identityOf(spec),
      maxQueueDelayMs,
      targetLatencyMs: 0,
      telemetry,
      clock,
      probe: (session, by) => probe.run(session, by),
      onGood: slot => probe.learn(slot),
      onCondition: error => this.#onCondition(error),
    })
  }

  /** Why it takes no requests any more, if that is so. */
  get refusal(): SluiceError | undefined {
    return this.#closed
  }

  /** See `SessionShares`. */
  tasksWaitWhen(wait: (graceMs: number) => boolean): void {
    this.#shares.tasksWaitWhen(wait)
  }

  /** Runs the rows of a request that was parsed for this version. */
  run(request: InferRequest, deadline: number, outcome: Outcome): void {
    if (this.#closed === undefined) {
      this.#underWay++
      this.#lane.add(new Job(this.spec, request, deadline, outcome, () => this.#over()))
    } else outcome.refuse(this.#closed)
  }

  /** Waits until all requests that were taken are answered. */
  async drained(): Promise<void> {
    while (this.#underWay > 0) await this.#idle.promise
  }

  /** Refuses what is still there. */
  close(): void {
    this.#end(new SluiceError('not-ready', `version ${this.spec.version} of ${this.spec.name} was unloaded`))
    this.#tell(undefined)
  }

  /** Requests that came in one turn of the event loop begin in one batch: a message to a session costs more than a row. */
  #offerSoon(): void {
    if (this.#offering) return
    this.#offering = true
    setImmediate(() => {
      this.#offering = false
      this.#batcher.offer(this.#lane)
    })
  }

  #over(): void {
    if (--this.#underWay > 0) return
    this.#idle.resolve()
    this.#idle = Promise.withResolvers()
  }

  #onCondition(error: SluiceError | undefined): void {
    if (error?.response !== 'exit') this.#tell(error)
    else if (error.code === 'sessions-hung' && this.#mostHung !== undefined) this.#giveUp(this.#hung())
    else this.#giveUp(new SluiceError('not-ready', error.message), error)
  }

  /** @param told why, for the owner of the process */
  #giveUp(reason: SluiceError, told = reason): void {
    this.#end(reason)
    this.#tell(told)
  }

  #hung(): SluiceError {
    const { name, version } = this.spec
    const { count } = this.#shares.guests.hung
    const what = `rows of requests have left ${count} session threads hanging`
    return new SluiceError('requests-hung', `${what}: version ${version} of ${name} answers no more requests`)
  }

  /** A batcher that has given up, or was closed, tells nobody what became of its rows. */
  #end(reason: SluiceError): void {
    this.#closed ??= reason
    this.#lane.close(reason)
    this.#batcher.close()
    this.#shares.close()
  }
}

/** A request in the lane of its version. */
class Job implements RowRequest {
  readonly rows: number
  readonly deadline: number
  readonly #request: InferRequest
  readonly #version: string
  readonly #outcome: Outcome
  readonly #writer: InferAnswerWriter
  readonly #onOver: () => void

  constructor(spec: ModelSpec, request: InferRequest, deadline: number, outcome: Outcome, onOver: () => void) {
    this.rows = request.rows
    this.deadline = deadline
    this.#request = request
    this.#version = spec.version
    this.#outcome = outcome
    this.#writer = new InferAnswerWriter(spec, request)
    this.#onOver = onOver
  }

  get abandoned(): boolean {
    return this.#outcome.abandoned()
  }

  pack(inputs: readonly TensorColumn[], from: number, count: number, at: number): void {
    const tensors = this.#request.inputs
    for (let i = 0; i < tensors.length; i++) tensors[i]!.pack(inputs[i]!, from, count, at)
  }

  ran(outputs: readonly TensorColumn[], from: number, count: number, at: number): void {
    this.#writer.take(outputs, from, count, at)
  }

  done(): void {
    this.#outcome.answer(this.#writer.finish(this.#version))
    this.#onOver()
  }

  refuse(error: SluiceError): void {
    this.#outcome.refuse(error)
    this.#onOver()
  }
}
