import { loadSettings } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import { openStore } from '../models/open-store.ts'
import { type Command, refusePositionals } from './command.ts'
import { STORE_TOOLS } from './model-settings.ts'

export const modelList: Command = {
  usage: 'sluice model list [--json]',
  summary: 'names the models of the store, and their versions',
  help: `Versions are in ascending order: without MODEL_VERSION the last one serves. Nothing is opened.

Example:
  sluice model list`,

  async run({ argv, env, dotenvFile, print }) {
    const { settings: options, extra, positionals } = parseOptions(argv, { json: 'boolean' })
    refusePositionals(positionals, modelList.usage)
    const { settings } = loadSettings({ options, env, dotenvFile })
    const models = await openStore(settings, STORE_TOOLS).list()
    if (extra.json) return print(JSON.stringify(models, null, 2))
    if (models.length === 0)
      return print(`${settings.modelStore} has no models; add one: ${modelList.usage.replace('list', 'add')}`)
    const width = Math.max(...models.map(({ name }) => name.length))
    for (const { name, versions } of models) print(`${name.padEnd(width)}  ${versions.join(', ')}`)
  },
}
