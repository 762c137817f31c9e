import type { Fault, Strike } from '../fault.ts'
import type { ActiveFault } from '../proxy/active-fault.ts'
import type { KafkaProxy } from '../proxy/kafka-proxy.ts'
import type { RequestFaultKind } from '../proxy/request-fault.ts'
import type { Stage } from '../stage.ts'

const LONGEST_MS = 8_000

/** Nothing, or little, passes for a while; recovery counts from the end of it. */
async function lasting(stage: Stage, begin: (proxy: KafkaProxy) => ActiveFault): Promise<Strike> {
  const fault = begin(stage.anyProxy())
  await fault.hit
  await stage.forMs(stage.random.below(LONGEST_MS))
  fault.lift()
  return { since: Date.now() }
}

const DISTURBANCES: readonly ((stage: Stage) => Promise<Strike>)[] = [
  cutAll,
  stage => lasting(stage, proxy => proxy.block('both')),
  stage => lasting(stage, proxy => proxy.block('requests')),
  stage => lasting(stage, proxy => proxy.block('answers')),
  stage => lasting(stage, proxy => proxy.delay(50 + stage.random.below(500))),
  stage => lasting(stage, proxy => proxy.throttle(20_000 + stage.random.below(200_000))),
  refuseAndCut,
]

/** All connections at once, by a reset or by an end in good order. */
export async function cutAll(stage: Stage): Promise<Strike> {
  const since = Date.now()
  stage.anyProxy().cut(stage.random.below(2) === 0 ? 'reset' : 'end')
  return { since }
}

/** As if the broker were not there, while it is. */
async function refuseAndCut(stage: Stage): Promise<Strike> {
  const proxy = stage.anyProxy()
  const refusal = proxy.refuse()
  proxy.cut('reset')
  await stage.forMs(stage.random.below(LONGEST_MS))
  refusal.lift()
  return { since: Date.now() }
}

export function disturb(stage: Stage, turn: number): Promise<Strike> {
  return DISTURBANCES[turn % DISTURBANCES.length]!(stage)
}

const END_FAULTS: readonly (readonly [kind: RequestFaultKind, holdMs?: number])[] = [
  ['hold', 7_000], // beyond REQUEST_TIMEOUT_MS: it arrives when the task has long begun anew
  ['double'],
  ['drop-answer'],
  ['cut-after-request'],
  ['cut-before-answer'],
  ['hold', 1_000],
]

/** One EndTxn is late, comes twice, or is not answered: the next one, whichever broker it goes to. */
export async function strikeEnd(stage: Stage, turn: number): Promise<Strike> {
  const [kind, holdMs] = END_FAULTS[turn % END_FAULTS.length]!
  const armed = stage.servers.proxies.map(proxy => proxy.strikeNext(kind, { api: 'EndTxn' }, holdMs))
  await Promise.race(armed.map(({ hit }) => hit))
  const since = Date.now()
  for (const fault of armed) if (fault.hits === 0) fault.lift()
  const struck = armed.filter(({ hits }) => hits > 0)
  // What is held arrives before the next strike: later it would be somebody else's.
  return { since, mend: async () => void (await Promise.all(struck.map(({ answer }) => answer))) }
}

export const CONNECTION_FAULTS: readonly Fault[] = [
  {
    name: 'connections',
    what: 'connections cut, half-open in both or in one direction, delayed, throttled, refused, for up to 8 s',
    strikes: 56,
    short: [0, 1],
    servers: 'proxied',
    strike: disturb,
  },
  {
    name: 'end-of-transaction',
    what: 'an EndTxn that comes late, comes twice, or whose answer is lost',
    strikes: 30,
    short: [0, 1, 2],
    servers: 'proxied',
    strike: strikeEnd,
  },
]
