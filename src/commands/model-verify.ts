import { parseOptions } from '../config/options.ts'
import { SluiceError } from '../core/errors.ts'
import { openStore } from '../models/open-store.ts'
import { checkModel } from '../shipping/model-check.ts'
import { type Command, namedModel } from './command.ts'
import { CHECK_OPTIONS, loadForChecks, OPEN_TIMEOUT_HELP } from './model-settings.ts'
import { formatChecks } from './model-text.ts'

export const modelVerify: Command = {
  usage: 'sluice model verify NAME [--version V] [--json] [options]',
  summary: 'checks hash, graph, record schema and golden samples of a version, as a worker does before it serves',
  help: `The golden samples run on every session of SESSIONS. The record schema is that of INPUT_SCHEMA, the latest of
<INPUT_TOPIC>-value in the registry, or any in SCHEMA_DIR. The exit code is 0 when nothing failed, otherwise 1.

  --version V              instead of the highest
${OPEN_TIMEOUT_HELP}
  --json                   print the checks as JSON

Example:
  sluice model verify iris-classifier --sessions cuda:0`,

  async run(context) {
    const {
      settings: options,
      extra,
      positionals,
    } = parseOptions(context.argv, { ...CHECK_OPTIONS, version: 'string' })
    const name = namedModel(positionals, modelVerify.usage)
    const { settings, tools } = loadForChecks(context, options, extra['open-timeout-ms'])
    const store = openStore(settings, tools)
    const { spec, checks, failure } = await checkModel(() => store.find(name, extra.version), settings, tools)
    const version = spec?.version ?? extra.version
    const title = `model "${name}"${version === undefined ? '' : `, version "${version}"`}`
    if (extra.json)
      context.print(JSON.stringify({ name, version, sha256: spec?.sha256, ok: !failure, checks }, null, 2))
    else for (const line of [title, ...formatChecks(checks)]) context.print(line)
    if (failure === undefined) return
    const failed = checks.filter(({ outcome }) => outcome === 'failed').map(({ check }) => check)
    throw new SluiceError(failure.code, `${title}, must not serve: ${failed.join(' and ')} failed`)
  },
}
