import type { ErrorCode } from '../core/errors.ts'
import type { EpochEnd } from './fetch-protocol.ts'
import type { LogBounds, LogState } from './offsets.ts'
import type { Uuid } from './wire.ts'

/**
 * Why a task must not go on from the committed offset: records would be skipped, or repeated, without anybody knowing.
 * The message says which, as far as that can be known, and what ON_OFFSET_LOSS=continue would do.
 */
export interface OffsetLoss {
  readonly code: Extract<ErrorCode, 'offset-missing' | 'offset-out-of-range' | 'topic-recreated' | 'log-truncated'>
  readonly message: string
  /** Where ON_OFFSET_LOSS=continue begins. */
  readonly resumeAt: number
}

/** Whose offset it is, and where START_FROM would begin. */
export interface LossContext {
  readonly groupId: string
  readonly topic: string
  readonly partition: number
  readonly log: LogState
  readonly startAt: number
}

/** The group's offset is gone, or stands in for one that was. */
export function missing({ groupId, topic, partition, log, startAt }: LossContext, resumeAt = startAt): OffsetLoss {
  const message =
    `Group ${groupId} has worked on ${topic}/${partition} before, but its committed offset is gone (it expired, or was deleted: with its topic, perhaps). ` +
    `The log ${holds(log)}; which of that the group has read is not known. ` +
    `${accepting(resumeAt)}, which may repeat or skip records.`
  return { code: 'offset-missing', message, resumeAt }
}

/**
 * The offset belongs to a topic that had the same name.
 * @param oldEnd the end of the old log when it was last read, if this replica knows
 */
export function recreated(context: LossContext, offset: number, oldId: Uuid, oldEnd: number | undefined): OffsetLoss {
  const { topic, partition, log, startAt } = context
  const message =
    `The committed offset ${offset} of ${topic}/${partition} belongs to the topic with the id ${oldId}, which was deleted: ` +
    `${topic} now has the id ${log.topicId}, and its log ${holds(log)}. ${unread(offset, oldEnd)} ` +
    `${accepting(startAt)} of the new topic.`
  return { code: 'topic-recreated', message, resumeAt: startAt }
}

function unread(offset: number, oldEnd: number | undefined): string {
  if (oldEnd === undefined) return `What the old topic held from offset ${offset} on can no longer be read.`
  if (oldEnd <= offset) return 'When this worker last looked, nothing in the old topic was unread.'
  return `${records(offset, oldEnd - 1)} of the old topic, and what came after them, can no longer be read.`
}

/**
 * The log has lost records below the offset, and may have others in their place.
 * @param epoch of the leader that wrote the record before the offset
 * @param found where the log leaves that epoch, or undefined when it does not know it
 */
export function truncated(
  context: LossContext,
  offset: number,
  epoch: number,
  found: EpochEnd | undefined,
): OffsetLoss {
  const { groupId, topic, partition, log, startAt } = context
  const at = found === undefined ? undefined : Math.max(found.endOffset, log.start)
  const gone =
    at === undefined
      ? `The log of ${topic}/${partition} no longer has the records before offset ${offset} that group ${groupId} has read: it knows nothing of their leader epoch ${epoch}.`
      : `${records(at, offset - 1)} of ${topic}/${partition}, which group ${groupId} has read, are no longer in the log: it was truncated at offset ${at} (leader epoch ${epoch}).`
  const message =
    `${gone} This happens when a replica that lacks records is elected leader (unclean), or a disk loses them. ` +
    `The log ${holds(log)} now; what took the place of those records has not been read. ${accepting(at ?? startAt)}.`
  return { code: 'log-truncated', message, resumeAt: at ?? startAt }
}

/** The log begins after the offset, or ends before it. */
export function outOfRange({ topic, partition, log, startAt }: LossContext, offset: number): OffsetLoss {
  const lost =
    offset < log.start
      ? `${records(offset, log.start - 1)} were deleted before they were read (retention).`
      : `${records(log.end, offset - 1)} were there and are not any more: the topic was truncated or created again.`
  const message = `The committed offset of ${topic}/${partition} is ${offset}, but the log ${holds(log)}. ${lost} ${accepting(startAt)}.`
  return { code: 'offset-out-of-range', message, resumeAt: startAt }
}

function records(from: number, to: number): string {
  return `Records ${from} to ${to} (${to - from + 1})`
}

function holds({ start, end }: LogBounds): string {
  return start === end ? `is empty and goes on at offset ${end}` : `holds ${start} to ${end - 1}`
}

function accepting(offset: number): string {
  return `ON_OFFSET_LOSS=continue begins at offset ${offset}`
}
