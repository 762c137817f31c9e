import { Backoff } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import { type Committer, FencedError, type StartPosition } from '../core/transaction.ts'
import { BatchSender, type ProducerIdentity } from './batch-sender.ts'
import type { Coordinator } from './coordinator.ts'
import type { KafkaOutputWriter } from './output-writer.ts'
import { isRebalancing, protocolType, translate } from './protocol-errors.ts'
import type { StartPolicy } from './start-policy.ts'

export interface AtLeastOnceCommitterOptions {
  readonly cluster: KafkajsCluster
  readonly groupId: string
  readonly topic: string
  readonly partition: number
  readonly groupCoordinator: Coordinator
  readonly output: KafkaOutputWriter
  readonly start: StartPolicy
  readonly requestTimeoutMs: number
  readonly clock: Clock
}

/**
 * At least once, for those who want lower latency: an idempotent producer, and the offset committed after the brokers
 * have acknowledged the output, never before. After a failure records may be predicted twice; none is lost.
 */
export class AtLeastOnceCommitter implements Committer {
  readonly output: KafkaOutputWriter
  readonly #options: AtLeastOnceCommitterOptions
  readonly #sender: BatchSender
  #identity: ProducerIdentity | undefined

  constructor(options: AtLeastOnceCommitterOptions) {
    this.#options = options
    this.output = options.output
    this.#sender = new BatchSender(options.cluster, options.clock, options.requestTimeoutMs)
  }

  async initialise(): Promise<StartPosition> {
    const { start } = this.#options
    this.output.discard()
    const pinned = await start.pinFirstOffset()
    this.#identity = await this.#newIdentity()
    this.#sender.reset()
    const { offset, committed, settled, serving, ...range } = await start.position()
    this.output.resume(serving)
    if (!settled) await this.#commitOffset(offset, serving)
    return { ...range, offset, committed: committed && !pinned }
  }

  async commit(nextOffset: number): Promise<void> {
    const identity = this.#identity
    if (identity === undefined) throw new SluiceError('internal', 'A commit came before initialise.')
    const { serving } = this.output
    const batches = this.output.take()
    await this.#sender.send(batches, identity)
    this.output.recycle(batches) // not after a failure: they may still be on their way to a socket
    await this.#commitOffset(nextOffset, serving)
  }

  async close(): Promise<void> {
    this.output.discard()
  }

  async #newIdentity(): Promise<ProducerIdentity> {
    const { cluster, requestTimeoutMs } = this.#options
    try {
      const nodeId = Object.keys(cluster.brokerPool.brokers)[0]!
      const broker = await cluster.findBroker({ nodeId })
      const { producerId, producerEpoch } = await broker.initProducerId({ transactionTimeout: requestTimeoutMs })
      return { producerId: BigInt(producerId), producerEpoch }
    } catch (error) {
      throw translate(error, 'asking for a producer id', 'broker-unreachable')
    }
  }

  /**
   * Commits in the name of the generation that this member is in, if the partition is its own there: a former owner that
   * still drains must not set back the offset of the new one. While the group rebalances the coordinator refuses, so it
   * waits for the next generation; if there is none in time, the partition belongs to somebody else.
   */
  async #commitOffset(offset: number, serving: string | undefined): Promise<void> {
    const { groupCoordinator, groupId, topic, partition, requestTimeoutMs, clock, start } = this.#options
    const topics = [
      { topic, partitions: [{ partition, offset: String(offset), metadata: start.mark(offset, serving) }] },
    ]
    const backoff = new Backoff(20, 500)
    const deadline = clock.now() + requestTimeoutMs
    for (;;) {
      const { generationId: groupGenerationId, memberId } = start.ownership()
      const request = { groupId, groupGenerationId, memberId, topics }
      try {
        await groupCoordinator.send(requestTimeoutMs, broker => broker.offsetCommit(request))
        return
      } catch (error) {
        const doing = `committing offset ${offset} of ${topic}/${partition}`
        const type = protocolType(error)
        if (!isRebalancing(type)) throw translate(error, doing, 'transaction-unknown')
        if (clock.now() >= deadline) throw new FencedError(`The group went on without this member (${type}).`)
        await clock.sleep(backoff.next())
      }
    }
  }
}
