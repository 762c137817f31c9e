import type { ModelSpec, OutputSpec } from '../core/model.ts'
import { isScalar } from '../core/rows.ts'
import type { ElementType } from '../core/tensor.ts'

/** The Avro type of one element of an output. */
export const AVRO_TYPES: Record<ElementType, string> = {
  float16: 'float',
  float32: 'float',
  float64: 'double',
  int64: 'long',
  int32: 'int',
  bool: 'boolean',
  string: 'string',
}

/**
 * The Avro schema, as JSON text, of the predictions that `model` writes to `topic`: a record with a field for each
 * output, a single value or an array. A matrix is flattened row by row, and its field's doc says its shape.
 * The record is named after the topic, because that is what its subject belongs to: another version of the model, or
 * another model with the same outputs, keeps the schema's name, and the same version always has the same text.
 */
export function predictionSchema(model: ModelSpec, topic: string): string {
  return JSON.stringify({
    type: 'record',
    name: recordName(topic),
    namespace: 'sluice',
    doc: `Predictions of the model ${model.name}. The record's headers name the version that made each.`,
    fields: model.outputs.map(output => ({ name: output.field, doc: describe(output), type: typeOf(output) })),
  })
}

function typeOf(output: OutputSpec): unknown {
  const element = AVRO_TYPES[output.type]
  return isScalar(output) ? element : { type: 'array', items: element }
}

function describe({ tensor, type, rowShape, width }: OutputSpec): string {
  const what = `Output tensor ${tensor} (${type})`
  if (rowShape.every(dimension => dimension === 1)) return `${what}.`
  if (rowShape.length === 1) return `${what}: ${width} elements.`
  return `${what}: ${rowShape.join(' × ')} elements, flattened row by row.`
}

/** `iris-predictions` as `IrisPredictions`: an Avro name has only letters, digits and underscores, no digit first. */
function recordName(topic: string): string {
  const name = topic
    .split(/[^A-Za-z0-9_]+/)
    .map(word => word.charAt(0).toUpperCase() + word.slice(1))
    .join('')
  return /^[A-Za-z_]/.test(name) ? name : `_${name}`
}
