/** In place of a version: the one that answered each record then. */
export const AS_OF = 'as-of'

/** Offsets [from, to) that a replay is to read of a partition, fixed by the member that owned it first. */
export interface ReplayRange {
  readonly from: number
  readonly to: number
  /** Twelve hexadecimal digits of all that was asked for: those who share a replay were asked for the same. */
  readonly request: string
  /** The version that answers, or `AS_OF`. */
  readonly by: string
}

/** Whether two members of a replay do the same. */
export function isSameReplay(a: Pick<ReplayRange, 'request' | 'by'>, b: Pick<ReplayRange, 'request' | 'by'>): boolean {
  return a.request === b.request && a.by === b.by
}

/** How far a replay is with one partition. */
export interface ReplayPosition extends ReplayRange {
  readonly partition: number
  /** All below it is in the output. */
  readonly done: number
  /** Whether some member has begun, so that the range is fixed. */
  readonly begun: boolean
}

/** Records, or what was one, that a replay has to read in all; control records are counted, too. */
export function lengthOf(positions: readonly ReplayPosition[]): number {
  return positions.reduce((sum, { from, to }) => sum + Math.max(0, to - from), 0)
}

/** Of those, how many are done. */
export function doneOf(positions: readonly ReplayPosition[]): number {
  return positions.reduce((sum, { from, to, done }) => sum + Math.max(0, Math.min(done, to) - from), 0)
}

/** Whether every partition that has anything to read was begun and has reached its end. */
export function isComplete(positions: readonly ReplayPosition[]): boolean {
  return positions.every(({ begun, from, done, to }) => from >= to || (begun && done >= to))
}
