import { Backoff } from '../core/backoff.ts'
import type { Clock } from '../core/clock.ts'
import { allOf } from './all-of.ts'
import { forgetBroker } from './cluster.ts'
import { leaderIdOf } from './offsets.ts'
import { produceBatches } from './produce-protocol.ts'
import { isConnectionTrouble, translate, typeOfCode } from './protocol-errors.ts'
import type { RecordBatchWriter, SealedBatch } from './record-batch-writer.ts'

/** Who produces: given by InitProducerId, valid until the next one. */
export interface ProducerIdentity {
  readonly producerId: bigint
  readonly producerEpoch: number
  /** Absent for a producer that is idempotent only. */
  readonly transactionalId?: string
}

/** Nothing was appended, or it was and the sequence number tells: the same batch may be sent again. */
const SEND_AGAIN = new Set([
  'NOT_LEADER_FOR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'NOT_ENOUGH_REPLICAS',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  'KAFKA_STORAGE_ERROR',
  'REQUEST_TIMED_OUT',
])

/** The broker has this batch already: an earlier attempt arrived after all. */
const ALREADY_APPENDED = 'DUPLICATE_SEQUENCE_NUMBER'

const SEQUENCES = 2 ** 31

/**
 * Sends record batches to the leaders of their partitions, in order for each partition, with the sequence numbers by
 * which brokers recognise a batch that comes twice (KIP-98).
 */
export class BatchSender {
  readonly #cluster: KafkajsCluster
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #sequences = new Map<string, number>()
  #lastRefusal = ''

  /** @param timeoutMs how long a broker may take, and how long refusals are retried */
  constructor(cluster: KafkajsCluster, clock: Clock, timeoutMs: number) {
    this.#cluster = cluster
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /** After InitProducerId: sequences begin at zero. */
  reset(): void {
    this.#sequences.clear()
  }

  /** Resolves when all replicas in sync have every batch. Throws translated errors; then the outcome is unknown. */
  async send(writers: readonly RecordBatchWriter[], producer: ProducerIdentity): Promise<void> {
    for (const wave of waves(writers)) await this.#sendWave(wave, producer)
  }

  async #sendWave(wave: readonly RecordBatchWriter[], producer: ProducerIdentity): Promise<void> {
    let pending = wave.map(writer => this.#seal(writer, producer))
    const backoff = new Backoff(20, 500)
    const deadline = this.#clock.now() + this.#timeoutMs
    for (;;) {
      const leaders = [...this.#byLeader(pending)]
      const refused = await allOf(leaders.map(([nodeId, batches]) => this.#produce(nodeId, batches, producer)))
      pending = refused.flat()
      if (pending.length === 0) return
      if (this.#clock.now() >= deadline) throw refusal(this.#lastRefusal, pending[0]!)
      await this.#clock.sleep(backoff.next())
      await this.#cluster.refreshMetadata().catch(() => {}) // nobody answers yet: the deadline bounds the attempts
    }
  }

  #seal(writer: RecordBatchWriter, producer: ProducerIdentity): SealedBatch {
    const key = `${writer.topic}/${writer.partition}`
    const baseSequence = this.#sequences.get(key) ?? 0
    this.#sequences.set(key, (baseSequence + writer.records) % SEQUENCES)
    const { producerId, producerEpoch, transactionalId } = producer
    return writer.seal({ producerId, producerEpoch, baseSequence, transactional: transactionalId !== undefined })
  }

  #byLeader(batches: readonly SealedBatch[]): Map<number, SealedBatch[]> {
    const byLeader = new Map<number, SealedBatch[]>()
    for (const batch of batches) {
      const nodeId = leaderIdOf(this.#cluster, batch.topic, batch.partition)
      const group = byLeader.get(nodeId)
      if (group === undefined) byLeader.set(nodeId, [batch])
      else group.push(batch)
    }
    return byLeader
  }

  /** Returns the batches to send again. */
  async #produce(nodeId: number, batches: SealedBatch[], producer: ProducerIdentity): Promise<SealedBatch[]> {
    if (nodeId < 0) {
      this.#lastRefusal = this.#exists(batches[0]!) ? 'LEADER_NOT_AVAILABLE' : 'UNKNOWN_TOPIC_OR_PARTITION'
      return batches
    }
    let broker: KafkajsBroker | undefined
    try {
      broker = await this.#cluster.findBroker({ nodeId })
      const { transactionalId } = producer
      const answers = await produceBatches(broker, { transactionalId, timeoutMs: this.#timeoutMs, batches })
      return batches.filter(batch => this.#mustSendAgain(batch, answers))
    } catch (error) {
      if (broker !== undefined && isConnectionTrouble(error)) await forgetBroker(this.#cluster, broker)
      throw translate(error, `publishing to ${batches[0]!.topic}`, 'transaction-unknown')
    }
  }

  #exists({ topic }: SealedBatch): boolean {
    return this.#cluster.findTopicPartitionMetadata(topic).length > 0
  }

  #mustSendAgain(
    batch: SealedBatch,
    answers: readonly { topic: string; partition: number; errorCode: number }[],
  ): boolean {
    const answer = answers.find(a => a.topic === batch.topic && a.partition === batch.partition)
    const type = answer === undefined ? 'UNKNOWN' : typeOfCode(answer.errorCode)
    if (type === undefined || type === ALREADY_APPENDED) return false
    if (!SEND_AGAIN.has(type)) throw refusal(type, batch)
    this.#lastRefusal = type
    return true
  }
}

function refusal(type: string, batch: SealedBatch): Error {
  const answer = Object.assign(new Error(type), { type })
  const what = `${batch.records} records (${batch.bytes.length} bytes) to ${batch.topic}/${batch.partition}`
  const fallback = type === 'LEADER_NOT_AVAILABLE' ? 'output-refused' : 'transaction-unknown'
  return translate(answer, `publishing ${what}`, fallback)
}

/** A request carries one batch for each partition: the n-th batches of all partitions go together. */
function waves(writers: readonly RecordBatchWriter[]): RecordBatchWriter[][] {
  const seen = new Map<string, number>()
  const result: RecordBatchWriter[][] = []
  for (const writer of writers) {
    const key = `${writer.topic}/${writer.partition}`
    const wave = seen.get(key) ?? 0
    seen.set(key, wave + 1)
    result[wave] ??= []
    result[wave].push(writer)
  }
  return result
}
