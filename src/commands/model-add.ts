import { parseOptions } from '../config/options.ts'
import type { Settings } from '../config/settings.ts'
import { SluiceError } from '../core/errors.ts'
import { FOLDER_NAME, FOLDER_NAME_RULE } from '../models/manifest.ts'
import { openStore } from '../models/open-store.ts'
import { type AddedModel, addFolder, addOnnx, type OnnxSource } from '../shipping/model-adding.ts'
import type { CheckSettings, CheckTools } from '../shipping/model-check.ts'
import { type Command, refusePositionals } from './command.ts'
import { CHECK_OPTIONS, loadForChecks, OPEN_TIMEOUT_HELP } from './model-settings.ts'
import { formatChecks, formatSignature, labelled } from './model-text.ts'

export const modelAdd: Command = {
  usage: `sluice model add --name N --version V --onnx FILE [--features a,b,c] [--metadata FILE] [--golden FILE]
       sluice model add --from FOLDER`,
  summary: 'makes a bundle of a bare ONNX file, or takes one that a training run wrote, and puts it into the store',
  help: `Opens the model to see what it takes and gives, verifies the bundle as "sluice model verify" does, and adds it only then.

  --features a,b,c         the fields of a record, in the order of the row; name[64] is an array of 64.
                           Without it: the names of inputs that take one value, f0, f1, … of a short row, else one array
  --metadata FILE          a JSON object to keep as the training metadata
  --golden FILE            samples with the answers of the trainer, JSON Lines as docs/models.md says. Without it the model
                           runs made-up rows; that proves nothing of the conversion, and the bundle says so
  --allow-external-data    take along files of weights that lie beside the ONNX file
  --from FOLDER            a bundle with its model.json; any other of these options is in there already
${OPEN_TIMEOUT_HELP}
  --json                   print what was added, and what was checked, as JSON

Example:
  sluice model add --name iris --version 2 --onnx iris.onnx --features sepal_length,sepal_width,petal_length,petal_width`,

  async run(context) {
    const { settings: options, extra, positionals } = parseOptions(context.argv, OPTIONS)
    refusePositionals(positionals, modelAdd.usage)
    const { settings, tools } = loadForChecks(context, options, extra['open-timeout-ms'])
    const added = await add(extra, settings, tools)
    context.print(extra.json ? JSON.stringify(asJson(added, settings), null, 2) : asText(added, settings))
  },
}

const OPTIONS = {
  ...CHECK_OPTIONS,
  name: 'string',
  version: 'string',
  onnx: 'string',
  features: 'string',
  metadata: 'string',
  golden: 'string',
  'allow-external-data': 'boolean',
  from: 'string',
} as const

type Extra = ReturnType<typeof parseOptions<typeof OPTIONS>>['extra']

/** What belongs to a bare ONNX file, and says nothing of a whole bundle. */
const ONNX_OPTIONS = ['name', 'version', 'onnx', 'features', 'metadata', 'golden', 'allow-external-data'] as const

async function add(extra: Extra, settings: Settings & CheckSettings, tools: CheckTools): Promise<AddedModel> {
  const store = openStore(settings, tools)
  if (extra.from === undefined) return addOnnx(store, sourceOf(extra), settings, tools)
  const idle = ONNX_OPTIONS.find(option => extra[option] !== undefined)
  if (idle === undefined) return addFolder(store, extra.from, settings, tools)
  throw new SluiceError('invalid-config', `--from takes all from the model.json of its folder, --${idle} too`)
}

function sourceOf(extra: Extra): OnnxSource {
  const { name, version, onnx } = extra
  if (name === undefined || version === undefined || onnx === undefined) {
    throw new SluiceError(
      'invalid-config',
      `--name, --version and --onnx are needed, or --from; usage: ${modelAdd.usage}`,
    )
  }
  for (const [option, value] of Object.entries({ name, version })) {
    if (!FOLDER_NAME.test(value)) {
      throw new SluiceError('invalid-config', `--${option} is ${JSON.stringify(value)}; expected ${FOLDER_NAME_RULE}`)
    }
  }
  return {
    name,
    version,
    onnxFile: onnx,
    features: extra.features?.split(','),
    metadataFile: extra.metadata,
    goldenFile: extra.golden,
    allowExternalData: extra['allow-external-data'] ?? false,
  }
}

function asJson({ report, notes }: AddedModel, { modelStore }: Settings): object {
  const { name, version, sha256 } = report.spec!
  return { name, version, sha256, store: modelStore, checks: report.checks, notes }
}

function asText({ report, notes }: AddedModel, { modelStore }: Settings): string {
  const spec = report.spec!
  return [
    `model "${spec.name}", version "${spec.version}", was added to ${modelStore}`,
    ...formatSignature(spec),
    ...labelled('notes', notes),
    ...formatChecks(report.checks),
  ].join('\n')
}
