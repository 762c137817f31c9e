import type { Timer } from '../../src/core/clock.ts'
import type { Asked, Network } from './fake-kafka/fake-kafka.ts'
import { randomFrom, seedFor } from './random.ts'
import type { SimClock } from './sim-clock.ts'
import type { SimProcess } from './sim-process.ts'

/**
 * What becomes of a request, and of those that follow it on the same connection until the client opens another:
 *
 *   lost        nothing arrives any more, and nobody says so
 *   late        it all arrives after `delayMs`, in order; usually the client has given up by then
 *   unanswered  it is carried out, and no answer comes back
 *   doubled     it arrives twice, one right behind the other
 *   refused     the connection closes before it arrives
 *   cut         the connection closes once it is carried out, before the answer
 */
export type Fate =
  | { readonly kind: 'lost' | 'unanswered' | 'doubled' | 'refused' | 'cut' }
  | { readonly kind: 'late'; readonly delayMs: number }

/** The fate of the request that comes after `skip` others of this kind. */
export interface Fault {
  /** Kafka's name of the request, in lower case; `any` for every one. */
  readonly api: string
  readonly skip: number
  readonly fate: Fate
}

export interface SimNetworkOptions {
  readonly time: SimClock
  /** Of the process whose requests it carries: its timers, and its death. */
  readonly process: SimProcess
  readonly seed: number
  readonly requestTimeoutMs: number
  /** A join is answered when the group is complete. */
  readonly joinTimeoutMs: number
  /** Hears of everything that is not an answer in time. */
  readonly trace: (event: string) => void
}

/** The network between one replica and the brokers. */
export class SimNetwork {
  readonly #options: SimNetworkOptions
  readonly #connections = new Map<string, Connection>()
  #faults: { readonly fault: Fault; skip: number }[] = []

  constructor(options: SimNetworkOptions) {
    this.#options = options
  }

  readonly send: Network = (asked, deliver) => {
    const name = `${asked.clientId} to ${asked.node}`
    let connection = this.#connections.get(name)
    if (connection === undefined) {
      connection = new Connection(this.#options, name, () => {
        if (this.#connections.get(name) === connection) this.#connections.delete(name)
      })
      this.#connections.set(name, connection)
    }
    const fate = this.#fateOf(asked.api.toLowerCase())
    if (fate !== undefined) this.#options.trace(`${asked.api} of ${asked.clientId}: ${textOf(fate)}`)
    return connection.send(asked, deliver, fate)
  }

  /** Every connection closes; what was on its way is gone. */
  cut(): void {
    for (const connection of this.#connections.values()) connection.close()
  }

  arm(fault: Fault): void {
    this.#faults.push({ fault, skip: fault.skip })
  }

  /** From now on requests are answered; what is late still arrives. */
  heal(): void {
    this.#faults = []
  }

  #fateOf(api: string): Fate | undefined {
    const at = this.#faults.findIndex(({ fault }) => fault.api === 'any' || fault.api === api)
    const armed = this.#faults[at]
    if (armed === undefined || armed.skip-- > 0) return undefined
    this.#faults.splice(at, 1)
    return armed.fault.fate
  }
}

export function textOf(fate: Fate): string {
  return fate.kind === 'late' ? `late by ${fate.delayMs} ms` : fate.kind
}

interface Request {
  readonly asked: Asked
  readonly deliver: () => Promise<unknown>
  readonly fate: Fate | undefined
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
  timer: Timer | undefined
  settled: boolean
}

/** Requests arrive in the order in which they were sent, are served one at a time, and answered in that order. */
class Connection {
  readonly #options: SimNetworkOptions
  readonly #random: () => number
  readonly #onGone: () => void
  readonly #pending = new Set<Request>()
  readonly #arrived: Request[] = []
  #serving = false
  #lastArrivalAt = 0
  #lastAnswerAt = 0
  #state: 'open' | 'lost' | 'mute' | 'closed' = 'open'

