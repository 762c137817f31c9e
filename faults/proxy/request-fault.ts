import { ActiveFault, isTarget, type Target } from './active-fault.ts'
import type { RequestHeader } from './frames.ts'

/**
 * What can be done to one request.
 *
 * | kind | what happens |
 * | --- | --- |
 * | `hold` | it waits in the proxy, and all that follows on its connection with it, as behind a lost packet |
 * | `double` | the broker gets it twice, back to back; the client gets the first answer only |
 * | `drop-answer` | the broker carries it out; the client waits for an answer that never comes |
 * | `cut-after-request` | it is passed on, and the client's connection reset at once |
 * | `cut-before-answer` | the broker has answered it, and instead of the answer the client gets a reset |
 */
export type RequestFaultKind = 'hold' | 'double' | 'drop-answer' | 'cut-after-request' | 'cut-before-answer'

/**
 * A fault that hits one request and is over. While it waits for that request, `lift()` calls it off; a request that is
 * held is let go by it.
 *
 *     armed ──a request that matches──▶ hit ──the broker answers, or its connection closes──▶ answered
 *       └───────── lift() ──▶ called off
 */
export class RequestFault extends ActiveFault {
  readonly kind: RequestFaultKind
  /**
   * What the broker answered, after the correlation id, whether the client gets to see it or not; of a doubled request the
   * second answer. Undefined when the connection to the broker closed before that. Pending until the fault is hit.
   */
  readonly answer: Promise<Buffer | undefined>
  /** Resolves when a held request may go. */
  readonly released: Promise<void>
  readonly settle: (answer: Buffer | undefined) => void
  readonly #release: () => void
  readonly #holdMs: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(kind: RequestFaultKind, holdMs: number | undefined, disarm: (fault: RequestFault) => void) {
    const answer = Promise.withResolvers<Buffer | undefined>()
    const released = Promise.withResolvers<void>()
    super(() => {
      clearTimeout(this.#timer)
      disarm(this)
      released.resolve()
    })
    this.kind = kind
    this.answer = answer.promise
    this.settle = answer.resolve
    this.released = released.promise
    this.#release = released.resolve
    this.#holdMs = holdMs
  }

  override count(): void {
    if (this.#holdMs !== undefined) this.#timer = setTimeout(this.#release, this.#holdMs)
    super.count()
  }
}

/** The faults that wait for their request. */
export class ArmedFaults {
  readonly #armed = new Map<RequestFault, Target>()
  /** All that were ever hit and are not over, so that nothing is held when the proxy closes. */
  readonly #held = new Set<RequestFault>()

  arm(kind: RequestFaultKind, target: Target, holdMs: number | undefined): RequestFault {
    const fault = new RequestFault(kind, holdMs, lifted => {
      this.#armed.delete(lifted)
      this.#held.delete(lifted)
    })
    this.#armed.set(fault, target)
    return fault
  }

  /** The fault that was armed first of those for this request, which it has now hit. */
  take(header: RequestHeader): RequestFault | undefined {
    for (const [fault, target] of this.#armed) {
      if (!isTarget(target, header)) continue
      this.#armed.delete(fault)
      if (fault.kind === 'hold') this.#hold(fault)
      fault.count()
      return fault
    }
    return undefined
  }

  /** Calls off what waits for its request, and lets go what is held. */
  clear(): void {
    for (const fault of [...this.#armed.keys(), ...this.#held]) fault.lift()
  }

  #hold(fault: RequestFault): void {
    this.#held.add(fault)
    void fault.released.then(() => this.#held.delete(fault))
  }
}
