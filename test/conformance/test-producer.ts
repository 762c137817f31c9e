import assert from 'node:assert/strict'
import { leaderIdOf, leaderOf } from '../../src/kafka/offsets.ts'
import { produceBatches } from '../../src/kafka/produce-protocol.ts'
import type { SealedBatch } from '../../src/kafka/record-batch-writer.ts'
import { encodeBatch } from '../sim/fake-kafka/batch-encoder.ts'
import { nameOfCode, outcomeOf } from './outcome.ts'
import type { Stage } from './stage.ts'

export interface ProducerState {
  readonly transactionalId: string | undefined
  readonly producerId: string
  readonly producerEpoch: number
}

export interface TestProducerParts {
  readonly stage: Stage
  readonly cluster: KafkajsCluster
  readonly coordinator: KafkajsBroker
  readonly groupCoordinator: KafkajsBroker
  readonly state: ProducerState
}

/** A producer whose every step is a request of the test's choosing. What is asked returns the outcome's name. */
export class TestProducer {
  readonly #parts: TestProducerParts

  constructor(parts: TestProducerParts) {
    this.#parts = parts
  }

  get producerId(): string {
    return this.#parts.state.producerId
  }

  get epoch(): number {
    return this.#parts.state.producerEpoch
  }

  /** The same producer, but for what it says of itself. */
  claiming(state: Partial<ProducerState>): TestProducer {
    return new TestProducer({ ...this.#parts, state: { ...this.#parts.state, ...state } })
  }

  /** Begins a transaction, waiting for the end of the last one. */
  async begin(...partitions: number[]): Promise<void> {
    await this.#parts.stage.patiently(() => this.#addPartitions(this.#parts.stage.topic, partitions))
  }

  async beginOffsets(): Promise<void> {
    await this.#parts.stage.patiently(() => this.#addOffsets())
  }

  add(...partitions: number[]): Promise<string> {
    return outcomeOf(this.#addPartitions(this.#parts.stage.topic, partitions))
  }

  addTopic(topic: string): Promise<string> {
    return outcomeOf(this.#addPartitions(topic, [0]))
  }

  addOffsets(): Promise<string> {
    return outcomeOf(this.#addOffsets())
  }

  commitOffset(offset: number, metadata = '', topic = this.#parts.stage.topic): Promise<string> {
    const { groupCoordinator, stage } = this.#parts
    const topics = [{ topic, partitions: [{ partition: 0, offset: String(offset), metadata }] }]
    return outcomeOf(groupCoordinator.txnOffsetCommit({ ...this.#wireState(), groupId: stage.group, topics }))
  }

  end(commit: boolean): Promise<string> {
    return outcomeOf(this.#parts.coordinator.endTxn({ ...this.#wireState(), transactionResult: commit }))
  }

  /** Ends the transaction, and returns when its markers are written: only then the same EndTxn is accepted again. */
  async finish(commit: boolean): Promise<void> {
    assert.equal(await this.end(commit), 'OK')
    const { stage, coordinator } = this.#parts
    await stage.patiently(() => coordinator.endTxn({ ...this.#wireState(), transactionResult: commit }))
  }

  /** Appends one batch to a partition. */
  async send(sequence: number, values: readonly string[], partition = 0): Promise<string> {
    const [answer] = await this.produce([this.batch(sequence, values, partition)])
    return answer!.outcome
  }

  batch(sequence: number, values: readonly string[], partition = 0, topic = this.#parts.stage.topic): SealedBatch {
    const { producerId, producerEpoch, transactionalId } = this.#parts.state
    const records = values.map(value => ({
      key: null,
      value: Buffer.from(value),
      timestamp: this.#parts.stage.startedAt,
    }))
    const transactional = transactionalId !== undefined
    const producer = { producerId: BigInt(producerId), producerEpoch, baseSequence: sequence, transactional }
    return { topic, partition, records: values.length, bytes: encodeBatch(records, producer, 0) }
  }

  async produce(batches: readonly SealedBatch[]): Promise<{ outcome: string; baseOffset: number }[]> {
    const { cluster, state } = this.#parts
    const { topic, partition } = batches[0]!
    const leads = leaderIdOf(cluster, topic, partition) >= 0
    const [some] = Object.values(cluster.brokerPool.brokers)
    const leader = leads ? await leaderOf(cluster, topic, partition) : some!
    const answers = await produceBatches(leader, { transactionalId: state.transactionalId, timeoutMs: 5_000, batches })
    return answers.map(({ errorCode, baseOffset }) => ({ outcome: nameOfCode(errorCode), baseOffset }))
  }

  #addPartitions(topic: string, partitions: number[]): Promise<unknown> {
    return this.#parts.coordinator.addPartitionsToTxn({ ...this.#wireState(), topics: [{ topic, partitions }] })
  }

  #addOffsets(): Promise<unknown> {
    return this.#parts.coordinator.addOffsetsToTxn({ ...this.#wireState(), groupId: this.#parts.stage.group })
  }

  #wireState(): KafkajsProducerState {
    const { transactionalId, producerId, producerEpoch } = this.#parts.state
    return { transactionalId: transactionalId!, producerId, producerEpoch }
  }
}
