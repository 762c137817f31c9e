// Runs a command beside a real Kafka:
//
//   node dev/with-broker.ts [--registry] [-- COMMAND ARGUMENT…]
//
// The command finds in its environment
//   KAFKA_BROKERS           the broker; if it is set already, that one is used and none is started
//   SLUICE_TEST_CLASSPATH   class path of Kafka's Java client, of the started broker's version
//   TEST_REGISTRY_URL       with --registry, a Confluent-compatible schema registry; if set already, that one is used
// Its exit code is ours. Without a command the servers stay up until Ctrl-C.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { parseArgs } from 'node:util'
import { COMPILED_FOLDER } from '../src/compiled-folder.ts'
import { startBroker } from './broker.ts'
import { startRegistry } from './registry.ts'

type Stop = () => Promise<void>
type Started = { env: NodeJS.ProcessEnv; stop: Stop }

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

const report = (line: string) => console.error(line)

async function main(): Promise<number> {
  const { values, positionals: command } = parseArgs({
    options: { registry: { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  // Both at once: each spends most of its start waiting. If one fails, the other ends with this process.
  const servers = await Promise.all([broker(), values.registry ? registry() : NOTHING])
  const env = Object.assign({}, ...servers.map(server => server.env)) as NodeJS.ProcessEnv
  try {
    return command.length > 0 ? await runCommand(command, env) : await stayUp(env)
  } finally {
    await Promise.all(servers.map(server => server.stop()))
  }
}

const NOTHING: Started = { env: {}, stop: async () => {} }

async function broker(): Promise<Started> {
  if (process.env.KAFKA_BROKERS) return NOTHING
  const begun = performance.now()
  const broker = await startBroker({ report })
  report(`kafka: up in ${secondsSince(begun)} s on ${broker.bootstrap}`)
  return {
    env: { KAFKA_BROKERS: broker.bootstrap, SLUICE_TEST_CLASSPATH: broker.classpath },
    stop: () => broker.stop(),
  }
}

async function registry(): Promise<Started> {
  if (process.env.TEST_REGISTRY_URL) return NOTHING
  const begun = performance.now()
  const registry = await startRegistry({ report })
  report(`registry: up in ${secondsSince(begun)} s at ${registry.url}`)
  return { env: { TEST_REGISTRY_URL: registry.url }, stop: registry.stop }
}

/** Runs the command with our terminal and our signals; resolves to its exit code, 128 + n if signal n ended it. */
async function runCommand([program, ...args]: string[], env: NodeJS.ProcessEnv): Promise<number> {
  // Two hundred test files import much the same modules: compiled once.
  const child = spawn(program!, args, {
    stdio: 'inherit',
    env: { NODE_COMPILE_CACHE: COMPILED_FOLDER, ...process.env, ...env },
  })
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      // A terminal gives Ctrl-C to the command as well; passed on, the command would hear it twice and stop in a hurry.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  const exit = once(child, 'exit').catch(error => {
    throw new Error(`Cannot run "${program}": ${error.message}`, { cause: error })
  })
  const [code, signal] = (await exit) as [number | null, NodeJS.Signals | null]
  return code ?? 128 + constants.signals[signal!]
}

async function stayUp(env: NodeJS.ProcessEnv): Promise<number> {
  for (const [name, value] of Object.entries(env)) console.log(`${name}=${value}`)
  report('Up until Ctrl-C.')
  const idle = setInterval(() => {}, 2 ** 30)
  await Promise.race(SIGNALS.map(signal => once(process, signal)))
  clearInterval(idle)
  return 0
}

function secondsSince(begun: number): string {
  return ((performance.now() - begun) / 1000).toFixed(1)
}

try {
  process.exitCode = await main()
} catch (error) {
  report(error instanceof Error ? error.message : String(error))
  process.exit(1)
}
