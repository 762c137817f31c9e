import { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { isSameReplay, type ReplayRange } from '../core/replay.ts'
import { FencedError, type StartPosition } from '../core/transaction.ts'
import { type Coordinator, connectionOf } from './coordinator.ts'
import { endOfEpoch } from './leader-epochs.ts'
import type { Assignment } from './membership.ts'
import { type LossContext, missing, type OffsetLoss, outOfRange, recreated, truncated } from './offset-loss.ts'
import { formatMark, type OffsetMark, parseMark } from './offset-mark.ts'
import { type CommittedOffset, committedOffset, type LogBounds, type LogState, leaderOf, logState } from './offsets.ts'
import { PartitionLog } from './partition-log.ts'
import { isConnectionTrouble, isRebalancing, protocolType, translate } from './protocol-errors.ts'

export interface StartPolicyOptions {
  readonly cluster: KafkajsCluster
  readonly groupCoordinator: Coordinator
  readonly groupId: string
  readonly topic: string
  readonly partition: number
  readonly startFrom: 'earliest' | 'latest'
  /** What a replay is to read of the partition if nobody has said so yet; takes the place of `startFrom`. */
  readonly range?: ReplayRange | undefined
  /** A replay cannot answer records from there on. */
  readonly knownTo?: number | undefined
  readonly onOffsetLoss: 'stop' | 'continue'
  readonly requestTimeoutMs: number
  /** The generation that this member is in now. */
  readonly generation: () => Assignment | undefined
  /**
   * The logs that this replica reads or has read, by partition. `position` sets that of its partition; the fetcher, which
   * reads from it, tells it of what it fetched.
   */
  readonly logs: Map<number, PartitionLog>
  /** Whether the transactional id of the partition was ever used. Absent for at-least-once, which has none. */
  readonly usedBefore?: () => Promise<boolean>
  /**
   * Gives up this membership for another, so that the coordinator refuses what was sent in its name. Absent for
   * at-least-once, whose offset may move back.
   */
  readonly renounce?: (memberId: string) => Promise<void>
  readonly log: Log
}

/** Where a task begins, and whether the group's offset says so already. */
export interface TaskStart extends StartPosition {
  /** False: `offset` is to be committed, with `mark(offset)`, before anything else, so that the next start finds it. */
  readonly settled: boolean
  /** Tag of the versions that answered the records below it, if the offset says. */
  readonly serving?: string | undefined
}

/**
 * Where a task begins to read, and when it must not.
 *
 * A partition that the group never read is *pinned*: START_FROM is turned into an offset and committed, with the
 * member's generation, before the transactional id is used for the first time. Then `latest` means the same after a
 * crash as before it, and an id that was used while no offset is there proves that the offset was lost: the task halts
 * instead of guessing (docs/adr/0005).
 *
 * A replay is pinned to its range in the same way: whoever owns the partition first fixes where it begins and ends, and every
 * offset after that says it again, so that a later owner, or the same one after a crash, reads the same records.
 *
 * Every offset is committed with a mark of the log that it belongs to. A start compares the two: another topic of the
 * same name, or a log that was truncated below the offset, halts the task too (docs/adr/0007).
 */
export class StartPolicy {
  readonly #options: StartPolicyOptions
  /** Over which the group's offset was read last. */
  #readOver: unknown
  /** As the offset says. */
  #range: ReplayRange | undefined
  /** The loss that was accepted and told of last: what is met again at every start is said once. */
  #told = ''

  constructor(options: StartPolicyOptions) {
    this.#options = options
  }

  /**
   * The generation of this member, in which it owns the partition.
   * @throws FencedError when the partition is not ours, or no longer
   */
  ownership(): Assignment {
    const { generation, topic, partition } = this.#options
    const member = generation()
    if (member?.partitions.includes(partition)) return member
    throw new FencedError(`${topic}/${partition} is not assigned to this member.`)
  }

  /**
   * Commits an offset for the partition if it has none, in the name of the generation in which the partition is ours.
   * That generation is taken down *before* the offset is looked for: in a later one the partition may have another
   * owner, and the coordinator, which checks the generation, refuses the commit then.
   *
   * A commit that got no answer may still arrive, when this member has long since gone on with another:
   *
   *   OffsetCommit 0, no answer ─▶ started over: OffsetCommit 0 ─▶ a transaction: 8 ─▶ the first one arrives: 0
   *
   * No transactional id fences it, only the end of the membership in whose name it was sent: so that is given up.
   * @returns whether it did
   * @throws FencedError when the partition is not ours, or no longer
   */
  async pinFirstOffset(): Promise<boolean> {
    const { groupCoordinator, groupId, topic, partition, requestTimeoutMs } = this.#options
    const { memberId, generationId: groupGenerationId } = this.ownership()
    if ((await this.#committed()) !== undefined) return false
    const first = await this.#firstOffset()
    if (first === undefined) return false
    const partitions = [{ partition, offset: String(first.offset), metadata: first.metadata }]
    const request = { groupId, groupGenerationId, memberId, topics: [{ topic, partitions }] }
    try {
      await this.#say(`committing the first offset of ${topic}/${partition}`, () =>
        groupCoordinator.send(requestTimeoutMs, broker => broker.offsetCommit(request)),
      )
    } catch (error) {
      if (isConnectionTrouble(error)) await this.#options.renounce?.(memberId)
      throw error
    }
    return true
  }

  /**
   * The committed offset, checked against the log.
   * @throws SluiceError `topic-recreated`, `log-truncated`, `offset-out-of-range`, `offset-missing`; with
   *   ON_OFFSET_LOSS=continue it is a warning instead, and the task begins where the message says
   */
  async position(): Promise<TaskStart> {
    let [committed, log] = await Promise.all([this.#committed(), this.#logState()])
    if (committed === undefined) {
      // It went after `pinFirstOffset` had found it, as when the topic is just being deleted: what stands in tells why.
      await this.pinFirstOffset()
      ;[committed, log] = await Promise.all([this.#committed(), this.#logState()])
    }
    const mark = committed === undefined ? undefined : parseMark(committed.metadata)
    this.#range = this.#rangeOf(committed, mark)
    const loss = await this.#lossOf(committed, mark, log)
    if (loss !== undefined) this.#accept(loss)
    const offset = loss?.resumeAt ?? committed!.offset
    const epoch = loss === undefined ? mark?.leaderEpoch : undefined
    this.#options.logs.set(this.#options.partition, new PartitionLog(log.topicId, offset, log.end, epoch))
    const settled = loss === undefined && mark !== undefined
    const serving = loss === undefined && mark?.serving !== undefined ? { serving: mark.serving } : {}
    const end = this.#range === undefined ? {} : { end: this.#range.to }
    return { offset, committed: loss === undefined, settled, ...end, ...serving }
  }

  /** The connection to the group's coordinator over which the group's offset was read last. */
  get readOver(): unknown {
    return this.#readOver
  }

  /** Whether that one is still open, and the next request to the coordinator takes it. */
  get connected(): boolean {
    return this.#readOver !== undefined && this.#readOver === this.#options.groupCoordinator.connection
  }

  /** The group's offset for the partition, unchecked. Throws translated errors. */
  async committedNow(): Promise<number | undefined> {
    return (await this.#committed())?.offset
  }

  /**
   * The metadata to commit `offset` with, which is where `position` began or later.
   * @param serving tag of the versions that answered the records below it
   */
  mark(offset: number, serving: string | undefined): string {
    const log = this.#options.logs.get(this.#options.partition)!
    log.commit(offset)
    return formatMark({ topicId: log.topicId, leaderEpoch: log.epochBefore(offset), serving, range: this.#range })
  }

  /**
   * What stands in for an offset that is not there. A partition that was never read gets START_FROM. If it was read, the
   * offset has been lost, and a later start must know:
   *
   * - The topic was deleted, and the coordinator forgot the offsets with it, while this replica read from it. The offset
   *   of the old topic is committed again, with the id of the old topic.
   * - Otherwise START_FROM is marked as lost. Before an id is believed to have been used without an offset, the offset is
   *   looked for once more: a former owner that is a moment ahead commits it first, and uses the id after that.
   *
   * Undefined: there is an offset now.
   */
  async #firstOffset(): Promise<CommittedOffset | undefined> {
    const { logs, partition, usedBefore, range } = this.#options
    const known = logs.get(partition)
    const used = known !== undefined || (await usedBefore?.()) === true
    if (used && (await this.#committed()) !== undefined) return undefined
    const log = await this.#logState()
    if (known !== undefined && known.topicId !== log.topicId) {
      return { offset: known.committed, metadata: formatMark({ ...known, range }) }
    }
    return { offset: this.#startAt(log), metadata: formatMark({ topicId: log.topicId, lost: used, range }) }
  }

  /**
   * What a replay reads of the partition.
   * @throws SluiceError `replay-mismatch` where something else was begun under this name; `replay-range`
   */
  #rangeOf(committed: CommittedOffset | undefined, mark: OffsetMark | undefined): ReplayRange | undefined {
    const { range, knownTo = Number.POSITIVE_INFINITY, groupId, topic, partition } = this.#options
    // Without an offset there is a loss to tell of.
    if (range === undefined || committed === undefined) return range ?? mark?.range
    const marked = mark?.range
    if (marked === undefined || !isSameReplay(marked, range)) {
      const what = marked === undefined ? 'by something else than a replay' : 'for another model, range or output'
      throw new SluiceError('replay-mismatch', `Group ${groupId} has read ${topic}/${partition} ${what}.`)
    }
    if (marked.to <= knownTo) return marked
    const message = `Another replica reads ${topic}/${partition} up to ${marked.to}; the timeline was read up to ${knownTo} here.`
    throw new SluiceError('replay-range', `${message} Start this one again.`)
  }

  async #lossOf(
    committed: CommittedOffset | undefined,
    mark: OffsetMark | undefined,
    log: LogState,
  ): Promise<OffsetLoss | undefined> {
    const { groupId, topic, partition, logs } = this.#options
    const context: LossContext = { groupId, topic, partition, log, startAt: this.#startAt(log) }
    if (committed === undefined) return missing(context)
    const { offset } = committed
    const inRange = offset >= log.start && offset <= log.end
    if (mark?.topicId !== undefined && mark.topicId !== log.topicId) {
      const known = logs.get(partition)
      return recreated(context, offset, mark.topicId, known?.topicId === mark.topicId ? known.end : undefined)
    }
    if (mark?.lost) return missing(context, inRange ? offset : undefined)
    if (mark?.leaderEpoch !== undefined) {
      const end = await this.#endOfEpoch(mark.leaderEpoch)
      // As a fetch decides (KIP-595): the record before the offset is gone if the log left its epoch before it, or skips it.
      const skipped = end !== undefined && end.epoch < mark.leaderEpoch
      if (end === undefined || skipped || end.endOffset < offset) {
        return truncated(context, offset, mark.leaderEpoch, skipped && end.endOffset >= offset ? undefined : end)
      }
    }
    return inRange ? undefined : outOfRange(context, offset)
  }

  #accept({ code, message }: OffsetLoss): void {
    const { onOffsetLoss, log } = this.#options
    if (onOffsetLoss === 'stop') throw new SluiceError(code, message)
    if (this.#told === message) return
    this.#told = message
    log.warn({ code }, `A loss is accepted. ${message}`)
  }

  #startAt(bounds: LogBounds): number {
    const { range } = this.#options
    if (range !== undefined) return Math.max(range.from, bounds.start)
    return this.#options.startFrom === 'earliest' ? bounds.start : bounds.stable
  }

  #committed(): Promise<CommittedOffset | undefined> {
    const { groupCoordinator, groupId, topic, partition, requestTimeoutMs } = this.#options
    return this.#say(`reading the offset of group ${groupId} for ${topic}/${partition}`, () =>
      groupCoordinator.send(requestTimeoutMs, async broker => {
        const committed = await committedOffset(broker, groupId, topic, partition)
        this.#readOver = connectionOf(broker)
        return committed
      }),
    )
  }

  #logState(): Promise<LogState> {
    const { cluster, topic, partition } = this.#options
    return this.#say(`reading the range of ${topic}/${partition}`, async () => {
      await cluster.refreshMetadataIfNecessary()
      return logState(cluster, topic, partition)
    })
  }

  #endOfEpoch(epoch: number) {
    const { cluster, topic, partition } = this.#options
    return this.#say(`asking where leader epoch ${epoch} of ${topic}/${partition} ends`, async () =>
      endOfEpoch(await leaderOf(cluster, topic, partition), topic, partition, epoch),
    )
  }

  async #say<T>(doing: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request()
    } catch (error) {
      const type = protocolType(error)
      // The leader may have moved: whoever tries again should ask the new one.
      await this.#options.cluster.refreshMetadata().catch(() => {})
      if (isRebalancing(type)) throw new FencedError(`The group moved on while ${doing} (${type}).`, { cause: error })
      throw translate(error, doing, 'broker-unreachable')
    }
  }
}
