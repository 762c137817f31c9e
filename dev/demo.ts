// The main job on real input, from a fresh clone: npm run demo -- [--keep] [--records N] [--seed N] [--json]
//
// Exit codes: 0 every record was answered exactly once; 1 not so, or something needed is missing; 2 wrong usage;
// 130 stopped by Ctrl-C.

import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { SluiceError } from '../src/core/errors.ts'
import { Screen } from './demo/screen.ts'
import { tellStory } from './demo/story.ts'

const HELP = `Usage: npm run demo -- [options]

Publishes measurements of iris flowers to Kafka, classifies them with two replicas of
the worker, kills one of them on the way, and accounts for every record.

  --records N   how many, 100 to 1000000 (20000)
  --seed N      repeats the noise and the broken records of an earlier run
  --keep        stays up afterwards, with a trickle of records, until Ctrl-C
  --json        prints the audit as JSON on standard output, and the story on standard error

KAFKA_BROKERS (or .env) names a Kafka to use; without it the demo starts one.`

const DEFAULT_RECORDS = 20_000

interface DemoOptions {
  readonly records: number
  readonly seed: number
  readonly keep: boolean
  readonly json: boolean
}

/** Undefined when help was asked for; throws on what is not allowed. */
function readOptions(argv: readonly string[]): DemoOptions | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      records: { type: 'string' },
      seed: { type: 'string' },
      keep: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  return {
    records: whole('--records', values.records, 100, 1_000_000) ?? DEFAULT_RECORDS,
    seed: whole('--seed', values.seed, 0, 2 ** 32 - 1) ?? randomInt(10_000),
    keep: values.keep,
    json: values.json,
  }
}

function whole(option: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new Error(`${option} is "${text}", but must be a whole number from ${min} to ${max}.`)
}

/** Aborted by the first Ctrl-C; the second, from somebody who lost patience, ends the process, and all else with it. */
function stopSignal(): AbortSignal {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(130)
      stop.abort()
    })
  }
  return stop.signal
}

async function main(): Promise<number> {
  let options: DemoOptions | undefined
  try {
    options = readOptions(process.argv.slice(2))
  } catch (error) {
    console.error((error as Error).message)
    console.error('npm run demo -- --help lists the options.')
    return 2
  }
  if (options === undefined) {
    console.log(HELP)
    return 0
  }
  const { json, ...what } = options
  const screen = new Screen(json ? process.stderr : process.stdout)
  const signal = stopSignal()
  try {
    const result = await tellStory({ ...what, screen, signal })
    if (json) console.log(JSON.stringify(result, undefined, 2))
    return result.passed ? 0 : 1
  } catch (error) {
    if (signal.aborted) {
      console.error('Stopped; nothing is left running.')
      return 130
    }
    return explain(error)
  }
}

function explain(error: unknown): number {
  if (error instanceof SluiceError) {
    console.error(`The demo cannot go on: ${error.message} (${error.code}) ${error.remedy}`)
    return error.exitCode
  }
  console.error(`The demo cannot go on: ${error instanceof Error ? error.message : error}`)
  return 1
}

process.exitCode = await main()
// A socket of a broker that went away must not keep a demo alive that is done.
process.exit()
