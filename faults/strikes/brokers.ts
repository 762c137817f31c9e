import type { Broker } from '../../dev/broker.ts'
import type { Fault, Strike } from '../fault.ts'
import type { Stage } from '../stage.ts'

/** What is promised of a broker that comes back. */
const BACK_LIMIT_MS = 5_000

/** The only broker ends in this way, and is back a moment later. */
async function restart(stage: Stage, end: (broker: Broker) => Promise<void>): Promise<Strike> {
  const broker = stage.servers.nodes[0]!
  await end(broker)
  await stage.moment(2_000)
  await broker.start()
  return { since: Date.now() }
}

/** The others take over what the node led; only when they have, it comes back. */
export async function crashNode(stage: Stage, turn: number): Promise<Strike> {
  const node = stage.servers.nodes[turn % stage.servers.nodes.length]!
  const since = Date.now()
  await node.kill()
  return { since, mend: () => bringBack(stage, node) }
}

async function bringBack(stage: Stage, node: Broker): Promise<void> {
  await node.start()
  await stage.servers.inSync()
}

const SHORTEST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 8_000

/** From a hiccup that nobody notices to a pause in which sessions and requests time out. */
export async function pauseNode(stage: Stage): Promise<Strike> {
  const { nodes } = stage.servers
  const node = nodes[stage.random.below(nodes.length)]!
  node.pause()
  await stage.forMs(SHORTEST_PAUSE_MS + stage.random.below(LONGEST_PAUSE_MS - SHORTEST_PAUSE_MS))
  node.resume()
  return { since: Date.now(), mend: () => stage.servers.inSync() }
}

export const BROKER_FAULTS: readonly Fault[] = [
  {
    name: 'broker-kill',
    what: 'SIGKILL of the only broker, and its restart',
    strikes: 30,
    short: [0],
    servers: 'broker',
    limitMs: BACK_LIMIT_MS,
    strike: stage => restart(stage, broker => broker.kill()),
  },
  {
    name: 'broker-stop',
    what: 'an orderly restart of the only broker',
    strikes: 10,
    servers: 'broker',
    limitMs: BACK_LIMIT_MS,
    strike: stage => restart(stage, broker => broker.stop({ keepData: true })),
  },
  {
    name: 'broker-pause',
    what: 'SIGSTOP of the only broker for up to 8 s',
    strikes: 10,
    servers: 'broker',
    limitMs: BACK_LIMIT_MS,
    strike: pauseNode,
  },
  {
    name: 'node-kill',
    what: 'SIGKILL of one of three brokers in turn; the other two go on without it',
    strikes: 20,
    servers: 'cluster',
    strike: crashNode,
  },
  {
    name: 'node-pause',
    what: 'SIGSTOP of one of three brokers for up to 8 s',
    strikes: 10,
    servers: 'cluster',
    strike: pauseNode,
  },
]
