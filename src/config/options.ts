import { SluiceError } from '../core/errors.ts'
import { boolean } from './kinds.ts'
import { optionName, SETTING_KEYS, type SettingKey, settingOf } from './settings.ts'
import { closest } from './suggest.ts'

/** Options of one command that are no settings, by name without dashes: whether they take a value. */
type ExtraOptions = Readonly<Record<string, 'string' | 'boolean'>>

interface ParsedOptions<E extends ExtraOptions> {
  /** For `loadSettings`. */
  readonly settings: Partial<Record<SettingKey, string>>
  readonly extra: { readonly [N in keyof E]?: E[N] extends 'string' ? string : boolean }
  readonly positionals: readonly string[]
}

const SETTING_OPTIONS: ReadonlyMap<string, SettingKey> = new Map(SETTING_KEYS.map(key => [optionName(key), key]))

/**
 * Reads `--name value`, `--name=value`, `--flag`, `--no-flag` and positionals; the last of several wins, and all after
 * `--` is positional. Not `util.parseArgs`: rows such as `-1,0.5` are positionals here, and an error has to be one line
 * that names the nearest option, and never repeats a value that may be a secret.
 * @throws SluiceError `invalid-config` on an unknown option, a missing value, or a flag with a value that is none.
 */
export function parseOptions<const E extends ExtraOptions = Record<never, never>>(
  argv: readonly string[],
  extra: E = {} as E,
): ParsedOptions<E> {
  const settings: Partial<Record<SettingKey, string>> = {}
  const extras: Record<string, string | boolean> = {}
  const positionals: string[] = []
  const store = (name: string, value: string) => {
    const key = SETTING_OPTIONS.get(name)
    if (Object.hasOwn(extra, name)) extras[name] = extra[name] === 'boolean' ? flagValue(name, value) : value
    else if (key) settings[key] = value
  }

  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at]!
    if (argument === '--') {
      positionals.push(...argv.slice(at + 1))
      break
    }
    if (!isOption(argument)) {
      positionals.push(argument)
      continue
    }
    const { name, inline, negated } = nameOf(argument, extra)
    if (inline !== undefined) store(name, inline)
    else if (isFlag(name, extra)) store(name, negated ? 'false' : 'true')
    else store(name, valueAfter(name, argv[++at]))
  }
  return { settings, extra: extras as ParsedOptions<E>['extra'], positionals }
}

/** `-1,2` and `-` alone are no options. */
function isOption(argument: string): boolean {
  return argument.startsWith('-') && argument !== '-' && !/^-(?:[\d.]|Infinity)/.test(argument)
}

function isFlag(name: string, extra: ExtraOptions): boolean {
  if (Object.hasOwn(extra, name)) return extra[name] === 'boolean'
  const key = SETTING_OPTIONS.get(name)
  return key !== undefined && settingOf(key).kind === boolean
}

function nameOf(argument: string, extra: ExtraOptions) {
  const end = argument.indexOf('=')
  const written = end < 0 ? argument : argument.slice(0, end)
  const inline = end < 0 ? undefined : argument.slice(end + 1)
  const name = written.replace(/^--/, '')
  if (Object.hasOwn(extra, name) || SETTING_OPTIONS.has(name)) return { name, inline, negated: false }
  const positive = name.replace(/^no-/, '')
  if (positive !== name && inline === undefined && isFlag(positive, extra)) {
    return { name: positive, inline, negated: true }
  }
  const near = closest(name, [...Object.keys(extra), ...SETTING_OPTIONS.keys()])
  const hint = near ? `did you mean --${near}?` : '`sluice config` lists the settings'
  throw new SluiceError('invalid-config', `unknown option ${written}: ${hint}`)
}

function valueAfter(name: string, next: string | undefined): string {
  if (next !== undefined && !next.startsWith('--')) return next
  throw new SluiceError('invalid-config', `--${name} needs a value: --${name} VALUE or --${name}=VALUE`)
}

function flagValue(name: string, value: string): boolean {
  if (value === 'true' || value === 'false') return value === 'true'
  throw new SluiceError('invalid-config', `--${name} must be true or false`)
}
