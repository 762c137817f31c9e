import { createRequire } from 'node:module'
import { type FaultPoint, type FaultPointName, faultPoints, type PointAction } from './points.ts'

interface Exchange {
  readonly request: { readonly apiName: string }
}
interface ConnectionPool {
  send(exchange: Exchange): Promise<unknown>
}

/** An order for a fault point that has not struck yet. */
interface ArmedPoint {
  readonly id: number
  readonly at: FaultPoint
  readonly action: PointAction
  /** Times to come by until it strikes. */
  left: number
}

const armed: ArmedPoint[] = []

/** Resolves when the runner has been told of a hit; only then the point strikes. */
let report: (id: number) => Promise<void>

/**
 * Makes every request of this process come by the fault points. All of them, kafkajs's own and Sluice's, go through
 * `ConnectionPool.send`, which is a stable seam: kafkajs 2.2.4 is pinned. What is not aimed at takes the same turns as
 * without us, so that nothing changes its order.
 */
export function watchRequests(reportHit: (id: number) => Promise<void>): void {
  report = reportHit
  const require = createRequire(import.meta.url)
  const { prototype } = require('kafkajs/src/network/connectionPool.js') as { prototype: ConnectionPool }
  const { send } = prototype
  prototype.send = function sendByFaultPoints(this: ConnectionPool, exchange: Exchange) {
    const { apiName } = exchange.request
    if (!armed.some(({ at }) => at.api === apiName)) return send.call(this, exchange)
    return sendStruck(apiName, () => send.call(this, exchange))
  }
}

/** Arms a point: it strikes at the `occurrence`th time from now that this process comes by it, and is over. */
export function armPoint(id: number, point: FaultPointName, action: PointAction, occurrence: number): void {
  armed.push({ id, at: faultPoints[point], action, left: occurrence })
}

async function sendStruck(apiName: string, send: () => Promise<unknown>): Promise<unknown> {
  await comeBy(apiName, 'before')
  const answer = await send()
  await comeBy(apiName, 'after')
  return answer
}

async function comeBy(apiName: string, when: FaultPoint['when']): Promise<void> {
  const due = armed.filter(({ at }) => at.api === apiName && at.when === when).filter(point => --point.left === 0)
  for (const point of due) {
    armed.splice(armed.indexOf(point), 1)
    await report(point.id)
    act(point)
  }
}

/** A signal to oneself is delivered before the call returns: nothing is sent, or handed on, after it. */
function act({ action, at }: ArmedPoint): void {
  if (action !== 'connection-error') {
    process.kill(process.pid, action)
    return
  }
  const require = createRequire(import.meta.url)
  const { KafkaJSConnectionError } = require('kafkajs/src/errors.js') as {
    KafkaJSConnectionError: new (message: string) => Error
  }
  throw new KafkaJSConnectionError(`Connection error: fault point ${at.when} ${at.api}`)
}
