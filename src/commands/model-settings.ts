import { loadSettings } from '../config/load.ts'
import type { SettingKey, Settings } from '../config/settings.ts'
import { systemClock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import type { CheckSettings, CheckTools } from '../shipping/model-check.ts'
import type { CommandContext } from './command.ts'

/** For `openStore`, in commands that print what they found. */
export const STORE_TOOLS = { log: silentLog, clock: systemClock }

/** Longer than any model takes on a CPU; TensorRT may build an engine for longer. */
const DEFAULT_OPEN_TIMEOUT_MS = 120_000

/** For help texts. */
export const OPEN_TIMEOUT_HELP = `  --open-timeout-ms N      how long opening the model may take; 0 for any time (${DEFAULT_OPEN_TIMEOUT_MS})`

/** Options of the commands that check a model. */
export const CHECK_OPTIONS = { 'open-timeout-ms': 'string', json: 'boolean' } as const

/** Settings and tools of the commands that check a model. @throws SluiceError `invalid-config` */
export function loadForChecks(
  { env, dotenvFile }: CommandContext,
  options: Partial<Record<SettingKey, string>>,
  openTimeoutMs: string | undefined,
): { settings: Settings & CheckSettings; tools: CheckTools } {
  const { settings, sources } = loadSettings({ options, env, dotenvFile })
  return {
    settings: { ...settings, schemaDirGiven: sources.schemaDir !== 'default' },
    tools: { ...STORE_TOOLS, openTimeoutMs: parseTimeout(openTimeoutMs) },
  }
}

function parseTimeout(text: string | undefined): number {
  if (text === undefined) return DEFAULT_OPEN_TIMEOUT_MS
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new SluiceError('invalid-config', `--open-timeout-ms is "${text}"; a whole number of milliseconds is allowed`)
}
