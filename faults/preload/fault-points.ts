// Loaded into a worker before anything else (node --import), by tests of its faults and by nobody else: the worker itself
// has no line for them. On orders, from SLUICE_FAULT_ORDERS or over the IPC channel, it strikes the process or one of
// its session threads at a named point. The runner's side is arm.ts.

import { isMainThread, threadName } from 'node:worker_threads'
import { type FromWorker, ORDERS_VARIABLE, type Order, type ToWorker } from './points.ts'

if (isMainThread) await takeOrders()
else if (threadName?.startsWith('session ')) (await import('./sessions.ts')).watchSession()

async function takeOrders(): Promise<void> {
  if (process.send === undefined) throw new Error('Fault points need an IPC channel to their runner.')
  const { armPoint, watchRequests } = await import('./requests.ts')
  const { armSession, commandSessions } = await import('./sessions.ts')
  const hit = (id: number) => tell({ faultPoint: 'hit', id })
  watchRequests(hit)
  commandSessions(id => void hit(id))

  const take = (order: Order, id: number) => {
    if ('point' in order) armPoint(id, order.point, order.action, order.occurrence ?? 1)
    else armSession(id, order.session, order.ms)
  }
  const initial = JSON.parse(process.env[ORDERS_VARIABLE] ?? '[]') as Order[]
  for (const [i, order] of initial.entries()) take(order, -1 - i)

  process.on('message', (message: Partial<ToWorker>) => {
    if (message.arm === undefined || message.id === undefined) return
    take(message.arm, message.id)
    void tell({ faultPoint: 'armed', id: message.id })
  })
  // Waiting for orders is no reason to stay.
  process.channel?.unref()
}

/** Resolves when the runner can read it, even if this process is killed at that moment. */
function tell(message: FromWorker): Promise<void> {
  return new Promise(resolve => process.send!(message, () => resolve()))
}
