import type { PackedError } from '../core/error-transfer.ts'
import type { GoldenSample, ModelSpec } from '../core/model.ts'
import type { PoolLoan } from '../inference/pool-messages.ts'
import type { ConnectionOptions } from '../kafka/cluster.ts'
import type { WorkerState } from '../ops/health.ts'
import type { MetricsSnapshot } from '../ops/metrics.ts'
import type { IoStatus } from '../ops/status.ts'
import type { LivePlan } from '../serving/served-versions.ts'
import type { WorkerSettings } from './replica.ts'

/** What an I/O thread is born with (`workerData`). */
export interface IoThreadSetup {
  /** From 1. */
  readonly thread: number
  /** Of this thread, see `settingsOfThread`. */
  readonly settings: WorkerSettings
  readonly connection: ConnectionOptions
  /** The versions of `live`. */
  readonly models: readonly LentModel[]
  readonly live: LivePlan
}

/** A model version whose sessions the main thread has. The port of its pool must be transferred. */
export interface LentModel {
  readonly spec: ModelSpec
  /** A row that is known to be good, if there is one. */
  readonly sample: GoldenSample['input'] | undefined
  readonly pool: PoolLoan
}

/** Which numbers of a thread are asked for. */
export interface IoReports {
  readonly status: IoStatus
  readonly metrics: MetricsSnapshot
}

/** Main thread → I/O thread. */
export type IoRequest =
  /** All threads are members of the group: work on what it has assigned may begin. */
  | { readonly kind: 'begin' }
  /** SIGTERM of the worker: drain, leave the group, end. */
  | { readonly kind: 'drain' }
  /** Another version is to be ready to answer; answered by `prepared`. */
  | { readonly kind: 'prepare'; readonly model: LentModel }
  /** This plan answers from now on. */
  | { readonly kind: 'adopt'; readonly live: LivePlan }
  /** The version is of no plan any more; answered by `left`, once nothing waits for it. */
  | { readonly kind: 'retire'; readonly version: string }
  /** Answered by `report`. */
  | { readonly kind: 'report'; readonly what: keyof IoReports }

/** I/O thread → main thread. */
export type IoReply =
  | { readonly kind: 'state'; readonly state: WorkerState }
  /** The thread is a member of this generation of the group. */
  | { readonly kind: 'joined'; readonly generation: number; readonly memberId: string }
  /** Begins or goes on, or is over where there is no error. */
  | { readonly kind: 'condition'; readonly key: string; readonly error: PackedError | undefined }
  /** An error that ends the worker; the thread drains already. */
  | { readonly kind: 'failed'; readonly error: PackedError }
  /** The version can answer there, or why not. */
  | { readonly kind: 'prepared'; readonly version: string; readonly error: PackedError | undefined }
  | { readonly kind: 'left'; readonly version: string }
  /** The numbers as they are now. */
  | { readonly kind: 'report'; readonly what: 'status'; readonly status: IoStatus }
  | { readonly kind: 'report'; readonly what: 'metrics'; readonly metrics: MetricsSnapshot }
  /** All is drained and closed; the thread ends. */
  | { readonly kind: 'done' }
