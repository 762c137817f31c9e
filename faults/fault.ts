import type { ServerKind } from './servers.ts'
import type { Stage } from './stage.ts'

/** One blow, and how what follows is measured. */
export interface Strike {
  /** When it struck, or for what lasts: when it was over. In ms since the epoch; recovery counts from here. */
  readonly since: number
  /** Undoes what the blow left behind, once every partition works again. */
  readonly mend?: () => Promise<void>
}

/** A kind of fault: a row of the table in docs/reliability.md. */
export interface Fault {
  readonly name: string
  /** What is done to whom, in a line. */
  readonly what: string
  /** How often in the long run. */
  readonly strikes: number
  /** The turns of the short selection that CI runs; it is no part of it unless given. */
  readonly short?: readonly number[]
  readonly servers: ServerKind
  /** Workers between two strikes, 2 unless given. */
  readonly replicas?: number
  readonly recordsPerSecond?: number
  /** Settings of the workers, over those of the stage. */
  readonly env?: Readonly<Record<string, string>>
  /** The workers have the default settings, not those of the stage. */
  readonly defaults?: boolean
  /** Exit code with which a worker may end by itself, because the fault asks for it. */
  readonly mayEndWith?: number
  /** What is promised of the recovery at the 99th percentile, in milliseconds. */
  readonly limitMs?: number
  /** What the topics need before the workers start. */
  readonly prepare?: (stage: Stage) => Promise<void>
  /** What else has to hold when all is at rest; returns what does not. */
  readonly judge?: (stage: Stage) => Promise<readonly string[]>
  /** @param turn counts from 0 */
  readonly strike: (stage: Stage, turn: number) => Promise<Strike>
}
