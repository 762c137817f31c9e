import { createRequire } from 'node:module'
import { BroadcastChannel, getEnvironmentData, setEnvironmentData } from 'node:worker_threads'
import type { SessionAction } from './points.ts'

/**
 * Orders reach session threads through memory that they share with the main thread: a thread is not in its event loop
 * when its next run begins, so no message would reach it in time, and one order is for one thread, whichever runs first.
 *
 *     [0]  FREE ──main──▶ READY ──the thread that is first──▶ TAKEN ──that thread──▶ FREE      [1] id  [2] action  [3] ms
 */
const WORDS = 4
const FREE = 0
const READY = 1
const TAKEN = 2
const FOR_EVER = -1

const ACTIONS: readonly SessionAction[] = ['crash', 'hang', 'throw']
const NAME = 'sluice-fault-orders'

interface Session {
  run(...args: unknown[]): Promise<unknown>
}

/** For the main thread, before any other is started: prepares the shared memory, and `report`s what threads say. */
export function commandSessions(report: (id: number) => void): void {
  setEnvironmentData(NAME, new Int32Array(new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT)))
  const hits = new BroadcastChannel(NAME)
  hits.onmessage = event => report((event as MessageEvent).data as number)
  hits.unref()
}

/** For the main thread: the next run of any session thread does this. Throws when an order before it is still open. */
export function armSession(id: number, action: SessionAction, ms: number | undefined): void {
  const orders = getEnvironmentData(NAME) as Int32Array
  if (Atomics.load(orders, 0) !== FREE) throw new Error('An order for the session threads has not struck yet.')
  orders.set([id, ACTIONS.indexOf(action), ms ?? FOR_EVER], 1)
  Atomics.store(orders, 0, READY)
}

/** For a session thread: makes its runs look for orders. */
export function watchSession(): void {
  const orders = getEnvironmentData(NAME) as Int32Array
  const hits = new BroadcastChannel(NAME)
  hits.unref()
  const require = createRequire(import.meta.url)
  const { InferenceSession } = require('onnxruntime-node') as { InferenceSession: { prototype: Session } }
  const { prototype } = InferenceSession
  const { run } = prototype
  prototype.run = function runOrObey(this: Session, ...args: unknown[]) {
    if (Atomics.compareExchange(orders, 0, READY, TAKEN) !== READY) return run.apply(this, args)
    const [, id, action, ms] = orders as unknown as [number, number, number, number]
    Atomics.store(orders, 0, FREE)
    // Handed to the other side before this returns, whatever becomes of this thread.
    hits.postMessage(id)
    return obey(ACTIONS[action]!, ms, () => run.apply(this, args))
  }
}

function obey(action: SessionAction, ms: number, run: () => Promise<unknown>): Promise<unknown> {
  if (action === 'throw') return Promise.reject(new Error('fault point: the runtime fails'))
  if (action === 'hang') {
    const never = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
    Atomics.wait(never, 0, 0, ms === FOR_EVER ? Number.POSITIVE_INFINITY : ms)
    return run()
  }
  setImmediate(() => {
    throw new Error('fault point: the session thread crashes')
  })
  return new Promise(() => {})
}
