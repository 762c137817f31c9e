import { API_KEYS, type ApiName } from './apis.ts'
import type { RequestHeader } from './frames.ts'

/** Which frames a fault is for: requests, or their answers, of this API and of clients with this id. All by default. */
export interface Target {
  readonly api?: ApiName
  readonly clientId?: string | RegExp
}

/** Whether a request belongs to the target. */
export function isTarget({ api, clientId }: Target, header: RequestHeader): boolean {
  if (api !== undefined && API_KEYS[api] !== header.apiKey) return false
  if (clientId === undefined) return true
  return typeof clientId === 'string' ? clientId === header.clientId : clientId.test(header.clientId ?? '')
}

/**
 * A fault that is switched on. `hit` is its first effect on real traffic, so that a test waits for that instead of
 * sleeping; it stays pending when nothing is ever hit.
 */
export class ActiveFault {
  /** Resolves when the fault has hit its first frame or connection. */
  readonly hit: Promise<void>
  readonly #resolveHit: () => void
  readonly #lift: () => void
  #hits = 0

  /** `lift` switches it off. */
  constructor(lift: () => void) {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.hit = promise
    this.#resolveHit = resolve
    this.#lift = lift
  }

  /** Frames, ends of connections, or connections that it has hit so far. */
  get hits(): number {
    return this.#hits
  }

  /** Switches it off; what it held back goes on at once. May be called again. */
  lift(): void {
    this.#lift()
  }

  /** For the proxy: the fault has hit once more. */
  count(): void {
    this.#hits++
    this.#resolveHit()
  }
}
