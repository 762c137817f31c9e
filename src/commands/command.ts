import { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'

/** What a command gets from the process; nothing below `cli.ts` looks at the process itself. */
export interface CommandContext {
  /** Arguments after the command's name. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** A `.env` file, which need not exist. */
  readonly dotenvFile: string
  /** Aborted by SIGTERM and SIGINT. */
  readonly signal: AbortSignal
  /** Writes a line to standard output. */
  readonly print: (line: string) => void
  /** Standard error, for progress. */
  readonly stderr: TextOutput
  readonly release: string
  /** Makes known how errors are to be reported from now on: in the log instead of on standard error. */
  readonly useLog: (log: Log) => void
}

/** Where text goes, and whether a person looks at it as it comes. */
export interface TextOutput {
  readonly isTTY?: boolean
  /** Width of the terminal. */
  readonly columns?: number
  write(text: string): unknown
}

/** One word of the command line. */
export interface Command {
  /** As in `sluice worker [options]`. */
  readonly usage: string
  /** One line for the list of commands. */
  readonly summary: string
  /** The whole help text after the usage: a few sentences, then an example. */
  readonly help: string
  /**
   * Resolves when the command is done.
   * @throws SluiceError, whose `exitCode` becomes the process's
   */
  run(context: CommandContext): Promise<void>
}

/**
 * For commands that take options only.
 * @throws SluiceError `invalid-config`
 */
export function refusePositionals(positionals: readonly string[], usage: string): void {
  const [first] = positionals
  if (first === undefined) return
  throw new SluiceError('invalid-config', `"${first}" is no option; expected: ${usage}`)
}
