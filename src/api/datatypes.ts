import type { ModelMetadata, TensorMetadata } from '../core/inference-api.ts'
import type { ModelSpec } from '../core/model.ts'
import type { ElementType, RowSpec } from '../core/tensor.ts'

/** What the Open Inference Protocol calls the element types. */
export const DATATYPES: Readonly<Record<ElementType, string>> = {
  float16: 'FP16',
  float32: 'FP32',
  float64: 'FP64',
  int64: 'INT64',
  int32: 'INT32',
  bool: 'BOOL',
  string: 'BYTES',
}

/** What the protocol says of a model. A graph whose batch is fixed takes any number of rows, too: it runs in chunks. */
export function metadataOf(spec: ModelSpec, versions: readonly string[]): ModelMetadata {
  const { name, inputs, outputs } = spec
  return { name, versions, platform: 'onnxruntime_onnx', inputs: inputs.map(tensorOf), outputs: outputs.map(tensorOf) }
}

function tensorOf({ tensor, type, rowShape }: RowSpec): TensorMetadata {
  return { name: tensor, datatype: DATATYPES[type], shape: [-1, ...rowShape] }
}
