import type { RowSpec } from './tensor.ts'
import type { ModelIdentity } from './transaction.ts'

/** One feature: a field of the input record, and the elements of the row that it fills. */
export interface FeatureSpec {
  /** Field name; dots step into nested records (`customer.age`). */
  readonly name: string
  /** Elements that it fills: 1 for a scalar, else the exact length of the array. */
  readonly length: number
  /** Whether the field is an array (of `length` elements) rather than a scalar. */
  readonly array: boolean
  /** Stands in for a missing or null value. */
  readonly default?: number | string | boolean
}

/** An input tensor, and the features that fill its row from left to right. */
export interface InputSpec extends RowSpec {
  readonly features: readonly FeatureSpec[]
}

/** An output tensor, and the field of the prediction that it becomes. */
export interface OutputSpec extends RowSpec {
  /** Field name in the prediction: an Avro name. */
  readonly field: string
  /** Stands in for the tolerance of the model. */
  readonly tolerance?: Tolerance
}

/** A file beside model.onnx that holds weights of the graph. */
export interface ExternalFile {
  /** A plain file name, by which the graph refers to it. */
  readonly file: string
  /** 64 hex digits. */
  readonly sha256: string
}

/**
 * Who made the golden samples. `trainer`: the library that trained the model. `self-made`: the model itself, when it was
 * added to a store; they show that a machine computes what that one did, and nothing of the conversion.
 */
export interface GoldenOrigin {
  readonly origin: 'trainer' | 'self-made'
  /** Where, for people: provider, platform, runtime. */
  readonly madeOn?: string
}

/** What training said about itself; kept as it is, shown to people, never interpreted by the worker. */
export type TrainingMetadata = Readonly<Record<string, unknown>>

/** A model version as its bundle describes it (`model.json`), after validation. */
export interface ModelSpec {
  readonly name: string
  readonly version: string
  /** 64 hex digits, of model.onnx. */
  readonly sha256: string
  readonly inputs: readonly InputSpec[]
  readonly outputs: readonly OutputSpec[]
  /** Rows a run: a number where the graph fixes the batch dimension, otherwise null. */
  readonly fixedBatch: number | null
  /** Weights that lie outside of model.onnx; left out: none do. */
  readonly external?: readonly ExternalFile[]
  readonly tolerance: Tolerance
  /** Left out: the trainer's. */
  readonly golden?: GoldenOrigin
  readonly training: TrainingMetadata
}

/** How headers, metrics and the status page name a version. */
export function identityOf({ name, version, sha256 }: ModelSpec): Omit<ModelIdentity, 'provider'> {
  return { name, version, sha256 }
}

/** |actual − expected| ≤ absolute + relative · |expected|, as numpy.allclose has it. */
export interface Tolerance {
  readonly absolute: number
  readonly relative: number
}

/** One golden sample: features by field name, and the outputs that the trainer saw, by prediction field. */
export interface GoldenSample {
  readonly input: Readonly<Record<string, unknown>>
  readonly output: Readonly<Record<string, unknown>>
}