  /** @param onGone the next request goes over another connection */
  constructor(options: SimNetworkOptions, name: string, onGone: () => void) {
    this.#options = options
    this.#random = randomFrom(seedFor(options.seed, `${name} ${options.time.now()}`))
    this.#onGone = onGone
  }

  send(asked: Asked, deliver: () => Promise<unknown>, fate: Fate | undefined): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const request: Request = { asked, deliver, fate, resolve, reject, timer: undefined, settled: false }
    const { process, requestTimeoutMs, joinTimeoutMs } = this.#options
    const limit = asked.api.toLowerCase() === 'joingroup' ? joinTimeoutMs : requestTimeoutMs
    request.timer = process.clock.after(limit, () => this.#giveUp(request))
    this.#pending.add(request)
    this.#dispatch(request)
    return promise
  }

  #dispatch(request: Request): void {
    const { time } = this.#options
    const { fate } = request
    if (fate?.kind === 'lost') this.#state = 'lost'
    if (this.#state === 'lost' || this.#state === 'closed') return
    const travel = fate?.kind === 'late' ? fate.delayMs : this.#travelMs()
    this.#lastArrivalAt = Math.max(this.#lastArrivalAt, time.now() + travel)
    time.after(this.#lastArrivalAt - time.now(), () => {
      if (this.#state === 'closed') return
      if (fate?.kind === 'refused') return this.close()
      this.#arrived.push(request)
      if (!this.#serving) void this.#serve()
    })
  }

  async #serve(): Promise<void> {
    this.#serving = true
    for (let request = this.#arrived.shift(); request !== undefined; request = this.#arrived.shift()) {
      const { deliver, fate } = request
      const settle = await outcomeOf(deliver)
      if (fate?.kind === 'doubled') await outcomeOf(deliver)
      if (fate?.kind === 'unanswered') this.#state = 'mute'
      if (fate?.kind === 'cut') this.close()
      this.#answer(request, settle)
    }
    this.#serving = false
  }

  #answer(request: Request, settle: (request: Request) => void): void {
    const { time, process } = this.#options
    if (this.#state === 'mute' || this.#state === 'closed') return
    this.#lastAnswerAt = Math.max(this.#lastAnswerAt, time.now() + this.#travelMs())
    time.after(this.#lastAnswerAt - time.now(), () => {
      if (this.#state === 'mute' || this.#state === 'closed') return
      process.post(() => this.#settle(request, settle))
    })
  }

  #giveUp(request: Request): void {
    if (request.settled) return
    this.#options.trace(`${request.asked.api} of ${request.asked.clientId} timed out`)
    this.#onGone()
    this.#settle(request, ({ reject }) => reject(noAnswer('KafkaJSRequestTimeoutError', request.asked)))
  }

  /** Whoever waits for an answer hears of it. */
  close(): void {
    this.#state = 'closed'
    this.#arrived.length = 0
    this.#options.process.post(() => {
      this.#onGone()
      for (const request of this.#pending) {
        this.#settle(request, ({ reject }) => reject(noAnswer('KafkaJSConnectionClosedError', request.asked)))
      }
    })
  }

  #settle(request: Request, settle: (request: Request) => void): void {
    if (request.settled) return
    request.settled = true
    request.timer?.cancel()
    this.#pending.delete(request)
    settle(request)
  }

  /** Mostly about a millisecond; now and then long enough for others to do a whole transaction. */
  #travelMs(): number {
    const luck = this.#random()
    const scale = luck < 0.85 ? 2 : luck < 0.98 ? 10 : 60
    return 0.1 + this.#random() * scale
  }
}

async function outcomeOf(deliver: () => Promise<unknown>): Promise<(request: Request) => void> {
  try {
    const answer = await deliver()
    return ({ resolve }) => resolve(answer)
  } catch (error) {
    return ({ reject }) => reject(error as Error)
  }
}

/** As kafkajs says that no answer came. */
function noAnswer(name: string, { api, clientId, node }: Asked): Error {
  return Object.assign(new Error(`${api} of ${clientId} to broker ${node} got no answer`), { name })
}
