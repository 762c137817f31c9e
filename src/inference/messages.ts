import type { ExternalFile, ModelSpec } from '../core/model.ts'
import type { RowSpec, TensorData } from '../core/tensor.ts'
import type { ExternalReference } from './external-data.ts'
import type { Provider } from './placement.ts'
import type { RunPhase } from './run-phase.ts'
import type { GraphSignature } from './signature.ts'
import type { SharedSlot } from './slots.ts'

/** What a session thread is born with (`workerData`). It opens the model, answers once, then takes runs. */
export interface SessionSetup {
  readonly modelFile: string
  /** 64 hex digits: a thread opens no other bytes, also when it starts again after the file was replaced. */
  readonly sha256: string
  /** The files of weights beside it; its graph may refer to no others. */
  readonly external: readonly ExternalFile[]
  readonly inputs: ModelSpec['inputs']
  readonly outputs: ModelSpec['outputs']
  readonly fixedBatch: number | null
  readonly capacity: number
  readonly slots: readonly SharedSlot[]
  /** Tried in order; the first that opens the model serves. */
  readonly providers: readonly Provider[]
  readonly threads: number
  readonly phase: RunPhase
}

/** Pool → thread: run rows [first, first + rows) of a slot. The thread answers each with `finished` or `failed`. */
export interface RunRequest {
  readonly kind: 'run'
  readonly slot: number
  readonly first: number
  readonly rows: number
  /** These rows of the string inputs, see `takeStrings`. */
  readonly strings: readonly string[][]
}

/** Inspection → thread: run the graph on rows that lie in no slot. Answered with `tried` or `failed`. */
export interface TrialRequest {
  readonly kind: 'try'
  readonly inputs: readonly TrialInput[]
  /** Names of the outputs to compute. */
  readonly outputs: readonly string[]
}

export interface TrialInput extends RowSpec {
  /** As many rows for each input. */
  readonly data: TensorData
}

/** Pool → thread: end, after the run that is under way, whenever that is. Its answer is no longer listened to. */
interface CloseRequest {
  readonly kind: 'close'
}

export type SessionRequest = RunRequest | TrialRequest | CloseRequest

/** Thread → pool, once: the model is open. */
interface Opened {
  readonly kind: 'opened'
  /** Label of the provider that took it. */
  readonly provider: string
  /** Why the providers before it did not. */
  readonly passedOver: readonly string[]
  readonly signature: GraphSignature
}

/** Thread → pool, once, and the thread ends: no provider opens the model, or the file is not the one asked for. */
interface Refused {
  readonly kind: 'refused'
  readonly code: 'model-corrupt' | 'external-data' | 'session-failed'
  readonly reason: string
  /** With `external-data`: all that the graph refers to. */
  readonly references?: readonly ExternalReference[]
}

/** Thread → pool: the outputs lie in the slot. */
interface Finished {
  readonly kind: 'finished'
  readonly computeMs: number
  /** The rows of the string outputs, see `takeStrings`. */
  readonly strings: readonly string[][]
}

/** Thread → pool: the runtime refused these rows. The thread lives on. */
interface Failed {
  readonly kind: 'failed'
  readonly reason: string
}

/** Thread → inspection: the graph ran. */
interface Tried {
  readonly kind: 'tried'
  /** The shape of each output, in the order of the request. */
  readonly shapes: readonly (readonly number[])[]
}

export type SessionReply = Opened | Refused | Finished | Failed | Tried
