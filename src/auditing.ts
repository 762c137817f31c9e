import type { Oracle } from './audit/oracle.ts'
import type { Example, FaultKind, Finding, UncheckedReason, Verdict } from './audit/verdict.ts'
import { AuditSession, stoppedEarly } from './audit-session.ts'
import type { Clock } from './core/clock.ts'
import { SluiceError } from './core/errors.ts'
import type { Log } from './core/log.ts'
import type { LogPosition } from './core/log-position.ts'
import type { RecordBatch } from './core/record-batch.ts'
import type { ConnectionOptions } from './kafka/cluster.ts'
import type { ScanGap, Unread } from './kafka/topic-scan.ts'

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
  /** How long to wait for what is about to settle: open transactions, offsets on their way. See {@link auditTopics}. */
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
  /** How many of the equal ones have the same bytes. No fault where some have not: see {@link ModelRerun}. */
  readonly identical: number
  readonly different: { readonly count: number; readonly examples: readonly string[] }
  /** Predictions that could not be compared. Nothing is known of them, so there must be none in a clean verdict. */
  readonly unchecked: { readonly count: number; readonly reasons: Readonly<Record<UncheckedReason, number>> }
  /** What else there is to know, for people. */
  readonly notes: readonly string[]
}

/**
 * Reads input, predictions and dead letters once, as they are now, and judges them. The group may be at work meanwhile.
 * `patienceMs` is 2 s for a group at rest, where nobody is going to settle anything, otherwise 40 s: the usual
 * transaction time-out, and as long as a coordinator takes to enforce it.
 * @throws SluiceError `invalid-config` where the range names a partition that the input has not, `topic-missing`, `broker-unreachable` (at the start; later it waits), `not-authorised`,
 *   `corrupt-batch`; `audit-failed` when `signal` is aborted before the end, or while brokers are away
 */
export async function auditTopics(options: AuditOptions & { signal?: AbortSignal }): Promise<AuditVerdict> {
  const session = await AuditSession.open(options)
  try {
    const unread = await session.read(options.signal)
    if (options.signal?.aborted) throw stoppedEarly()
    return await session.finish(unread, options.signal)
  } finally {
    await session.close()
  }
}

/** A reading that goes on. */
export interface Following {
  /** Rejects when the reading has failed for good. */
  readonly done: Promise<void>
  /**
   * Reads to the ends as they are now, and judges. Call it once.
   * @throws SluiceError what the reading failed of; `audit-failed` when brokers have not answered for `awayMs`: then it
   *   says from where on nothing was read
   */
  stop(): Promise<AuditVerdict>
}

/** Between two looks at the group's offsets. */
const CYCLE_MS = 100
/** A transaction that stays open for longer is left to the next cycle. */
const CYCLE_PATIENCE_MS = 100
const AWAY_MS = 10_000

/**
 * Reads the topics while the group works, until it is stopped: what is visible once is remembered, though it may be gone
 * later. Resolves when the reading has begun. Faults are found within moments: doubled, misordered and foreign records
 * when they are read, lost ones when the group has committed past them.
 * @throws SluiceError as {@link auditTopics}, if it cannot begin
 */
export async function followTopics(options: AuditOptions): Promise<Following> {
  const session = await AuditSession.open(options)
  const stopping = new AbortController()
  const done = follow(session, stopping.signal)
  done.catch(() => {})
  return {
    done,
    async stop() {
      stopping.abort()
      const over = new AbortController()
      const verdict = done.then(async () => session.finish(await session.read(over.signal), over.signal))
      try {
        return await Promise.race([verdict, untilAway(session, options.awayMs ?? AWAY_MS, over.signal)])
      } finally {
        over.abort()
        await session.close()
        // A question that was under way when it was given up may have connected again before it ended.
        verdict.catch(() => session.close())
      }
    },
  }
}

/** Between two looks at what does not answer. */
const LOOK_MS = 100
/** Partitions that are named. */
const NAMED = 20

/**
 * Throws once brokers have been away for `awayMs` from now on. What was asked before may wait for its answer for longer
 * than a person at a terminal does, so nothing is awaited here but time.
 * @param over ends the looking, when it does not matter any more
 */
async function untilAway(session: AuditSession, awayMs: number, over: AbortSignal): Promise<never> {
  await session.pause(awayMs, over)
  for (;;) {
    if (over.aborted) throw stoppedEarly()
    const trouble = session.troubleFor(awayMs)
    if (trouble !== undefined) throw notRead(session, awayMs, trouble)
    await session.pause(LOOK_MS, over)
  }
}

function notRead({ positions, faults }: AuditSession, awayMs: number, trouble: SluiceError): SluiceError {
  const named = positions.slice(0, NAMED).map(place => `${place.topic}/${place.partition} from ${place.offset}`)
  const more = positions.length > NAMED ? `, and ${positions.length - NAMED} more partitions` : ''
  const found = Object.entries(faults).flatMap(([kind, { count }]) => (count > 0 ? [`${count} ${kind}`] : []))
  return new SluiceError(
    'audit-failed',
    `Brokers were away for ${awayMs / 1_000} s after the stop, so there is no verdict. Not read: ${named.join(', ')}${more}. ` +
      `Found until then: ${found.join(', ') || 'no fault'}. ${trouble.message}`,
    { cause: trouble },
  )
}

async function follow(session: AuditSession, stopping: AbortSignal): Promise<void> {
  while (!stopping.aborted) {
    try {
      await session.read(stopping, CYCLE_PATIENCE_MS)
    } catch (error) {
      if (!stopping.aborted) throw error
    }
    await session.pause(CYCLE_MS, stopping)
  }
}
