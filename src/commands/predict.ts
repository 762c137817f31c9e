import { loadSettings } from '../config/load.ts'
import { parseOptions } from '../config/options.ts'
import { systemClock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { silentLog } from '../core/log.ts'
import type { FeatureSpec, ModelSpec } from '../core/model.ts'
import { plainJson } from '../core/plain-json.ts'
import { packObject, placeFeature, unpackRow } from '../core/rows.ts'
import { openModel, type ServedModel } from '../serving/serving.ts'
import type { Command } from './command.ts'

export const predict: Command = {
  usage: 'sluice predict --model NAME [--version V] [--json] ROW',
  summary: 'one row, prints the prediction: the quickest look at a model',
  help: `ROW is the features in the order of model.json, separated by commas, or one JSON object of features by name.
No broker is needed, and NaN and Infinity are taken, whatever ALLOW_NON_FINITE says. A model with one output prints its value alone; --json prints an object in any case.

Example:
  sluice predict --model iris-regressor 0,0,0,0`,

  async run({ argv, env, dotenvFile, print }) {
    const {
      settings: options,
      extra,
      positionals,
    } = parseOptions(argv, {
      model: 'string',
      version: 'string',
      json: 'boolean',
    })
    if (extra.model !== undefined) options.modelName = extra.model
    if (extra.version !== undefined) options.modelVersion = extra.version
    const { settings } = loadSettings({ options, env, dotenvFile, required: ['modelName'] })
    const [row, ...rest] = positionals
    if (row === undefined || rest.length > 0) {
      throw new SluiceError(
        'invalid-config',
        `predict takes one row, as in: ${predict.usage}; given were ${positionals.length}`,
      )
    }
    const model = await openModel({ ...settings, maxBatchSize: 64 }, { log: silentLog, clock: systemClock })
    try {
      const prediction = await predictRow(model, parseRow(row, model.spec))
      print(extra.json ? plainJson(prediction) : readable(prediction, model.spec))
    } finally {
      await model.close()
    }
  },
}

async function predictRow({ spec, pool }: ServedModel, features: Record<string, unknown>) {
  const slot = pool.acquire()!
  const fault = packObject(features, spec.inputs, slot.inputs, 0, true)
  if (fault !== undefined) throw new SluiceError('invalid-config', fault.message)
  await pool.run(slot, 0, 1)
  return unpackRow(spec.outputs, slot.outputs, 0)
}

/** Features by name, from a JSON object or from values in the order of the model's features. */
function parseRow(text: string, spec: ModelSpec): Record<string, unknown> {
  if (text.trimStart().startsWith('{')) return parseObject(text)
  const cells = text.split(',').map(cell => cell.trim())
  const columns = spec.inputs.flatMap(input => input.features.map(feature => ({ feature, type: input.type })))
  const expected = columns.reduce((sum, { feature }) => sum + feature.length, 0)
  if (cells.length !== expected) {
    throw new SluiceError(
      'invalid-config',
      `the row has ${cells.length} values, ${spec.name} takes ${expected}: ${namesOf(columns)}`,
    )
  }
  const features: Record<string, unknown> = {}
  let at = 0
  for (const { feature, type } of columns) {
    const values = cells.slice(at, at + feature.length).map(cell => parseCell(cell, type, feature))
    placeFeature(features, feature.name, feature.array ? values : values[0])
    at += feature.length
  }
  return features
}

function parseObject(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    throw new SluiceError('invalid-config', 'the row begins with a brace but is not a JSON object')
  }
}

function parseCell(cell: string, type: string, feature: FeatureSpec): unknown {
  if (type === 'string') return cell
  if (type.startsWith('float') && ['NaN', 'Infinity', '-Infinity'].includes(cell)) return Number(cell)
  if (type === 'bool' && (cell === 'true' || cell === 'false')) return cell === 'true'
  const value = type === 'int64' && /^-?\d+$/.test(cell) ? BigInt(cell) : Number(cell)
  if (cell !== '' && !Number.isNaN(value) && type !== 'bool') return value
  throw new SluiceError('invalid-config', `"${cell}" is no ${type}, which feature "${feature.name}" takes`)
}

function namesOf(columns: readonly { feature: FeatureSpec }[]): string {
  return columns.map(({ feature }) => (feature.array ? `${feature.name}[${feature.length}]` : feature.name)).join(',')
}

/** One value alone; several as `field: value` lines, a class label with its name. */
function readable(prediction: Record<string, unknown>, { outputs, training }: ModelSpec): string {
  const classes = Array.isArray(training.classes) ? (training.classes as unknown[]) : []
  if (outputs.length === 1) return String(prediction[outputs[0]!.field])
  return outputs
    .map(({ field }) => {
      const value = prediction[field]
      const name = field === 'label' && typeof value === 'number' ? classes[value] : undefined
      return `${field}: ${String(value)}${name === undefined ? '' : ` (${String(name)})`}`
    })
    .join('\n')
}
