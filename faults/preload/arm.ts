import type { ChildProcess } from 'node:child_process'
import { type FromWorker, ORDERS_VARIABLE, type Order, type ToWorker } from './points.ts'

/** For `node --import`, in the command line of a worker that is to take orders; it needs an IPC channel. */
export const PRELOAD = new URL('fault-points.ts', import.meta.url).href

/** An order that a worker has. */
export interface Armed {
  /**
   * Resolves when the worker is about to carry it out. Rejects when the worker ends without; nobody has to wait for it.
   */
  readonly hit: Promise<void>
}

let lastId = 0

/** Gives a running worker an order. Resolves when it has it. Rejects when the worker ends before that. */
export async function arm(child: ChildProcess, order: Order): Promise<Armed> {
  const id = ++lastId
  const gone = new AbortController()
  const armed = said(child, 'armed', id, gone.signal)
  const hit = said(child, 'hit', id, gone.signal)
  child.send({ arm: order, id } satisfies ToWorker, error => {
    if (error !== null) gone.abort()
  })
  await armed
  return { hit }
}

/** Environment of a worker that has these orders from its first moment; `hit(child, n)` awaits the nth. */
export function withOrders(orders: readonly Order[]): Record<string, string> {
  return { [ORDERS_VARIABLE]: JSON.stringify(orders) }
}

/** Resolves when a worker that was started with orders is about to carry out the nth of them, counted from 0. */
export function hit(child: ChildProcess, n = 0): Promise<void> {
  return said(child, 'hit', -1 - n)
}

function said(
  child: ChildProcess,
  what: FromWorker['faultPoint'],
  id: number,
  gone: AbortSignal = new AbortController().signal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const hear = (message: unknown) => {
    const { faultPoint, id: about } = message as Partial<FromWorker>
    if (faultPoint === what && about === id) resolve()
  }
  const end = () => reject(new Error(`Process ${child.pid} ended before its fault point was ${what}.`))
  const forget = () => {
    child.off('message', hear)
    child.off('disconnect', end)
    gone.removeEventListener('abort', end)
  }
  child.on('message', hear)
  child.on('disconnect', end)
  gone.addEventListener('abort', end)
  // Both, so that a rejection that nobody waits for is no error.
  promise.then(forget, forget)
  return promise
}
