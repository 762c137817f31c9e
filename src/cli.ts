import { readFileSync } from 'node:fs'
import { audit } from './commands/audit.ts'
import { type Command, type CommandGroup, resolveCommand } from './commands/command.ts'
import { config } from './commands/config.ts'
import { model } from './commands/model.ts'
import { predict } from './commands/predict.ts'
import { replay } from './commands/replay.ts'
import { score } from './commands/score.ts'
import { serve } from './commands/serve.ts'
import { topics } from './commands/topics.ts'
import { worker } from './commands/worker.ts'
import { SluiceError } from './core/errors.ts'
import type { Log } from './core/log.ts'

const COMMANDS: Readonly<Record<string, Command | CommandGroup>> = {
  worker,
  replay,
  score,
  serve,
  predict,
  model,
  audit,
  topics,
  config,
}

const { version: RELEASE } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map(name => name.length))
  const list = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
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
      console.log(overview())
      return name === undefined ? 2 : 0
    }
    if (name === '--version') {
      console.log(RELEASE)
      return 0
    }
    const named = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
    if (named === undefined) {
      const names = Object.keys(COMMANDS).join(', ')
      throw new SluiceError('invalid-config', `"${name}" is no command; there are ${names}`)
    }
    const { command, argv } = resolveCommand(named, words)
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
