import type { FeatureSpec, ModelSpec } from '../core/model.ts'
import type { RowSpec } from '../core/tensor.ts'
import type { ModelCheck } from '../shipping/model-check.ts'

/** What the commands of `sluice model` print, as text and as JSON. */

/** A line for each check: `passed  graph: …`. */
export function formatChecks(checks: readonly ModelCheck[]): string[] {
  return checks.map(({ check, outcome, message, code }) => {
    const reason = code === undefined ? '' : ` (${code})`
    return `  ${outcome === 'failed' ? 'FAILED' : outcome}  ${check}: ${message}${reason}`
  })
}

/** `float_input float32[?,4]`: names, types and shapes as the graph has them. */
export function formatTensor(spec: RowSpec, fixedBatch: number | null): string {
  return `${spec.tensor} ${spec.type}[${[fixedBatch ?? '?', ...spec.rowShape].join(',')}]`
}

/** `age, pixels[64], income = 0`: names, lengths and defaults, in the order of the row. */
export function formatFeatures(features: readonly FeatureSpec[]): string {
  return features.map(formatFeature).join(', ')
}

function formatFeature({ name, length, array, default: value }: FeatureSpec): string {
  const named = array ? `${name}[${length}]` : name
  return value === undefined ? named : `${named} = ${JSON.stringify(value)}`
}

/** Lines on what a version takes and gives. */
export function formatSignature({ inputs, outputs, fixedBatch }: ModelSpec): string[] {
  const taken = inputs.map(input => `${formatTensor(input, fixedBatch)} of ${formatFeatures(input.features)}`)
  const given = outputs.map(output => `${output.field}: ${formatTensor(output, fixedBatch)}`)
  return [...labelled('inputs', taken), ...labelled('outputs', given)]
}

/** Lines of which the first is labelled. */
export function labelled(label: string, lines: readonly string[]): string[] {
  return lines.map((line, index) => `  ${(index === 0 ? label : '').padEnd(LABEL_WIDTH)}${line}`)
}

const LABEL_WIDTH = 16
