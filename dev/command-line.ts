import { type ParseArgsConfig, parseArgs } from 'node:util'

type Options = NonNullable<ParseArgsConfig['options']>

/**
 * Reads the options of one of the checkout's own tools; each has --help. Ends the process with exit code 0 after the help
 * text, and with 2 and one line for an option that it does not know.
 */
export function readOptions<const T extends Options>(help: string, options: T) {
  const all = { ...options, help: { type: 'boolean' } } as T & { help: { type: 'boolean' } }
  try {
    const { values } = parseArgs({ options: all, allowPositionals: false, strict: true })
    if ((values as { help?: boolean }).help) {
      console.log(help)
      process.exit(0)
    }
    return values
  } catch (error) {
    refuse((error as Error).message.split('. ')[0]!)
  }
}

/** A whole number from `least` on, or `fallback` where none was given. Ends the process with exit code 2 otherwise. */
export function wholeNumber(option: string, text: string | undefined, fallback: number, least = 0): number {
  const value = Number(text ?? fallback)
  if (Number.isSafeInteger(value) && value >= least) return value
  refuse(`--${option} is "${text}", but must be a whole number from ${least}`)
}

/** Ends the process with exit code 2 and one line. */
export function refuse(why: string): never {
  console.error(`${why}. --help says more.`)
  process.exit(2)
}
