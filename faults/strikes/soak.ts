import type { Fault, Strike } from '../fault.ts'
import type { Stage } from '../stage.ts'
import { pauseNode } from './brokers.ts'
import { cutAll, disturb, strikeEnd } from './connections.ts'
import { strikeSession } from './sessions.ts'
import { changeReplicas, killOne } from './workers.ts'

/** What may happen at the same time as anything else. */
const STRIKES: readonly ((stage: Stage, turn: number) => Promise<Strike>)[] = [
  killOne,
  changeReplicas,
  pauseNode,
  cutAll,
  disturb,
  strikeEnd,
  stage => strikeSession(stage, 'crash'),
  stage => strikeSession(stage, 'throw'),
]

/** Three different ones at once. Recovery counts from the end of the last. */
async function strikeThreeTimes(stage: Stage): Promise<Strike> {
  const left = [...STRIKES]
  const three = Array.from({ length: 3 }, () => left.splice(stage.random.below(left.length), 1)[0]!)
  const struck = await Promise.all(three.map(strike => settled(stage, strike)))
  const blows = struck.filter(blow => blow !== undefined)
  return {
    since: Date.now(),
    mend: async () => {
      for (const { mend } of blows) await mend?.()
    },
  }
}

/** A worker that another fault killed can no longer be struck: then that one is left out. */
async function settled(stage: Stage, strike: (typeof STRIKES)[number]): Promise<Strike | undefined> {
  return strike(stage, stage.random.below(STRIKES.length)).catch(error => {
    if (/ended before its fault point/.test(String(error))) return undefined
    throw error
  })
}

export const SOAK: readonly Fault[] = [
  {
    name: 'soak',
    what: 'three of these at once, at random, on three brokers behind proxies',
    strikes: 80,
    servers: 'proxied cluster',
    replicas: 3,
    recordsPerSecond: 2_500,
    strike: strikeThreeTimes,
  },
]
