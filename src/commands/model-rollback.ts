import { parseOptions } from '../config/options.ts'
import { type Command, namedModel } from './command.ts'
import { CHANGE_HELP, CHANGE_OPTIONS, runChange, settingsOf } from './model-change.ts'

export const modelRollback: Command = {
  usage: 'sluice model rollback NAME [--to VERSION] [--timeout SECONDS] [--json] [options]',
  summary: 'goes back to the stable version before',
  help: `The version that was stable before the live one is stable again, and the canary ends; shadows stay. Doing it again goes
further back. It goes live as "sluice model promote" says, or not at all: also a version that has served before is loaded and
verified first.

  --to VERSION       go back to this one of the versions that were stable before; "sluice model status" lists them
${CHANGE_HELP}

Example:
  sluice model rollback iris-classifier`,

  async run(context) {
    const { settings: options, extra, positionals } = parseOptions(context.argv, EXTRA)
    const model = namedModel(positionals, modelRollback.usage)
    const settings = settingsOf(options, context)
    const change = { kind: 'rollback' as const, to: extra.to }
    await runChange({ model, change, settings, timeout: extra.timeout, json: extra.json }, context)
  },
}

const EXTRA = { ...CHANGE_OPTIONS, to: 'string' } as const
