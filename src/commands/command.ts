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

/** A word of the command line that needs another: `sluice model show`. */
export interface CommandGroup extends Pick<Command, 'usage' | 'summary' | 'help'> {
  readonly subcommands: Readonly<Record<string, Command>>
}

/**
 * The command that a group's arguments name, and the arguments that are left for it. The group itself where they name
 * none, or ask for its help.
 * @throws SluiceError `invalid-config` for a word that is none of its commands
 */
export function resolveCommand(
  named: Command | CommandGroup,
  argv: readonly string[],
): { command: Command | CommandGroup; argv: readonly string[] } {
  const [word, ...rest] = argv
  if (!('subcommands' in named) || word === undefined || word.startsWith('-')) return { command: named, argv }
  if (Object.hasOwn(named.subcommands, word)) return { command: named.subcommands[word]!, argv: rest }
  const words = Object.keys(named.subcommands).join(', ')
  throw new SluiceError('invalid-config', `"${word}" is none of its commands, ${words}; expected: ${named.usage}`)
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

/**
 * For commands that take the name of a model and options.
 * @throws SluiceError `invalid-config`
 */
export function namedModel(positionals: readonly string[], usage: string): string {
  const [name, ...rest] = positionals
  if (name !== undefined && rest.length === 0) return name
  throw new SluiceError('invalid-config', `expected one model name, given were ${positionals.length}; usage: ${usage}`)
}
