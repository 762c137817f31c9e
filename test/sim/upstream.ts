import { produceBatches } from '../../src/kafka/produce-protocol.ts'
import { encodeBatch, type FakeRecord } from './fake-kafka/batch-encoder.ts'
import type { FakeKafka } from './fake-kafka/fake-kafka.ts'

const TRANSACTION_TIMEOUT_MS = 60_000

/** Writes input in transactions of its own, which leave control records, and what was aborted, between the records. */
export class UpstreamProducer {
  readonly #cluster: KafkajsCluster
  readonly #wallTime: () => number
  #transactions = 0

  constructor(kafka: FakeKafka, wallTime: () => number) {
    this.#cluster = kafka.cluster('upstream')
    this.#wallTime = wallTime
  }

  /**
   * @param onWritten is told the offset of the first record before a reader can see it; without it the transaction is
   *   aborted
   */
  async write(
    topic: string,
    partition: number,
    records: readonly FakeRecord[],
    onWritten: ((first: number) => void) | undefined,
  ): Promise<void> {
    const transactionalId = `upstream-${this.#transactions++}`
    await this.#cluster.connect()
    await this.#cluster.addMultipleTargetTopics([topic])
    await this.#cluster.refreshMetadata()
    const coordinator = await this.#cluster.findGroupCoordinator({ groupId: transactionalId, coordinatorType: 1 })
    const producer = await coordinator.initProducerId({ transactionalId, transactionTimeout: TRANSACTION_TIMEOUT_MS })
    const state = { transactionalId, ...producer }
    await coordinator.addPartitionsToTxn({ ...state, topics: [{ topic, partitions: [partition] }] })
    const bytes = encodeBatch(
      records,
      {
        producerId: BigInt(producer.producerId),
        producerEpoch: producer.producerEpoch,
        baseSequence: 0,
        transactional: true,
      },
      this.#wallTime(),
    )
    const leader = this.#cluster.findTopicPartitionMetadata(topic).find(p => p.partitionId === partition)!.leader
    const batch = { topic, partition, bytes, records: records.length }
    const broker = await this.#cluster.findBroker({ nodeId: leader })
    const [produced] = await produceBatches(broker, { transactionalId, timeoutMs: 1_000, batches: [batch] })
    onWritten?.(produced!.baseOffset)
    await coordinator.endTxn({ ...state, transactionResult: onWritten !== undefined })
  }
}
