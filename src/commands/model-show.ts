import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { loadSettings } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import type { GoldenOrigin, ModelSpec } from '../core/model.ts'
import type { ModelBundle } from '../models/bundle.ts'
import { openStore } from '../models/open-store.ts'
import { originOf } from '../models/verification.ts'
import { type Command, namedModel } from './command.ts'
import { STORE_TOOLS } from './model-settings.ts'
import { formatSignature, labelled } from './model-text.ts'

export const modelShow: Command = {
  usage: 'sluice model show NAME [--version V] [--json]',
  summary: 'prints what a version takes and gives, how it was trained, and what proves it',
  help: `Without --version the highest. The files are read and their hashes checked; nothing is opened or run.

Example:
  sluice model show iris-classifier --version 1`,

  async run({ argv, env, dotenvFile, print }) {
    const { settings: options, extra, positionals } = parseOptions(argv, { version: 'string', json: 'boolean' })
    const name = namedModel(positionals, modelShow.usage)
    const { settings } = loadSettings({ options, env, dotenvFile })
    const shown = await look(await openStore(settings, STORE_TOOLS).find(name, extra.version))
    print(extra.json ? JSON.stringify(asJson(shown), null, 2) : asText(shown))
  },
}

interface ShownModel {
  readonly spec: ModelSpec
  /** Of model.onnx and the weights beside it. */
  readonly bytes: number
  readonly samples: number
}

async function look({ spec, modelFile, directory, golden }: ModelBundle): Promise<ShownModel> {
  const files = [modelFile, ...(spec.external ?? []).map(({ file }) => join(directory, file))]
  const sizes = await Promise.all(files.map(async file => (await stat(file)).size))
  return { spec, bytes: sizes.reduce((sum, size) => sum + size, 0), samples: (await golden()).length }
}

function asJson({ spec, bytes, samples }: ShownModel): object {
  const { golden = { origin: 'trainer' } satisfies GoldenOrigin, ...rest } = spec
  return { ...rest, bytes, golden: { ...golden, samples } }
}

function asText({ spec, bytes, samples }: ShownModel): string {
  const { metrics, ...training } = spec.training
  const golden =
    samples === 0 ? 'none: nothing shows that it predicts as it did in training' : `${samples}; ${originOf(spec)}`
  return [
    `model "${spec.name}", version "${spec.version}"`,
    ...labelled('SHA-256', [spec.sha256]),
    ...labelled('size', [formatBytes(bytes)]),
    ...labelled(
      'weights beside',
      (spec.external ?? []).map(({ file }) => file),
    ),
    ...formatSignature(spec),
    ...labelled('metrics', entries(metrics)),
    ...labelled('training', entries(training)),
    ...labelled('golden samples', [golden]),
  ].join('\n')
}

/** A line for each field of an object; what is none, as it is. */
function entries(value: unknown): string[] {
  if (value === undefined) return []
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [plain(value)]
  return Object.entries(value).map(([name, field]) => `${name}: ${plain(field)}`)
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`
  const [unit, size] = bytes < 1e6 ? ['kB', 1e3] : bytes < 1e9 ? ['MB', 1e6] : ['GB', 1e9]
  return `${(bytes / size).toPrecision(3)} ${unit}`
}
