import type { ReplayRange } from '../core/replay.ts'
import type { Uuid } from './wire.ts'

/**
 * What the metadata of a committed offset says about it (docs/adr/0007-an-offset-names-its-log.md): the log that it is
 * an offset of. Offsets that a person set have none of it.
 */
export interface OffsetMark {
  /** The topic that the offset belongs to; unknown only where {@link FORMER_LOST_MARK} is read. */
  readonly topicId?: Uuid
  /** Of the leader that wrote the record before the offset, if known (KIP-320). */
  readonly leaderEpoch?: number | undefined
  /** The offset stands in for one that was lost, so that a restart does not take it for a good one. */
  readonly lost?: boolean
  /** Which versions answered the record before the offset: a `servingTag` of the timeline. */
  readonly serving?: string | undefined
  /** Of the group of a replay. */
  readonly range?: ReplayRange | undefined
}

const MARK =
  /^sluice( lost)? topic-id=([\w-]{22})(?: leader-epoch=(\d{1,10}))?(?: serving=([0-9a-f]{12}))?(?: replay=([0-9a-f]{12}):(\d{1,16})-(\d{1,16}):(\S{1,255}))?$/

/** What releases before topic ids wrote beside an offset that stood in for a lost one; beside others they wrote nothing. */
const FORMER_LOST_MARK = 'sluice: the committed offset was missing'

/** At most 150 characters, and the name of a version; brokers keep up to 4096 (`offset.metadata.max.bytes`). */
export function formatMark({
  topicId,
  leaderEpoch,
  lost,
  serving,
  range,
}: OffsetMark & { readonly topicId: Uuid }): string {
  const epoch = leaderEpoch === undefined ? '' : ` leader-epoch=${leaderEpoch}`
  const versions = serving === undefined ? '' : ` serving=${serving}`
  const replay = range === undefined ? '' : ` replay=${range.request}:${range.from}-${range.to}:${range.by}`
  return `sluice${lost ? ' lost' : ''} topic-id=${topicId}${epoch}${versions}${replay}`
}

/** Undefined where the offset says nothing about its log: a person or another tool has set it. */
export function parseMark(metadata: string): OffsetMark | undefined {
  if (metadata === FORMER_LOST_MARK) return { lost: true }
  const [whole, lost, topicId, leaderEpoch, serving, request, from, to, by] = MARK.exec(metadata) ?? []
  if (whole === undefined || topicId === undefined) return undefined
  return {
    topicId,
    ...(leaderEpoch === undefined ? {} : { leaderEpoch: Number(leaderEpoch) }),
    ...(lost === undefined ? {} : { lost: true }),
    ...(serving === undefined ? {} : { serving }),
    ...(request === undefined ? {} : { range: { request, from: Number(from), to: Number(to), by: by! } }),
  }
}
