import type { Oracle } from '../audit/oracle.ts'
import type { Example, FaultKind, Finding, UncheckedReason, Verdict } from '../audit/verdict.ts'
import type { Clock } from '../core/clock.ts'
import type { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { LogPosition } from '../core/log-position.ts'
import type { RecordBatch } from '../core/record-batch.ts'
import type { ConnectionOptions } from '../kafka/cluster.ts'
import type { ScanGap, Unread } from '../kafka/topic-scan.ts'

/** What is audited, and how. Of the connection only the brokers have to be given. */
export interface AuditOptions extends Partial<ConnectionOptions> {
  readonly brokers: readonly string[]
  readonly groupId: string
  readonly inputTopic: string
  readonly outputTopic: string
  readonly deadLetterTopic: string
  /** The range of input records that is judged: all that the log holds unless given. */
  readonly from?: LogPosition | undefined
  readonly to?: LogPosition | undefined
  /** Cases of each fault that are named; 10 unless given. */
  readonly examples?: number | undefined
  /** How long to wait for what is about to settle: open transactions, offsets on their way. See `auditTopics`. */
  readonly patienceMs?: number | undefined
  /** How long brokers may be away once a reading that goes on has been stopped; 10 s unless given. */
  readonly awayMs?: number | undefined
  /** Looks at all records besides the oracle. */
  readonly witness?: Witness | undefined
  readonly onProgress?: ((progress: AuditProgress) => void) | undefined
  /** Told of each named case when it is found. */
  readonly onFault?: ((kind: FaultKind, example: Example) => void) | undefined
  /** What keeps it from reading a topic, or from asking about the group; undefined when nothing does any more. It goes on by itself. */
  readonly onTrouble?: ((subject: string, error: SluiceError | undefined) => void) | undefined
  readonly log?: Log | undefined
  readonly clock?: Clock | undefined
}

/** Sees the records that the oracle sees. */
export interface Witness {
  /** Before all others: what range of the input is read, by partition. */
  range(from: readonly number[], to: readonly number[] | undefined): void
  input(batch: RecordBatch): void
  prediction(batch: RecordBatch): void
  deadLetter(batch: RecordBatch): void
  /** Resolves when it can take more: of input records, or of outputs. */
  room(kind: 'input' | 'output'): Promise<void>
}

export interface AuditProgress {
  /** Offsets read, and those to read as known now, over all topics. */
  readonly read: number
  readonly total: number
  readonly counts: Oracle['counts']
  readonly faults: Readonly<Record<FaultKind, Finding>>
}

/**
 * The oracle's verdict, with what a reading of topics adds. `clean` also means that all was read, that all values were
 * compared, and that the group has offsets, all of them places in the input.
 */
export interface AuditVerdict extends Verdict {
  /** Whether the group has members. */
  readonly atWork: boolean
  /** The group's offsets when the reading ended, by input partition; -1 for none. */
  readonly committed: readonly number[]
  /** Those of them that are no places in the input as it is now. */
  readonly strayOffsets: readonly StrayOffset[]
  /** Hidden from read_committed readers by transactions that stayed open for as long as was waited. */
  readonly unread: readonly Unread[]
  /** Records that went before they were read: of the input they are not judged, of the outputs they look lost. */
  readonly gaps: readonly ScanGap[]
  /** Where they were asked for. */
  readonly values?: ValueVerdict | undefined
  /** Partitions of the outputs whose log no longer begins at 0: what was before is gone, and looks lost. */
  readonly trimmed: readonly { readonly topic: string; readonly partition: number; readonly start: number }[]
}

/** A committed offset that says nothing about the records that the input holds now. */
export interface StrayOffset {
  /** Of the input. */
  readonly partition: number
  readonly offset: number
  /** Where the log ends now. */
  readonly end: number
  /** The id of the topic that it is an offset of, where that is no more; otherwise it lies past the end. */
  readonly deletedTopicId?: string
}

/** How the predictions compare with those of the model versions that their headers name. */
export interface ValueVerdict {
  /** Within the tolerance of the bundle. */
  readonly equal: number
  /** How many of the equal ones have the same bytes. No fault where some have not: see `ModelRerun`. */
  readonly identical: number
  readonly different: { readonly count: number; readonly examples: readonly string[] }
  /** Predictions that could not be compared. Nothing is known of them, so there must be none in a clean verdict. */
  readonly unchecked: { readonly count: number; readonly reasons: Readonly<Record<UncheckedReason, number>> }
  /** What else there is to know, for people. */
  readonly notes: readonly string[]
}
