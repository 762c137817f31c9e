// Strikes Sluice with faults, on a Kafka of its own, and shows that nothing is lost, doubled or out of order.
//
//   npm run faults [-- --fault NAME… --count N --seed S --short --record --json --list]

import { parseArgs } from 'node:util'
import { messageOf } from '../src/core/errors.ts'
import { CATALOGUE } from './catalogue.ts'
import type { Fault } from './fault.ts'
import { type FaultResult, holds, record, resultTable } from './results.ts'
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

const { values } = parseArgs({
  options: {
    fault: { type: 'string', multiple: true, default: [] },
    count: { type: 'string' },
    seed: { type: 'string' },
    short: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const NAMES = CATALOGUE.map(({ name }) => name)

const say = (line: string) => console.error(line)

function chosen(): Fault[] {
  const unknown = values.fault.filter(name => !CATALOGUE.some(fault => fault.name === name))
  if (unknown.length > 0) throw new Error(`No fault is called ${unknown.join(', ')}; --list names all.`)
  if (values.fault.length > 0) return CATALOGUE.filter(fault => values.fault.includes(fault.name))
  return CATALOGUE.filter(fault => !values.short || fault.short !== undefined)
}

function whole(name: 'count' | 'seed', fallback: number): number {
  const value = Number(values[name] ?? fallback)
  if (Number.isInteger(value) && value >= 0) return value
  throw new Error(`--${name} is "${values[name]}"; a whole number is allowed.`)
}

function turnsOf({ strikes, short }: Fault): readonly number[] {
  if (values.short && values.count === undefined && short !== undefined) return short
  return Array.from({ length: whole('count', strikes) }, (_, turn) => turn)
}

/**
 * Faults on servers of one kind share them; the next kind gets new ones, and so does the fault after one that could not be
 * brought to its end.
 * @returns the results, and how many faults have none
 */
async function runAll(faults: readonly Fault[], seed: number): Promise<{ results: FaultResult[]; failures: number }> {
  const results: FaultResult[] = []
  let failures = 0
  let servers: Servers | undefined
  const closeServers = async () => {
    await servers?.close()
    servers = undefined
  }
  try {
    for (const fault of faults) {
      if (servers?.kind !== fault.servers) await closeServers()
      try {
        servers ??= await startServers(fault.servers, say)
        results.push(await runOne(fault, servers, seed))
        if (values.record) record(results.slice(-1), NAMES)
      } catch (error) {
        say(`  FAILED: ${messageOf(error)}`)
        failures++
        await closeServers()
      }
    }
  } finally {
    await closeServers()
  }
  return { results, failures }
}

async function runOne(fault: Fault, servers: Servers, seed: number): Promise<FaultResult> {
  const turns = turnsOf(fault)
  say(`${fault.name}: ${fault.what}; ${turns.length} strikes, seed ${seed}`)
  let struck = 0
  const onStrike = (ms: number) => say(`  ${++struck}/${turns.length} recovered in ${(ms / 1000).toFixed(2)} s`)
  const result = await runFault(fault, servers, { turns, seed, onStrike })
  say(`  ${holds(result) ? 'holds' : 'DOES NOT HOLD'}: ${summary(result)}`)
  return result
}

function summary({ records, lost, doubled, misordered, otherFaults, examples, seconds }: FaultResult): string {
  const counts = `${records} records, lost ${lost}, doubled ${doubled}, misordered ${misordered}, otherwise wrong ${otherFaults}`
  return [`${counts}; ${seconds} s`, ...examples].join('\n    ')
}

async function main(): Promise<number> {
  if (values.help) {
    console.log(HELP)
    return 0
  }
  if (values.list) {
    for (const { name, strikes, what } of CATALOGUE)
      console.log(`${name.padEnd(24)} ${String(strikes).padStart(4)}  ${what}`)
    return 0
  }
  const { results, failures } = await runAll(chosen(), whole('seed', Date.now() % 1_000_000))
  console.log(values.json ? JSON.stringify(results, null, 2) : resultTable(results))
  return failures === 0 && results.every(holds) ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  say(messageOf(error))
  process.exitCode = 1
}
