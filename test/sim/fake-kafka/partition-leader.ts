import { crc32c } from '@node-rs/crc32'
import { BatchField } from '../../../src/kafka/batch-layout.ts'
import { ErrorCode } from './error-code.ts'
import type { FetchAnswer, FetchedPartition, FetchRequest } from './fetch-codec.ts'
import type { EpochAnswer, EpochQuestion } from './leader-epoch-codec.ts'
import { placeBatch } from './log-batch.ts'
import type { PartitionLog } from './partition-log.ts'
import type { ProduceAnswer, ProduceBatch, ProduceRequest } from './produce-codec.ts'
import type { Topics } from './topics.ts'
import type { TransactionCoordinator } from './transaction-coordinator.ts'

const NOTHING = { highWatermark: -1, lastStableOffset: -1, logStartOffset: -1, aborted: [], records: Buffer.alloc(0) }

/** What a broker does for the partitions that it leads: ReplicaManager of Kafka. */
export class PartitionLeader {
  readonly #topics: Topics
  readonly #transactions: TransactionCoordinator

  constructor(topics: Topics, transactions: TransactionCoordinator) {
    this.#topics = topics
    this.#transactions = transactions
  }

  produce(node: number, request: ProduceRequest): ProduceAnswer[] {
    return request.batches.map(batch => {
      const { topic, partition } = batch
      const led = this.find(node, topic, partition)
      if (!('log' in led)) return { topic, partition, ...led, baseOffset: -1, logStartOffset: -1 }
      const refusal = this.#refusal(led.log, request.transactionalId, batch)
      const result = refusal === ErrorCode.NONE ? led.log.append(batch.bytes) : { errorCode: refusal, baseOffset: -1 }
      return { topic, partition, ...result, logStartOffset: led.log.start }
    })
  }

  /** What there is now. The answer is filled in the order of the request; its first batch comes whatever its size. */
  fetch(node: number, request: FetchRequest): FetchAnswer[] {
    let left = request.maxBytes
    let empty = true
    return request.partitions.map(asked => {
      const answer = this.#read(node, request, asked, Math.min(left, asked.maxBytes), empty)
      left = Math.max(0, left - answer.records.length)
      if (answer.records.length > 0) empty = false
      return answer
    })
  }

  /** Where the logs leave an epoch. */
  endsOfEpochs(node: number, questions: readonly EpochQuestion[]): EpochAnswer[] {
    return questions.map(question => {
      const led = this.find(node, question.topic, question.partition)
      if (!('log' in led)) return { ...question, ...led, end: undefined }
      return { ...question, errorCode: ErrorCode.NONE, end: led.log.epochs.endOf(question.epoch, led.log.end) }
    })
  }

  /** The log of a partition that this broker leads, or why not. */
  find(node: number, topic: string, partition: number): { log: PartitionLog } | { errorCode: ErrorCode } {
    const found = this.#topics.partition(topic, partition)
    if (found === undefined) return { errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION }
    return found.leader === node ? found : { errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER }
  }

  /** The partition has to be in the transaction, unless the log shows that it is (KIP-890, part 1). */
  #refusal(log: PartitionLog, transactionalId: string | undefined, sent: ProduceBatch): ErrorCode {
    const { topic, partition, bytes } = sent
    const crc = crc32c(bytes.subarray(BatchField.attributes))
    if (crc !== bytes.readUInt32BE(BatchField.crc)) return ErrorCode.CORRUPT_MESSAGE
    const batch = placeBatch(bytes, 0, 0)
    const { producerId, producerEpoch, transactional } = batch
    if (!transactional || transactionalId === undefined) return ErrorCode.NONE
    if (log.hasOngoingTransaction(producerId, producerEpoch)) return ErrorCode.NONE
    log.verify(batch)
    const verified = this.#transactions.verify({ transactionalId, producerId, producerEpoch }, { topic, partition })
    // To producers as old as kafkajs's requests, a refusal that passes is said in words that they send again on.
    return verified === ErrorCode.CONCURRENT_TRANSACTIONS ? ErrorCode.NOT_ENOUGH_REPLICAS : verified
  }

  #read(
    node: number,
    { isolation }: FetchRequest,
    asked: FetchedPartition,
    maxBytes: number,
    atLeastOne: boolean,
  ): FetchAnswer {
    const { topicId, partition, position, lastFetchedEpoch } = asked
    const topic = this.#topics.byId(topicId)
    if (topic === undefined) return { topicId, partition, ...NOTHING, errorCode: ErrorCode.UNKNOWN_TOPIC_ID }
    const led = this.find(node, topic.name, partition)
    if (!('log' in led)) return { topicId, partition, ...NOTHING, ...led }
    const { log } = led
    const bounds = { highWatermark: log.end, lastStableOffset: log.stable, logStartOffset: log.start }
    if (lastFetchedEpoch >= 0) {
      const end = log.epochs.endOf(lastFetchedEpoch, log.end)
      if (end === undefined) return { topicId, partition, ...NOTHING, errorCode: ErrorCode.OFFSET_OUT_OF_RANGE }
      const diverges = end.epoch < lastFetchedEpoch || end.endOffset < position
      if (diverges) return { topicId, partition, ...NOTHING, ...bounds, errorCode: ErrorCode.NONE, diverging: end }
    }
    const read = log.read(position, isolation, maxBytes, atLeastOne)
    if (read.errorCode !== ErrorCode.NONE) return { topicId, partition, ...NOTHING, errorCode: read.errorCode }
    return { topicId, partition, ...bounds, ...read }
  }
}
