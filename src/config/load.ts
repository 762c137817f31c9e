import { readFileSync } from 'node:fs'
import { parse as parseDotenv } from 'dotenv'
import { messageOf, SluiceError } from '../core/errors.ts'
import { REDACTED } from './redact.ts'
import { RULES } from './rules.ts'
import { envName, optionName, SETTING_KEYS, type SettingKey, type Settings, settingOf } from './settings.ts'

/** Where a value came from, strongest first. */
type Source = 'option' | 'environment' | '.env' | 'default'

interface LoadRequest<K extends SettingKey> {
  /** Texts from the command line, see `parseOptions`. */
  readonly options?: Partial<Record<SettingKey, string>>
  readonly env: Readonly<Record<string, string | undefined>>
  /** Path of a `.env` file; it need not exist. Nothing of it enters `process.env`. */
  readonly dotenvFile?: string
  /** Settings that must have a value in the end. */
  readonly required?: readonly K[]
}

export interface LoadedSettings<K extends SettingKey = never> {
  readonly settings: Settings & { readonly [P in K]: NonNullable<Settings[P]> }
  readonly sources: Readonly<Record<SettingKey, Source>>
}

/**
 * Settles every setting: options over environment over `.env` over defaults, where an empty text counts as not set.
 * @throws SluiceError `invalid-config` on the first value that is not allowed, rule that does not hold, or required
 *   setting without a value: one line, without secrets.
 */
export function loadSettings<K extends SettingKey = never>(request: LoadRequest<K>): LoadedSettings<K> {
  const layers: readonly (readonly [Source, (key: SettingKey) => string | undefined])[] = [
    ['option', key => request.options?.[key]],
    ['environment', key => request.env[envName(key)]],
    ['.env', fromFile(request.dotenvFile)],
  ]
  const values: Record<string, unknown> = {}
  const sources: Record<string, Source> = {}
  for (const key of SETTING_KEYS) {
    const [source, given] = firstGiven(layers, key)
    values[key] = given === undefined ? settingOf(key).default : parseValue(key, given, source)
    sources[key] = source
  }
  const settings = values as unknown as LoadedSettings<K>['settings']
  for (const key of SETTING_KEYS) {
    const { derived } = settingOf(key)
    if (derived && values[derived.of] !== undefined) values[key] ??= `${values[derived.of]}${derived.suffix}`
  }
  checkRequired(settings, request.required ?? [])
  checkRules(settings)
  return { settings: Object.freeze(settings), sources: sources as Record<SettingKey, Source> }
}

/** What may be shown of a value: a secret as `***`, an address without its credentials, undefined as nothing. */
export function showValue(key: SettingKey, value: unknown): string {
  if (value === undefined) return ''
  const { secret, kind } = settingOf(key)
  return secret ? REDACTED : kind.show(value)
}

/** The settings for a log, by environment name and without secrets; those without a value are left out. */
export function redact(settings: Settings): Record<string, string> {
  const set = SETTING_KEYS.filter(key => settings[key] !== undefined)
  return Object.fromEntries(set.map(key => [envName(key), showValue(key, settings[key])]))
}

/** The settings that somebody set, likewise: defaults are in the docs, not in every log. */
export function showGiven({ settings, sources }: LoadedSettings): Record<string, string> {
  const set = SETTING_KEYS.filter(key => sources[key] !== 'default').map(envName)
  return Object.fromEntries(Object.entries(redact(settings)).filter(([name]) => set.includes(name)))
}

function fromFile(file: string | undefined): (key: SettingKey) => string | undefined {
  if (file === undefined) return () => undefined
  let content: Buffer
  try {
    content = readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return () => undefined
    throw new SluiceError('invalid-config', `${file} cannot be read: ${messageOf(error)}`, { cause: error })
  }
  const values = parseDotenv(content)
  return key => values[envName(key)]
}

function firstGiven(
  layers: readonly (readonly [Source, (key: SettingKey) => string | undefined])[],
  key: SettingKey,
): [Source, string | undefined] {
  for (const [source, read] of layers) {
    const given = read(key)
    if (given !== undefined && given.trim() !== '') return [source, given]
  }
  return ['default', undefined]
}

/** Spaces around a value are slips, except in a secret, which is taken as it stands. */
function parseValue(key: SettingKey, given: string, source: Source): unknown {
  const { kind, secret } = settingOf(key)
  const value = kind.parse(secret ? given : given.trim())
  if (value !== undefined) return value
  const shown = secret ? REDACTED : quote(kind.showInvalid?.(given.trim()) ?? given)
  const named = source === 'option' ? `--${optionName(key)}` : `${envName(key)} (${source})`
  throw new SluiceError('invalid-config', `${named} is ${shown}, but must be ${kind.allowed}`)
}

/** On one line, and not the whole of a file that was pasted by mistake. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text)
}

function checkRequired(settings: Settings, required: readonly SettingKey[]): void {
  const unset = required.filter(key => settings[key] === undefined)
  // What follows from another one that is missing need not be set.
  const missing = unset.filter(key => !unset.some(other => other === settingOf(key).derived?.of))
  if (missing.length === 0) return
  const names = missing.map(key => `${envName(key)} (--${optionName(key)})`).join(', ')
  throw new SluiceError('invalid-config', `not set, but needed here: ${names}`)
}

function checkRules(settings: Settings): void {
  const broken = RULES.find(rule => !rule.holds(settings))
  if (!broken) return
  const given = broken.keys.map(key => `${envName(key)}=${showValue(key, settings[key])}`).join(', ')
  throw new SluiceError('invalid-config', `${broken.sentence} Given: ${given}`)
}
