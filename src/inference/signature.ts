import { SluiceError } from '../core/errors.ts'
import type { ModelSpec } from '../core/model.ts'
import type { RowSpec } from '../core/tensor.ts'

/** One input or output as the ONNX graph declares it. */
export interface GraphValue {
  readonly name: string
  /** The runtime's name of the element type, or null for what is no tensor (ZipMap's sequences and maps). */
  readonly type: string | null
  /** Batch dimension first; null where the graph leaves the size open. Empty when the graph says nothing of a shape. */
  readonly shape: readonly (number | null)[]
}

/** What ONNX Runtime says of the graph that it opened. */
export interface GraphSignature {
  readonly inputs: readonly GraphValue[]
  readonly outputs: readonly GraphValue[]
}

/**
 * Compares what model.json names with what the graph has: names, element types, and every dimension that the graph
 * fixes. Each input of the graph must be fed; outputs of the graph that model.json leaves out are never fetched.
 * @throws SluiceError `model-signature` with the first difference and both sides in full.
 */
export function checkSignature(modelFile: string, spec: ModelSpec, graph: GraphSignature): void {
  const problem =
    firstProblem('input', spec.inputs, graph.inputs, spec.fixedBatch) ??
    unfedInput(spec, graph) ??
    firstProblem('output', spec.outputs, graph.outputs, spec.fixedBatch)
  if (problem === undefined) return
  throw new SluiceError(
    'model-signature',
    `${modelFile} does not fit its model.json: ${problem}. ` +
      `model.json: inputs ${ofSpecs(spec.inputs, spec.fixedBatch)}, outputs ${ofSpecs(spec.outputs, spec.fixedBatch)}. ` +
      `The graph: inputs ${ofGraph(graph.inputs)}, outputs ${ofGraph(graph.outputs)}`,
  )
}

function firstProblem(
  side: 'input' | 'output',
  specs: readonly RowSpec[],
  values: readonly GraphValue[],
  fixedBatch: number | null,
): string | undefined {
  for (const spec of specs) {
    const value = values.find(({ name }) => name === spec.tensor)
    const problem = value === undefined ? 'is not in the graph' : difference(spec, value, fixedBatch)
    if (problem !== undefined) return `${side} "${spec.tensor}" ${problem}`
  }
  return undefined
}

function difference(spec: RowSpec, value: GraphValue, fixedBatch: number | null): string | undefined {
  if (value.type === null) return 'is no tensor in the graph (a ZipMap output: export the model with zipmap=False)'
  const type = spec.graphType ?? spec.type
  if (value.type !== type) return `is ${type} in model.json and ${value.type} in the graph`
  if (value.shape.length === 0) return undefined
  const declared = [fixedBatch, ...spec.rowShape]
  const fits =
    value.shape.length === declared.length &&
    value.shape.every((dimension, axis) => dimension === null || dimension === declared[axis])
  if (fits) return undefined
  return `has the shape ${ofShape(declared)} in model.json and ${ofShape(value.shape)} in the graph`
}

function unfedInput(spec: ModelSpec, graph: GraphSignature): string | undefined {
  const unfed = graph.inputs.find(({ name }) => !spec.inputs.some(({ tensor }) => tensor === name))
  return unfed && `the graph needs an input "${unfed.name}" that model.json does not name`
}

function ofSpecs(specs: readonly RowSpec[], fixedBatch: number | null): string {
  return specs
    .map(spec => `${spec.tensor} ${spec.graphType ?? spec.type}${ofShape([fixedBatch, ...spec.rowShape])}`)
    .join(', ')
}

function ofGraph(values: readonly GraphValue[]): string {
  return values.map(({ name, type, shape }) => `${name} ${type ?? 'no tensor'}${ofShape(shape)}`).join(', ')
}

function ofShape(shape: readonly (number | null)[]): string {
  return `[${shape.map(dimension => dimension ?? '?').join(',')}]`
}
