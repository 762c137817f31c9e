import { loadSettings, redact } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import { formatSettings } from '../config/print.ts'
import { type Command, refusePositionals } from './command.ts'

export const config: Command = {
  usage: 'sluice config [--json] [options]',
  summary: 'prints every setting, its value, where it came from, its meaning',
  help: `Options win over the environment, the environment over .env, .env over defaults. Secrets are not shown.

Example:
  KAFKA_BROKERS=kafka:9092 sluice config --max-batch-size 64`,

  async run({ argv, env, dotenvFile, print }) {
    const { settings: options, extra, positionals } = parseOptions(argv, { json: 'boolean' })
    refusePositionals(positionals, config.usage)
    const loaded = loadSettings({ options, env, dotenvFile })
    print(extra.json ? JSON.stringify(redact(loaded.settings), null, 2) : formatSettings(loaded))
  },
}
