/** A request that Sluice or kafkajs makes, as kafkajs names it. */
type ApiName =
  | 'InitProducerId'
  | 'OffsetFetch'
  | 'AddPartitionsToTxn'
  | 'AddOffsetsToTxn'
  | 'Produce'
  | 'TxnOffsetCommit'
  | 'EndTxn'
  | 'JoinGroup'
  | 'SyncGroup'
  | 'Heartbeat'

/** A place in the life of a worker where it can be struck. */
export interface FaultPoint {
  readonly api: ApiName
  /** `before`: the request is not sent yet; `after`: its answer is there, without an error, and nobody has seen it. */
  readonly when: 'before' | 'after'
  readonly description: string
}

/** The named places, in the order in which a task comes by them. */
export const faultPoints = {
  'before-join': { api: 'JoinGroup', when: 'before', description: 'about to join the group' },
  'after-join': { api: 'JoinGroup', when: 'after', description: 'a member, perhaps the leader, without assignment' },
  'before-sync': { api: 'SyncGroup', when: 'before', description: 'the others wait for the assignment' },
  'after-sync': { api: 'SyncGroup', when: 'after', description: 'owns partitions and does not know it yet' },
  'before-initialise': { api: 'InitProducerId', when: 'before', description: 'the former owner is not fenced yet' },
  'after-initialise': { api: 'InitProducerId', when: 'after', description: 'the former owner is fenced' },
  'before-offset-read': { api: 'OffsetFetch', when: 'before', description: 'initialised, position unknown' },
  'after-offset-read': { api: 'OffsetFetch', when: 'after', description: 'the position is read and not taken' },
  'before-add-offsets': { api: 'AddOffsetsToTxn', when: 'before', description: 'the transaction is about to begin' },
  'after-add-offsets': { api: 'AddOffsetsToTxn', when: 'after', description: 'the transaction is open' },
  'before-add-partitions': { api: 'AddPartitionsToTxn', when: 'before', description: 'nothing may be written yet' },
  'after-add-partitions': { api: 'AddPartitionsToTxn', when: 'after', description: 'the transaction is open' },
  'before-produce': { api: 'Produce', when: 'before', description: 'the transaction is open and empty' },
  'after-produce': { api: 'Produce', when: 'after', description: 'the output is written and not committed' },
  'before-offsets': { api: 'TxnOffsetCommit', when: 'before', description: 'the offset is not in the transaction' },
  'after-offsets': { api: 'TxnOffsetCommit', when: 'after', description: 'the offset is in the transaction' },
  'before-end': { api: 'EndTxn', when: 'before', description: 'all is written and nothing decided' },
  'after-end': { api: 'EndTxn', when: 'after', description: 'committed, and the worker does not know' },
  'before-heartbeat': { api: 'Heartbeat', when: 'before', description: 'the session is about to be prolonged' },
  'after-heartbeat': { api: 'Heartbeat', when: 'after', description: 'perhaps told to join again' },
} as const satisfies Readonly<Record<string, FaultPoint>>

/** The name of a fault point. */
export type FaultPointName = keyof typeof faultPoints

/**
 * What a worker does to itself at a fault point: die, stop in its tracks until somebody sends SIGCONT, or see its
 * connection fail (after which it has to find out whether the request was carried out).
 */
export type PointAction = 'SIGKILL' | 'SIGSTOP' | 'connection-error'

/**
 * What the next run of a session thread does, inside `InferenceSession.run`: end the thread by an uncaught error, block it
 * (`ms`, for ever without it) and then run, or fail as the runtime does.
 */
export type SessionAction = 'crash' | 'hang' | 'throw'

/** One order for a worker: it strikes once and is over. */
export type Order =
  | {
      readonly point: FaultPointName
      readonly action: PointAction
      /** Which time from now on, 1 unless given. */
      readonly occurrence?: number
    }
  | { readonly session: SessionAction; readonly ms?: number }

/** What a runner says to a worker. Ids are the runner's. */
export type ToWorker = { readonly arm: Order; readonly id: number }

/** What a worker says to its runner: `hit` right before it acts. */
export type FromWorker =
  | { readonly faultPoint: 'armed'; readonly id: number }
  | { readonly faultPoint: 'hit'; readonly id: number }

/** Orders that hold from the first moment: a JSON array of `Order`. Their ids are negative, -1 the first. */
export const ORDERS_VARIABLE = 'SLUICE_FAULT_ORDERS'
