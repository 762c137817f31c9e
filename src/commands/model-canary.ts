import { parseOptions } from '../config/options.ts'
import { SluiceError } from '../core/errors.ts'
import type { RolloutChange } from '../core/rollout-changes.ts'
import type { Command } from './command.ts'
import { CHANGE_HELP, CHANGE_OPTIONS, namedPositionals, runChange, settingsOf } from './model-change.ts'

export const modelCanary: Command = {
  usage: 'sluice model canary NAME VERSION --percent P | NAME [VERSION] --off [--timeout SECONDS] [--json] [options]',
  summary: 'lets a version answer some of the keys',
  help: `The version answers P per cent of all keys in place of the stable one, always the same keys: across partitions, replicas,
rebalances and replays. With a higher percentage it keeps those it has. There is one canary at a time; it replaces another.
It goes live as "sluice model promote" says, or not at all.

  --percent P        above 0, up to 100; 0.5 is one key in two hundred
  --off              end the canary: the stable version answers its keys again
${CHANGE_HELP}

Example:
  sluice model canary iris-classifier 3 --percent 5`,

  async run(context) {
    const { settings: options, extra, positionals } = parseOptions(context.argv, EXTRA)
    const settings = settingsOf(options, context)
    const names = extra.off && positionals.length < 2 ? (['NAME'] as const) : (['NAME', 'VERSION'] as const)
    const [model, version] = namedPositionals(positionals, names, modelCanary.usage) as readonly [string, string?]
    const change = extra.off ? endOf(version, extra.percent) : begin(version!, extra.percent)
    await runChange({ model, change, settings, timeout: extra.timeout, json: extra.json }, context)
  },
}

const EXTRA = { ...CHANGE_OPTIONS, percent: 'string', off: 'boolean' } as const

function begin(version: string, percent: string | undefined): RolloutChange {
  if (percent === undefined) {
    throw new SluiceError('invalid-config', `--percent is missing, or --off; usage: ${modelCanary.usage}`)
  }
  const value = Number(percent.replace(/%$/, ''))
  if (percent.trim() !== '' && value > 0 && value <= 100) return { kind: 'canary', version, percent: value }
  throw new SluiceError('invalid-config', `--percent is "${percent}"; a number above 0 and up to 100 is allowed`)
}

function endOf(version: string | undefined, percent: string | undefined): RolloutChange {
  if (percent === undefined) return { kind: 'canary-off', version }
  throw new SluiceError('invalid-config', '--percent and --off cannot go together')
}
