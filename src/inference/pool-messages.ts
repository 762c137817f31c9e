import type { MessagePort } from 'node:worker_threads'
import type { PackedError } from '../core/error-transfer.ts'
import type { SharedSlot, SlotLayout } from './slots.ts'

/** What a client is made of: its end of the channel, and the shared memory. The thread that gets it owns it. */
export interface PoolLoan {
  readonly port: MessagePort
  /** Its place on the board, from 0. */
  readonly client: number
  /** Memory of the `PoolBoard`. */
  readonly board: SharedArrayBuffer
  readonly layout: SlotLayout
  /** Rows of a slot. */
  readonly capacity: number
  /** The memory of all slots of the pool, by their ids; only those that were lent may be touched. */
  readonly memory: readonly SharedSlot[]
  /** Ids of the slots that are lent, until the client gives one back for another. */
  readonly slots: readonly number[]
  /** Sessions of the pool. */
  readonly size: number
  /** Threads that may hang. */
  readonly mostHung: number
}

/** A `SessionChoice`, with the number of a reservation in place of it. */
export type SentChoice = { readonly only: number; readonly by?: number } | { readonly not: number }

/** Client → server: run rows [first, first + rows) of a slot. Answered by `ran` or `failed` of the same id. */
export interface SentRun {
  readonly kind: 'run'
  readonly id: number
  readonly slot: number
  readonly first: number
  readonly rows: number
  readonly choice: SentChoice | undefined
  /** These rows of the string inputs, see `takeStrings`. */
  readonly strings: readonly string[][]
}

/** Client → server: reserve a session. Answered by `reserved` or `failed`. */
export interface SentReserve {
  readonly kind: 'reserve'
  readonly id: number
  readonly choice: SentChoice | undefined
}

/** Client → server. */
export type PoolRequest =
  | SentRun
  | SentReserve
  | { readonly kind: 'release'; readonly reservation: number }
  | { readonly kind: 'distrust'; readonly session: number; readonly reason: string }
  /** A thread that hangs may still read this slot: the client wants another one for it. Answered by `lent`. */
  | { readonly kind: 'exchange'; readonly slot: number }

/** Server → client: the outputs lie in the slot. */
export interface Ran {
  readonly kind: 'ran'
  readonly id: number
  readonly computeMs: number
  readonly provider: string
  readonly session: number
  /** The rows of the string outputs. */
  readonly strings: readonly string[][]
}

/** Server → client. */
export type PoolReply =
  | Ran
  /** `id` is also the number of the reservation. */
  | { readonly kind: 'reserved'; readonly id: number; readonly session: number }
  | { readonly kind: 'failed'; readonly id: number; readonly error: PackedError }
  | { readonly kind: 'lent'; readonly slot: number }
  /** A session became idle since the client looked, or too many threads hang. */
  | { readonly kind: 'available' }
