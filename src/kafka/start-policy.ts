import { SluiceError } from '../core/errors.ts'
import { FencedError, type StartPosition } from '../core/transaction.ts'
import type { Coordinator } from './coordinator.ts'
import type { Assignment } from './membership.ts'
import { type CommittedOffset, committedOffset, type LogBounds, logBounds } from './offsets.ts'
import { isRebalancing, protocolType, translate } from './protocol-errors.ts'

export interface StartPolicyOptions {
  readonly cluster: KafkajsCluster
  readonly groupCoordinator: Coordinator
  readonly groupId: string
  readonly topic: string
  readonly partition: number
  readonly startFrom: 'earliest' | 'latest'
  readonly onOffsetLoss: 'stop' | 'continue'
  readonly requestTimeoutMs: number
  /** The generation that this member is in now. */
  readonly generation: () => Assignment | undefined
}

/**
 * Where a task begins to read, and when it must not.
 *
 * A partition that the group never read is *pinned*: START_FROM is turned into an offset and committed, with the
 * member's generation, before the transactional id is used for the first time. Then `latest` means the same after a
 * crash as before it, and an id that was used while no offset is there proves that the offset was lost: the task halts
 * instead of guessing.
 */
export class StartPolicy {
  /** Metadata of an offset that stands in for a lost one, so that a restart does not mistake it for a good one. */
  readonly lostMarker = 'sluice: the committed offset was missing'
  readonly #options: StartPolicyOptions

  constructor(options: StartPolicyOptions) {
    this.#options = options
  }

  get acceptsLoss(): boolean {
    return this.#options.onOffsetLoss === 'continue'
  }

  /**
   * Commits START_FROM as the partition's offset if it has none, in the name of the generation in which the partition is
   * ours. That generation is taken down *before* the offset is looked for: in a later one the partition may have another
   * owner, and the coordinator, which checks the generation, refuses the commit then.
   * @returns the offset, or undefined where there was one
   * @throws FencedError when the partition is not ours, or no longer
   */
  async pinFirstOffset(): Promise<number | undefined> {
    const { groupCoordinator, groupId, topic, partition, requestTimeoutMs } = this.#options
    const { memberId, generationId: groupGenerationId } = this.#ownership()
    if ((await this.#committed()) !== undefined) return undefined
    const offset = this.#chosen(await this.#bounds())
    const partitions = [{ partition, offset: String(offset), metadata: '' }]
    const request = { groupId, groupGenerationId, memberId, topics: [{ topic, partitions }] }
    await this.#say(`committing the first offset of ${topic}/${partition}`, () =>
      groupCoordinator.send(requestTimeoutMs, broker => broker.offsetCommit(request)),
    )
    return offset
  }

  /**
   * The committed offset, checked against the log.
   * @throws SluiceError `offset-out-of-range` when records between it and the log are gone, `offset-missing` when an
   *   earlier start found the offset missing; neither with ON_OFFSET_LOSS=continue
   */
  async position(): Promise<StartPosition> {
    const [committed, bounds] = await Promise.all([this.#committed(), this.#bounds()])
    if (committed === undefined) throw this.offsetMissing(bounds.start)
    if (committed.metadata === this.lostMarker && !this.acceptsLoss) throw this.offsetMissing(committed.offset)
    const { offset } = committed
    if (offset >= bounds.start && offset <= bounds.end) return { offset, committed: true }
    if (!this.acceptsLoss) throw this.#outOfRange(offset, bounds)
    return { offset: this.#chosen(bounds), committed: false }
  }

  offsetMissing(wouldStartAt: number): SluiceError {
    const { groupId, topic, partition } = this.#options
    return new SluiceError(
      'offset-missing',
      `Group ${groupId} has worked on ${topic}/${partition} before, but its committed offset is gone (expired or deleted). ` +
        `Starting again at offset ${wouldStartAt} could repeat or skip records.`,
    )
  }

  /** The generation of this member, in which it owns the partition. */
  #ownership(): Assignment {
    const { generation, topic, partition } = this.#options
    const member = generation()
    if (member?.partitions.includes(partition)) return member
    throw new FencedError(`${topic}/${partition} is not assigned to this member.`)
  }

  #chosen(bounds: LogBounds): number {
    return this.#options.startFrom === 'earliest' ? bounds.start : bounds.stable
  }

  #outOfRange(offset: number, bounds: LogBounds): SluiceError {
    const { topic, partition } = this.#options
    const lost =
      offset < bounds.start
        ? `Records ${offset} to ${bounds.start - 1} were deleted before they were read (retention).`
        : `The log ends at ${bounds.end}: the topic was truncated or created again.`
    return new SluiceError(
      'offset-out-of-range',
      `The committed offset of ${topic}/${partition} is ${offset}, but the log holds ${bounds.start} to ${bounds.end - 1}. ${lost}`,
    )
  }

  #committed(): Promise<CommittedOffset | undefined> {
    const { groupCoordinator, groupId, topic, partition, requestTimeoutMs } = this.#options
    return this.#say(`reading the offset of group ${groupId} for ${topic}/${partition}`, () =>
      groupCoordinator.send(requestTimeoutMs, broker => committedOffset(broker, groupId, topic, partition)),
    )
  }

  #bounds(): Promise<LogBounds> {
    const { cluster, topic, partition } = this.#options
    return this.#say(`reading the range of ${topic}/${partition}`, async () => {
      await cluster.refreshMetadataIfNecessary()
      return logBounds(cluster, topic, partition)
    })
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
