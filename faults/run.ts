// Strikes Sluice with faults, on a Kafka of its own, and shows that nothing is lost, doubled or out of order.
//
//   npm run faults [-- --fault NAME… --count N --seed S --short --record --json --list]

import { cp, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readOptions, refuse, wholeNumber } from '../dev/command-line.ts'
import { messageOf } from '../src/core/errors.ts'
import { CATALOGUE } from './catalogue.ts'
import type { Fault } from './fault.ts'
import { type FaultResult, forget, holds, lateness, record, resultTable } from './results.ts'
import { runFault } from './run-fault.ts'
import { type Servers, startServers } from './servers.ts'

const HELP = `npm run faults [-- options]

Starts a Kafka of its own and real workers, strikes them while records flow, and lets the audit judge: exit code 0 when
no record is lost, doubled or out of order and every recovery is in time. All faults of the catalogue one after
another unless told; that takes about two hours.

  --fault NAME   only this one; may be given more than once
  --count N      strikes, instead of the fault's own number
  --seed S       repeats the random choices of a run (not its timing)
  --short        the selection that is part of the tests, with few strikes
  --record       keeps the results in docs/reliability.json
  --json         prints the results as JSON
  --list         prints the catalogue

Example: npm run faults -- --fault worker-kill --count 10`

const options = readOptions(HELP, {
  fault: { type: 'string', multiple: true, default: [] },
  count: { type: 'string' },
  seed: { type: 'string' },
  short: { type: 'boolean', default: false },
  record: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  list: { type: 'boolean', default: false },
})
const NAMES = CATALOGUE.map(({ name }) => name)
const COUNT = options.count === undefined ? undefined : wholeNumber('count', options.count, 0, 1)
const SEED = wholeNumber('seed', options.seed, Date.now() % 1_000_000)
let servers: Servers | undefined

const say = (line: string) => console.error(line)

function chosen(): Fault[] {
  const unknown = options.fault.filter(name => !NAMES.includes(name))
  if (unknown.length > 0) refuse(`No fault is called ${unknown.join(', ')}`)
  if (options.record && (options.short || COUNT !== undefined)) refuse('Only whole runs are recorded')
  return CATALOGUE.filter(({ name, short }) => {
    if (options.fault.length > 0) return options.fault.includes(name)
    return !options.short || short !== undefined
  })
}

function turnsOf({ strikes, short }: Fault): readonly number[] {
  if (options.short && COUNT === undefined && short !== undefined) return short
  return Array.from({ length: COUNT ?? strikes }, (_, turn) => turn)
}

async function closeServers(): Promise<void> {
  const open = servers
  servers = undefined
  await open?.close()
}

/**
 * Faults on servers of one kind share them; the next kind gets new ones, and so does the fault after one that could not be
 * brought to its end.
 * @returns the results, and how many faults have none
 */
async function runAll(faults: readonly Fault[]): Promise<{ results: FaultResult[]; failures: number }> {
  const results: FaultResult[] = []
  let failures = 0
  for (const fault of faults) {
    if (servers?.kind !== fault.servers) await closeServers()
    try {
      servers ??= await startServers(fault.servers, say)
      const result = await runOne(fault, servers)
      results.push(result)
      if (options.record) record(result, NAMES)
    } catch (error) {
      say(`  FAILED: ${messageOf(error)}`)
      failures++
      if (options.record) forget(fault.name)
      if (servers !== undefined) say(`  What the brokers had on disk is kept in ${await keepFolders(servers)}`)
      await closeServers()
    }
  }
  await closeServers()
  return { results, failures }
}

/** Logs and data of the brokers as they are now, for whoever has to find out what happened. Returns where they are. */
async function keepFolders({ nodes }: Servers): Promise<string> {
  const kept = await mkdtemp(join(tmpdir(), 'sluice-faults-'))
  for (const [i, { folder }] of nodes.entries()) {
    await cp(folder, join(kept, `broker-${i + 1}`), { recursive: true }).catch(error => say(`  ${messageOf(error)}`))
  }
  return kept
}

async function runOne(fault: Fault, on: Servers): Promise<FaultResult> {
  const turns = turnsOf(fault)
  say(`${fault.name}: ${fault.what}; ${turns.length} strikes, seed ${SEED}`)
  let struck = 0
  const onStrike = (ms: number) => say(`  ${++struck}/${turns.length} recovered in ${(ms / 1000).toFixed(2)} s`)
  const result = await runFault(fault, on, { turns, seed: SEED, onStrike })
  say(`  ${holds(result) ? 'holds' : 'DOES NOT HOLD'}: ${summary(result)}`)
  return result
}

function summary(result: FaultResult): string {
  const { records, lost, doubled, misordered, wrong, otherFaults, examples, seconds } = result
  const counts = `lost ${lost}, doubled ${doubled}, misordered ${misordered}, wrong ${wrong}, other ${otherFaults}`
  const first = `${records} records, ${counts}; ${seconds} s${lateness(result)}`
  return [first, ...examples].join('\n    ')
}

async function main(): Promise<number> {
  if (options.list) {
    for (const { name, strikes, what } of CATALOGUE)
      console.log(`${name.padEnd(24)} ${String(strikes).padStart(4)}  ${what}`)
    return 0
  }
  const { results, failures } = await runAll(chosen())
  console.log(options.json ? JSON.stringify(results, null, 2) : resultTable(results))
  return failures === 0 && results.every(holds) ? 0 : 1
}

// Workers and brokers end with this process, whatever ends it; a disk that was mounted does not.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => void closeServers().finally(() => process.exit(code)))
}
process.exitCode = await main()
