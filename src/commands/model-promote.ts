import { parseOptions } from '../config/options.ts'
import type { Command } from './command.ts'
import { CHANGE_HELP, CHANGE_OPTIONS, namedPositionals, runChange, settingsOf } from './model-change.ts'

export const modelPromote: Command = {
  usage: 'sluice model promote NAME VERSION [--timeout SECONDS] [--json] [options]',
  summary: 'makes a version the stable one, on all replicas',
  help: `Every replica of every group that serves the model loads and verifies the version; when all are ready all switch, each
partition between two transactions. If one cannot, nothing changes, and the message says which replica and why. A canary
or shadow of this version ends with it, others stay. Replicas with MODEL_VERSION are pinned: they are named, and left alone.

${CHANGE_HELP}

Example:
  sluice model promote iris-classifier 2`,

  async run(context) {
    const { settings: options, extra, positionals } = parseOptions(context.argv, CHANGE_OPTIONS)
    const [model, version] = namedPositionals(positionals, ['NAME', 'VERSION'], modelPromote.usage)
    const settings = settingsOf(options, context)
    await runChange({ model, change: { kind: 'promote', version }, settings, ...extra }, context)
  },
}
