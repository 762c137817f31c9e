import { SluiceError } from '../core/errors.ts'
import type { AuditOptions, AuditVerdict } from './audit-contract.ts'
import { AuditSession, stoppedEarly } from './audit-session.ts'

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
