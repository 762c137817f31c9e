import { readFileSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { type Command, type CommandGroup, resolveCommand } from './commands/command.ts'
import { COMPILED_FOLDER } from './compiled-folder.ts'
import { SluiceError } from './core/errors.ts'
import type { Log } from './core/log.ts'

// Before anything else is loaded: a second start takes half the processor time of the first. Not in the system's folder for
// temporary files, where another user could leave code for us; where this folder cannot be written to, nothing is kept.
// Threads look into the environment.
process.env.NODE_COMPILE_CACHE ??= COMPILED_FOLDER
enableCompileCache(process.env.NODE_COMPILE_CACHE)

/** Loaded when they are needed: a prediction from a shell does not wait for a Kafka client and a web server. */
const COMMANDS: Readonly<Record<string, () => Promise<Command | CommandGroup>>> = {
  worker: async () => (await import('./commands/worker.ts')).worker,
  replay: async () => (await import('./commands/replay.ts')).replay,
  score: async () => (await import('./commands/score.ts')).score,
  serve: async () => (await import('./commands/serve.ts')).serve,
  predict: async () => (await import('./commands/predict.ts')).predict,
  model: async () => (await import('./commands/model.ts')).model,
  audit: async () => (await import('./commands/audit.ts')).audit,
  topics: async () => (await import('./commands/topics.ts')).topics,
  config: async () => (await import('./commands/config.ts')).config,
}

const { version: RELEASE } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}

async function overview(): Promise<string> {
  const names = Object.keys(COMMANDS)
  const width = Math.max(...names.map(name => name.length))
  const commands = await Promise.all(Object.values(COMMANDS).map(load => load()))
  const list = commands.map(({ summary }, i) => `  ${names[i]!.padEnd(width)}  ${summary}`)
  return `Sluice ${RELEASE}: exactly-once machine-learning inference on Kafka

Usage: sluice COMMAND [options]

${list.join('\n')}

sluice COMMAND --help says more. In the checkout, "sluice" stands for "npm run -s sluice --".
Example: npm run -s sluice -- predict --model iris-regressor 0,0,0,0`
}

/** The first signal asks for an orderly end; a second one, from somebody who lost patience, ends the process at once. */
function stopSignal(): AbortSignal {
  const stop = new AbortController()
  const onSignal = (name: 'SIGTERM' | 'SIGINT') => {
    if (stop.signal.aborted) process.exit(name === 'SIGINT' ? 130 : 143)
    stop.abort()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return stop.signal
}

function usageOf({ usage, help }: Command | CommandGroup): string {
  return `Usage: ${usage}\n\n${help}`
}

async function main([name, ...words]: readonly string[]): Promise<number> {
  let log: Log | undefined
  try {
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
      console.log(await overview())
      return name === undefined ? 2 : 0
    }
    if (name === '--version') {
      console.log(RELEASE)
      return 0
    }
    const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
    if (load === undefined) {
      const names = Object.keys(COMMANDS).join(', ')
      throw new SluiceError('invalid-config', `"${name}" is no command; there are ${names}`)
    }
    const { command, argv } = resolveCommand(await load(), words)
    const asked = argv.includes('--help') || argv.includes('-h')
    if (asked || 'subcommands' in command) {
      console.log(usageOf(command))
      return asked ? 0 : 2
    }
    await command.run({
      argv,
      env: process.env,
      dotenvFile: '.env',
      signal: stopSignal(),
      print: line => console.log(line),
      stderr: process.stderr,
      release: RELEASE,
      useLog: created => {
        log = created
      },
    })
    return 0
  } catch (error) {
    return report(error, log)
  }
}

/** One line for an error that we know; a stack only for a defect of ours. */
function report(error: unknown, log: Log | undefined): number {
  const known = error instanceof SluiceError ? error : undefined
  if (log !== undefined) log.error({ error }, known?.message ?? 'a defect of Sluice ended the worker')
  else if (known !== undefined) console.error(`sluice: ${known.message} (${known.code}) ${known.remedy}`)
  else console.error(error)
  return known?.exitCode ?? 1
}

process.exitCode = await main(process.argv.slice(2))
// Sockets of a broker that went away must not keep a worker alive that is done.
process.exit()
