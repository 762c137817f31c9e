import type { Fault, Strike } from '../fault.ts'
import type { Stage } from '../stage.ts'
import { pauseNode } from './brokers.ts'
import { cutAll, disturb, strikeEnd } from './connections.ts'
import { strikeSession } from './sessions.ts'
import { changeReplicas, killOne } from './workers.ts'

/** What may happen at the same time as anything else. Each takes its own worker, if it strikes one. */
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

async function strikeThreeTimes(stage: Stage, turn: number): Promise<Strike> {
  const left = [...STRIKES]
  const three = Array.from({ length: 3 }, () => left.splice(stage.random.below(left.length), 1)[0]!)
  const struck = await Promise.all(three.map((strike, i) => strike(stage, turn + i)))
  return {
    since: Date.now(),
    mend: async () => {
      for (const { mend } of struck) await mend?.()
    },
  }
}

export const THREE_AT_ONCE: readonly Fault[] = [
  {
    name: 'three-at-once',
    what: 'three different ones at once, at random, on three brokers behind proxies; at least a million records',
    strikes: 80,
    servers: 'proxied cluster',
    replicas: 4,
    recordsPerSecond: 2_500,
    strike: strikeThreeTimes,
  },
]
