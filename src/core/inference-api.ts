import type { SluiceError } from './errors.ts'

/** A tensor of a model, as the Open Inference Protocol describes it. */
export interface TensorMetadata {
  readonly name: string
  /** `FP32`, `INT64`, `BYTES`, … */
  readonly datatype: string
  /** The batch dimension comes first; -1 is any size. */
  readonly shape: readonly number[]
}

export interface ModelMetadata {
  readonly name: string
  /** Those that can be asked for, in the order in which they were opened. */
  readonly versions: readonly string[]
  readonly platform: string
  readonly inputs: readonly TensorMetadata[]
  readonly outputs: readonly TensorMetadata[]
}

/** A request for inference as it came, and whom to tell what became of it. */
export interface InferCall {
  readonly model: string
  /** Undefined: the one that answers by default. */
  readonly version: string | undefined
  readonly body: Uint8Array
  /** Bytes of `body` that are JSON, where binary tensors follow; undefined where all of it is. */
  readonly headerLength: number | undefined
  /** The client has gone. */
  readonly abandoned: () => boolean
  /** Called once, if `refuse` is not. */
  readonly answer: (answer: InferAnswer) => void
  /** Called once, if `answer` is not. */
  readonly refuse: (error: SluiceError) => void
}

export interface InferAnswer {
  /** JSON, or JSON and the binary tensors after it. */
  readonly body: string | Uint8Array
  /** Bytes of JSON where binary tensors follow. */
  readonly headerLength: number | undefined
}

/** The models that can be asked over HTTP. */
export interface InferenceApi {
  /** Whether requests are taken: every model that was chosen is open, and the process does not stop. */
  readonly ready: boolean
  readonly maxBodyBytes: number
  /**
   * Of one version, or of the one that answers by default.
   * @throws SluiceError `version-not-served`
   */
  metadata(model: string, version: string | undefined): ModelMetadata
  /**
   * Returns if that version answers, whatever others do.
   * @throws SluiceError `version-not-served`, `not-ready`, `requests-hung`
   */
  requireReady(model: string, version: string | undefined): void
  /**
   * A request begins whose body has so many bytes; undefined where it does not say. `leave` is to be called when it is over.
   * @throws SluiceError `overloaded`, `request-too-large`, or `not-ready`: it is to be refused before its body is read
   */
  enter(bytes: number | undefined): Admission
  infer(call: InferCall): void
}

/** A request that counts as under way. */
export interface Admission {
  /** Its answer is there, and counts besides until it is over. */
  answered(bytes: number): void
  /** Harmless when it was called before. */
  leave(): void
}
